"""Network namespaces by descriptor: a new one, going into one, coming back (Linux only).

A namespace is the calling thread's; a socket stays in the one that it was opened in, and a process in the one
that it was started in. Everything here is for the main thread of a process that `namespace.enter` has run in.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from conformance.errors import MachineError
from conformance.network import safety

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
_CURRENT = Path("/proc/thread-self/ns/net")


def current() -> int:
    """Return a descriptor of the namespace that this thread is in; the caller closes it."""
    return os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def fresh() -> Iterator[int]:
    """Be in a new, empty namespace, ``lo`` up; give its descriptor. It is gone with the last who uses it.

    Raises MachineError where that is not allowed: outside a namespace of our own.
    """
    if not safety.inside_own_namespace():
        raise MachineError("a network for one case is made inside a network namespace of our own only")
    before = current()
    try:
        call("unshare", CLONE_NEWNET)
        made = current()
        try:
            with _named():
                loopback_up()
                yield made
        finally:
            os.close(made)
            call("setns", before, CLONE_NEWNET)
    finally:
        os.close(before)


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Be in a namespace that `fresh` made. Raises MachineError outside a namespace of our own."""
    if not safety.inside_own_namespace():
        raise MachineError("no network is entered but from inside a network namespace of our own")
    before = current()
    try:
        call("setns", namespace, CLONE_NEWNET)
        try:
            with _named():
                yield
        finally:
            call("setns", before, CLONE_NEWNET)
    finally:
        os.close(before)


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Name the namespace as ours, for this process and for those that it starts meanwhile."""
    before = os.environ.get(safety.VARIABLE)
    os.environ[safety.VARIABLE] = safety.identity()
    try:
        yield
    finally:
        if before is None:
            del os.environ[safety.VARIABLE]
        else:
            os.environ[safety.VARIABLE] = before


def loopback_up() -> None:
    """Switch ``lo`` on."""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def call(name: str, *arguments: int) -> None:
    """Call a function of the C library that returns 0. Raises MachineError with the system's words."""
    if error := _called(name, *map(ctypes.c_long, arguments)):
        raise MachineError(f"{name}: {os.strerror(error)}")


def try_unshare(flags: int) -> str:
    """Leave the namespaces of ``flags`` for new ones; return "" or the system's words."""
    error = _called("unshare", ctypes.c_int(flags))
    return os.strerror(error) if error else ""


def mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    """Mount; see mount(2). Raises MachineError."""
    if error := try_mount(source, target, kind, flags):
        raise MachineError(f"cannot mount {target}: {os.strerror(error)}")


def try_mount(source: str | None, target: str, kind: str | None, flags: int) -> int:
    """Mount; return 0 or the error's number."""
    words = [None if one is None else os.fsencode(one) for one in (source, target, kind)]
    return _called("mount", *words, ctypes.c_ulong(flags), None)


def _called(name: str, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if getattr(libc, name)(*arguments) == 0 else ctypes.get_errno()
