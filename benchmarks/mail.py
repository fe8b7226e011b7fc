"""Messages a second accepted and relayed over ::1, and syncs a message, beside Postfix.

The same clients, the same sink. Both servers run during all of it and are measured in turns, so that
whatever else the machine does meets both. Accepted: the next hop takes connections and says nothing, so that
everything stays in the queue. Relayed: from the first client to the last message at the sink.
``smtp-source`` and ``smtp-sink`` are Postfix's own.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measure import CannotMeasure, Measurement
from benchmarks.postfix import HOST, LIMIT, available, postfix, program
from benchmarks.server import Server, free_port

MESSAGES, TRACED = 1000, 300
AT_ONCE = 20
OCTETS = 2048
LEAST_ACCEPTED, LEAST_RELAYED = 1 / 2, 1 / 3
"""Of what Postfix does."""
_OPEN = {"deliver_remote_to_remote": True, "require_auth_remote_to_remote": False}
_COUNT = re.compile(rb"mesg=(\d+)")
_SYNCS = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(?:fsync|fdatasync)$", re.MULTILINE)


def submit(port: int, messages: int, *, kept: bool) -> float:
    """Have ``smtp-source`` submit so many messages to ::1 and ``port``; return the seconds it took.

    ``kept``: over so many connections as there are clients; else each message over a new one.
    """
    size = ["-s", str(AT_ONCE), "-m", str(messages), "-l", str(OCTETS), *(["-d"] if kept else [])]
    who = ["-M", "client.sixpost.invalid", "-f", "from@near.test", "-t", "to@far.test"]
    command = [program("smtp-source"), *size, *who, f"inet:[{HOST}]:{port}"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * LIMIT, check=False)
    if done.returncode != 0:
        raise CannotMeasure(f"smtp-source: {done.stderr.strip() or done.returncode}")
    return time.perf_counter() - began


class Sink:
    """``smtp-sink``: takes everything and counts it. Opened by `open_sink`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._count = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def count(self) -> int:
        """Messages so far."""
        return self._count

    def wait_for(self, count: int) -> None:
        """Return when it has so many. Raises CannotMeasure when nothing comes any more."""
        with self._news:
            while self._count < count:
                if not self._news.wait(LIMIT):
                    raise CannotMeasure(f"{self._count} of {count} messages reached the sink")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(LIMIT)
        self._reader.join(LIMIT)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as counters:
            while shown := counters.read1(4096):  # type: ignore[attr-defined]
                if found := _COUNT.findall(shown):
                    with self._news:
                        self._count = max(self._count, int(found[-1]))
                        self._news.notify_all()


