"""Takes IPv6 away from a program: socket(AF_INET6) fails with EAFNOSUPPORT, as on a system without IPv6.

A seccomp filter (Linux, x86_64 and aarch64) that needs no privilege and survives exec. This file is also a
program, and imports the standard library only, so that it runs isolated from the server's environment:

    python -m conformance.network.without_ipv6 -- CMD ARG…
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROBE = "--probe"
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_LINUX_AF_INET6 = 10
_LINUX_EAFNOSUPPORT = 97
_IO_URING_SETUP = 425  # one number on every architecture; a ring could open sockets past the filter

# machine → (AUDIT_ARCH_*, number of socket(2)), from the kernel's audit.h and system call tables
_ARCHITECTURES = {"x86_64": (0xC000_003E, 41), "aarch64": (0xC000_00B7, 198)}

_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_FIRST_ARGUMENT = 0, 4, 16  # struct seccomp_data, little endian
_ALLOW, _FAIL_WITH = 0x7FFF_0000, 0x0005_0000


def program(architecture: int, socket_call: int) -> bytes:
    """Return the filter as an array of struct sock_filter."""

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    return b"".join(
        (
            instruction(_LOAD, _OFFSET_ARCHITECTURE),
            instruction(_JUMP_EQUAL, architecture, 0, 5),
            instruction(_LOAD, _OFFSET_NUMBER),
            instruction(_JUMP_EQUAL, _IO_URING_SETUP, 5, 0),
            instruction(_JUMP_EQUAL, socket_call, 0, 2),
            instruction(_LOAD, _OFFSET_FIRST_ARGUMENT),
            instruction(_JUMP_EQUAL, _LINUX_AF_INET6, 1, 0),
            instruction(_RETURN, _ALLOW),
            instruction(_RETURN, _FAIL_WITH | _LINUX_EAFNOSUPPORT),
            instruction(_RETURN, _FAIL_WITH | errno.ENOSYS),
        )
    )


def take_away() -> None:
    """Install the filter in this process, for good. Raises OSError where that is not possible."""
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter for {sys.platform} on {machine}")
    code = program(*_ARCHITECTURES[machine])
    buffer = ctypes.create_string_buffer(code, len(code))

    class SockFprog(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    filter_program = SockFprog(len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    if (
        libc.prctl(
            _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(filter_program), zero, zero
        )
        != 0
    ):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def command(argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` without IPv6, environment and directory unchanged."""
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "--", *argv]


@functools.cache
def missing() -> str:
    """Return "" when IPv6 can be taken away from a program here, else why not."""
    probe = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), PROBE]
    result = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode == 0:
        return ""
    reason = result.stderr.strip() or "the seccomp filter did not hold"
    return f"IPv6 cannot be taken away from a server: {reason}"


def main(arguments: Sequence[str]) -> int:
    """Run the program; returns only when that fails."""
    if list(arguments) == [PROBE]:
        return _probe()
    if len(arguments) < 2 or arguments[0] != "--":
        print("usage: python -m conformance.network.without_ipv6 -- CMD ARG…", file=sys.stderr)
        return 2
    try:
        take_away()
        os.execvp(arguments[1], list(arguments[1:]))  # noqa: S606 - it becomes that program
    except OSError as error:
        print(f"without_ipv6: {error}", file=sys.stderr)
    return 126


def _probe() -> int:
    try:
        take_away()
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError as error:
        return 0 if error.errno == errno.EAFNOSUPPORT else 1
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
