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

_CLONE_NEWNET = 0x4000_0000
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
        call("unshare", _CLONE_NEWNET)
        made = current()
        try:
            with _named():
                loopback_up()
                yield made
        finally:
            os.close(made)
            call("setns", before, _CLONE_NEWNET)
    finally:
        os.close(before)


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Be in a namespace that `fresh` made."""
    before = current()
    try:
        call("setns", namespace, _CLONE_NEWNET)
        try:
            with _named():
                yield
        finally:
            call("setns", before, _CLONE_NEWNET)
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
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise MachineError(f"{name}: {os.strerror(ctypes.get_errno())}")
