"""A network namespace of our own: entering it, and making every address in it ours (Linux only).

`enter` changes the calling process for good and must run while it has one thread. Inside, ``lo`` is the only
interface; local routes make every IPv4 and IPv6 address an address of this host, low ports need no
privilege, and IPv6 sockets may bind any address.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from pathlib import Path

from conformance.errors import MachineError
from conformance.network import safety

_CLONE_NEWNS = 0x0002_0000
_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_MS_REC_PRIVATE = 0x4000 | 0x4_0000
_IPV6_FREEBIND = 78

_SYSCTLS = {
    "/proc/sys/net/ipv4/ip_unprivileged_port_start": "0",
}


def threads() -> int:
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def enter() -> None:
    """Enter a new namespace and configure it; raises MachineError naming the step that failed.

    A failure may leave the process in a half-made namespace: `probe` first.
    """
    if threads() != 1:
        raise MachineError(
            f"this process has {threads()} threads; a namespace is entered before a second one exists"
        )
    _unshare()
    _configure()
    os.environ[safety.VARIABLE] = safety.identity()


def probe() -> str:
    """Try all of `enter` in a forked child; return "" or why it is not possible here."""
    if threads() != 1:
        return f"this process has {threads()} threads already"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        reason = _probe_in_child()
        os.write(writing, reason.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        reason = pipe.read().decode()
    _pid, status = os.waitpid(child, 0)
    return reason or ("" if status == 0 else f"the probe ended with status {status}")


def _probe_in_child() -> str:
    try:
        enter()
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            sock.bind(("2001:db8::1", 25))
        if not safety.inside_own_namespace():
            return "the new namespace is not recognised as ours"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        return str(error) or type(error).__name__
    return ""


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and _try_unshare(_CLONE_NEWNET | _CLONE_NEWNS) == "":
        _make_mounts_private()
        return
    error = _try_unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWNS)
    if error:
        raise MachineError(
            f"the system allows no namespace of our own (unshare: {error}); it needs unprivileged user "
            "namespaces, or root with CAP_SYS_ADMIN"
        )
    # We keep our own number, so that the servers we start run as the ordinary user that we are.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _try_unshare(flags: int) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    return "" if libc.unshare(flags) == 0 else os.strerror(ctypes.get_errno())


def _make_mounts_private() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # In a chroot, "/" is no mount point, and nothing is mounted by us yet: EINVAL there is no harm.
    if libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None) != 0 and (
        ctypes.get_errno() != errno.EINVAL
    ):
        raise MachineError(f"cannot make the mounts private: {os.strerror(ctypes.get_errno())}")


def _configure() -> None:
    try:
        from pyroute2 import IPRoute
    except ImportError as error:
        raise MachineError(f"the namespace needs pyroute2: {error}") from error
    for file, value in _SYSCTLS.items():
        _write(file, value)
    with IPRoute() as network:
        lo = network.link_lookup(ifname="lo")[0]
        network.link("set", index=lo, state="up")
        for family, everything in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
            network.route("add", family=family, dst=everything, oif=lo, type="local", table=255, scope=254)


def _write(file: str, value: str) -> None:
    try:
        Path(file).write_text(value, "ascii")
    except OSError as error:
        raise MachineError(f"cannot write {value!r} to {file}: {error.strerror}") from error
