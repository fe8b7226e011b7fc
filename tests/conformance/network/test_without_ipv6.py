"""IPv6 is taken away from a program, and from that program only."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.network import without_ipv6

needs_filter = pytest.mark.skipif(without_ipv6.missing() != "", reason=without_ipv6.missing() or "-")

LOOK = """
import errno, json, os, socket, subprocess, sys
def opens(family, kind=socket.SOCK_STREAM):
    try: socket.socket(family, kind).close()
    except OSError as error: return errno.errorcode[error.errno]
    return "ok"
seen = {"v4": opens(socket.AF_INET), "unix": opens(socket.AF_UNIX), "v6": opens(socket.AF_INET6),
        "v6udp": opens(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC), "cwd": os.getcwd(),
        "variable": os.environ.get("SIXPOST_TEST"), "arguments": sys.argv[1:]}
if "child" not in sys.argv:
    answer = subprocess.run([sys.executable, "-c", sys.stdin.read(), "child"], capture_output=True, text=True)
    seen["child"] = json.loads(answer.stdout)["v6"]
print(json.dumps(seen))
"""


def run(command: list[str], **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


def look(command: list[str], **more) -> dict:
    result = run(command, input=LOOK, **more)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@needs_filter
def test_a_program_and_its_children_have_no_ipv6(tmp_path) -> None:
    environment = {**os.environ, "SIXPOST_TEST": "kept"}
    argv = [sys.executable, "-c", LOOK, "-x", "--", "a b"]
    seen = look(without_ipv6.command(argv), cwd=tmp_path, env=environment)
    assert seen["v6"] == seen["v6udp"] == seen["child"] == "EAFNOSUPPORT"
    assert seen["v4"] == seen["unix"] == "ok"
    assert seen["cwd"] == str(tmp_path.resolve())
    assert seen["variable"] == "kept"
    assert seen["arguments"] == ["-x", "--", "a b"]


@needs_filter
def test_we_keep_ipv6() -> None:
    assert without_ipv6.missing() == ""
    socket.socket(socket.AF_INET6).close()


@needs_filter
def test_without_the_launcher_the_same_program_has_ipv6() -> None:
    assert look([sys.executable, "-c", LOOK])["v6"] == "ok"


@needs_filter
def test_as_a_module() -> None:
    root = Path(without_ipv6.__file__).parents[2]
    argv = [sys.executable, "-m", "conformance.network.without_ipv6", "--", sys.executable, "-c", LOOK]
    assert look(argv, cwd=root)["v6"] == "EAFNOSUPPORT"


@needs_filter
def test_the_exit_code_is_the_programs() -> None:
    assert run(without_ipv6.command([sys.executable, "-c", "raise SystemExit(7)"])).returncode == 7


def test_wrong_use_is_told() -> None:
    program = [sys.executable, "-m", "conformance.network.without_ipv6"]
    root = Path(without_ipv6.__file__).parents[2]
    for arguments in ([], ["--"], ["ls"]):
        result = run([*program, *arguments], cwd=root)
        assert result.returncode == 2
        assert "usage" in result.stderr


@needs_filter
def test_a_missing_program_is_told() -> None:
    result = run(without_ipv6.command(["/nonexistent/program"]))
    assert result.returncode == 126
    assert "without_ipv6" in result.stderr


def test_an_unknown_machine_is_missing_and_not_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(OSError, match=r"no filter for .* on vax"):
        without_ipv6.take_away()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("call", "family", "answer"),
    [
        ("socket", 10, "EAFNOSUPPORT"),
        ("socket", 2, "allow"),
        ("socket", 1, "allow"),
        ("bind", 10, "allow"),
        ("io_uring_setup", 10, "ENOSYS"),
        ("foreign architecture", 10, "allow"),
    ],
)
def test_the_filter_program(machine: str, call: str, family: int, answer: str) -> None:
    """Runs the filter's few instructions by hand, for both architectures."""
    architecture, socket_call = without_ipv6._ARCHITECTURES[machine]
    numbers = {"socket": socket_call, "bind": 49, "io_uring_setup": 425, "foreign architecture": socket_call}
    told = 0x4000_0003 if call == "foreign architecture" else architecture
    data = struct.pack("<IIQQ", numbers[call], told, 0, family)
    program = list(struct.iter_unpack("=HBBI", without_ipv6.program(architecture, socket_call)))
    position, accumulator, result = 0, 0, None
    while result is None:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x15:
            position += if_true if accumulator == value else if_false
        else:
            assert code == 0x06
            result = value
    assert (
        result == {"allow": 0x7FFF_0000, "EAFNOSUPPORT": 0x0005_0000 | 97, "ENOSYS": 0x0005_0000 | 38}[answer]
    )
