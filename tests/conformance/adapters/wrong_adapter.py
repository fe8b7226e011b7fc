"""Adapter programs that break the ``exec:`` contract, each in one way; the first argument says which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _answer(seq: int, **parts: object) -> None:
    _say(json.dumps({"seq": seq, **parts}) + "\n")


def _hello(seq: int) -> None:
    _answer(seq, ok={"protocol": 1, "name": "wrong", "version": "0", "capabilities": ["protocol.smtp"]})


def _misbehave(how: str, seq: int) -> None:
    if how == "dies":
        sys.exit(3)
    if how == "dies-by-signal":
        os.kill(os.getpid(), 9)
    if how == "closes-stdout":
        os.close(1)
        time.sleep(600)
    if how == "garbage":
        _say("Welcome to my adapter!\n")
    elif how == "not-utf8":
        sys.stdout.buffer.write(b"\xff\xfe\n")
        sys.stdout.flush()
    elif how == "a-list":
        _say("[1, 2]\n")
    elif how == "two-answers-in-one":
        _answer(seq, ok={}, error={"message": "both"})
    elif how == "neither":
        _answer(seq)
    elif how == "unknown-key":
        _answer(seq, ok={"endpoints": [], "colour": "blue"})
    elif how == "wrong-type":
        _answer(
            seq, ok={"endpoints": [{"name": "door", "protocol": "smtp", "address": "::1", "port": "many"}]}
        )
    elif how == "out-of-order":
        _answer(seq + 1, ok={})
    elif how == "twice":
        _answer(seq, ok={})
        _answer(seq, ok={})
    elif how == "floods":
        while True:
            _say("x" * 2**20)
    elif how == "floods-its-log":
        for _ in range(100):
            sys.stderr.write("y" * 2**20)
        _answer(seq, ok={})
    elif how == "silent":
        time.sleep(600)
    elif how == "unsupported":
        _answer(
            seq, unsupported={"feature": "ip_ranges", "reason": "it has none", "link": "https://example.org/"}
        )
    elif how == "error":
        _answer(seq, error={"message": "the server's disk is full"})
    else:
        _answer(seq, ok={})


def main() -> None:
    how = sys.argv[1]
    if how == "ignores-the-end":
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        seq = request["seq"]
        print(f"asked for {request['op']}", file=sys.stderr, flush=True)
        if request["op"] == "hello" and how == "other-version":
            _answer(seq, ok={"protocol": 2, "name": "wrong", "version": "0"})
        elif request["op"] == "hello":
            _hello(seq)
        elif request["op"] == "stop":
            _answer(seq, ok={})
        elif request["op"] == "log":
            _answer(seq, ok={"text": "log\n"})
        elif how == "has-a-child":
            child = subprocess.Popen(
                [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"],
                stdout=subprocess.PIPE,
            )
            assert child.stdout is not None
            child.stdout.readline()
            _answer(seq, ok={"pids": [child.pid]})
        else:
            _misbehave(how, seq)
    while how == "ignores-the-end":
        time.sleep(600)


if __name__ == "__main__":
    main()