@contextmanager
def open_sink() -> Iterator[tuple[Sink, int]]:
    """Yield a sink and its port on ::1."""
    port = free_port(HOST)
    command = [program("smtp-sink"), "-c", "-u", "postfix", f"inet:[{HOST}]:{port}", "1024"]
    sink = Sink(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    try:
        _wait_for(port)
        yield sink, port
    finally:
        sink.close()


@contextmanager
def silence() -> Iterator[int]:
    """Yield the port on ::1 of a next hop that the kernel connects, and that never says anything."""
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind((HOST, 0))
        listener.listen(1024)
        yield listener.getsockname()[1]


@contextmanager
def ours(folder: Path, relay_port: int) -> Iterator[tuple[Server, int]]:
    """Run the reference server on ::1, relaying to ``relay_port``; yield it and its port."""
    folder.mkdir(parents=True)
    server, port = Server(folder), free_port(HOST)
    with server.running(bare=True):
        server.wait_for_administration()
        server.call("POST", "/ports", {"protocol": "smtp", "address": HOST, "port": port})
        server.call("POST", "/ipranges", {"name": "here", "lower": HOST, "upper": HOST, **_OPEN})
        server.call("PUT", "/settings", {"smtp_relayer": HOST, "smtp_relayer_port": relay_port})
        server.call("POST", "/server/reinitialize")
        _wait_for(port)
        yield server, port


def accepted(folder: Path, repeat: int, *, kept: bool) -> list[Measurement]:
    """Measure so often in turns, after one for nothing. Raises CannotMeasure, for mail not kept, too."""
    with silence() as port, postfix(their := free_port(HOST), port), ours(folder, port) as (server, our):
        pairs = _in_turns(
            repeat, lambda: submit(our, MESSAGES, kept=kept), lambda: submit(their, MESSAGES, kept=kept)
        )
        waiting = len(server.call("GET", "/queue"))
    if waiting != (repeat + 1) * MESSAGES:
        raise CannotMeasure(f"{waiting} messages are queued, {(repeat + 1) * MESSAGES} were acknowledged")
    what = f"accepted, {'kept connections' if kept else 'a connection each'}"
    return _compared(what, pairs, LEAST_ACCEPTED)


def relayed(folder: Path, repeat: int) -> list[Measurement]:
    """Measure so often in turns, after one for nothing."""

    def through(port: int, sink: Sink) -> float:
        began, before = time.perf_counter(), sink.count
        submit(port, MESSAGES, kept=True)
        sink.wait_for(before + MESSAGES)
        return time.perf_counter() - began

    with ExitStack() as stack:
        our_sink, our_next = stack.enter_context(open_sink())
        their_sink, their_next = stack.enter_context(open_sink())
        stack.enter_context(postfix(their := free_port(HOST), their_next))
        _, our = stack.enter_context(ours(folder, our_next))
        pairs = _in_turns(repeat, lambda: through(our, our_sink), lambda: through(their, their_sink))
    return _compared("relayed", pairs, LEAST_RELAYED)


def syncs(folder: Path) -> list[Measurement]:
    """Count fsync and fdatasync from the submission to the sink, of each server by itself; no times."""
    strace = shutil.which("strace")
    if strace is None:
        raise CannotMeasure("syncs: strace is not installed (Debian package: strace)")
    counting = [strace, "-f", "-c", "-e", "trace=fsync,fdatasync", "-o"]
    found = []
    with open_sink() as (sink, relay_port), ours(folder, relay_port) as (server, port):
        tracer = subprocess.Popen(
            [*counting, str(folder / "syncs"), "-p", str(server.pid)], stderr=subprocess.PIPE, text=True
        )
        assert tracer.stderr is not None
        with tracer.stderr:
            tracer.stderr.readline()  # "attached", when every thread is traced
            _one_run(sink, port)
            tracer.send_signal(signal.SIGINT)
            tracer.stderr.read()
        tracer.wait(LIMIT)
        found.append(("reference server", (folder / "syncs").read_text()))
    summary = folder / "postfix-syncs"
    with (
        open_sink() as (sink, relay_port),
        postfix(port := free_port(HOST), relay_port, under=[*counting, str(summary)]),
    ):
        _one_run(sink, port)
    found.append(("Postfix", summary.read_text()))
    return [
        Measurement(f"syncs a message, {name}", "", (sum(map(int, _SYNCS.findall(text))) / TRACED,))
        for name, text in found
    ]


def measure(folder: Path, repeat: int) -> list[Measurement]:
    """Measure it all in an empty directory. Raises CannotMeasure."""
    available()
    return [
        *accepted(folder / "accepted", repeat, kept=True),
        *accepted(folder / "accepted-each", repeat, kept=False),
        *relayed(folder / "relayed", repeat),
        *syncs(folder / "syncs"),
    ]


def _one_run(sink: Sink, port: int) -> None:
    submit(port, TRACED, kept=True)
    sink.wait_for(TRACED)


def _in_turns(
    repeat: int, our: Callable[[], float], their: Callable[[], float]
) -> Sequence[tuple[float, float]]:
    return [(our(), their()) for _ in range(repeat + 1)][1:]


def _compared(what: str, seconds: Sequence[tuple[float, float]], least: float) -> list[Measurement]:
    mine, theirs = ([MESSAGES / each for each in one] for one in zip(*seconds, strict=True))
    ratios = tuple(one / other for one, other in zip(mine, theirs, strict=True))
    return [
        Measurement(f"{what}: reference server", "1/s", tuple(mine)),
        Measurement(f"{what}: Postfix", "1/s", tuple(theirs)),
        Measurement(f"{what}: beside Postfix", "times", ratios, least, at_least=True),
    ]


def _wait_for(port: int) -> None:
    until = time.monotonic() + LIMIT
    while True:
        try:
            socket.create_connection((HOST, port), timeout=LIMIT).close()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise CannotMeasure(f"nobody listens on ::1 port {port}") from None
            time.sleep(0.01)
        else:
            return
