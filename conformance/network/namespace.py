"""A network namespace of our own: entering it, and making every address in it ours (Linux only).

`enter` changes the calling process for good and must run while it has one thread; what follows happens in
a child (see `supervisor`). Inside, ``lo`` is the only interface; local routes make every IPv4 and IPv6
address an address of this host, low ports need no privilege, and IPv6 sockets may bind any address.
`enter_again` gives a process that was started inside a network of its own.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from conformance.errors import MachineError
from conformance.network import capabilities, netns, safety, supervisor
from conformance.network.netns import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER

_MS_REC_PRIVATE = 0x4000 | 0x4_0000
_IPV6_FREEBIND = 78


def threads() -> int:
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def enter() -> None:
    """Enter new namespaces and configure the network; returns in a child of this process.

    The process that calls it waits for that child, and ends with its exit code. Raises MachineError naming
    the step that failed: `probe` first, a failure may leave the process in half-made namespaces.
    """
    if threads() != 1:
        raise MachineError(
            f"this process has {threads()} threads; a namespace is entered before a second one exists"
        )
    own_processes = processes_are_hidden() == ""
    _unshare(CLONE_NEWPID if own_processes else 0)
    supervisor.split(own_processes=own_processes)
    capabilities.keep_for_children()
    _name_and_configure()


def enter_again() -> None:
    """Enter a network of this process's own; for one that was started inside by another of ours.

    Threads that exist already stay where they are. Raises MachineError.
    """
    if not safety.inside_own_namespace():
        raise MachineError("only a process that was started in a namespace of ours may enter another one")
    netns.call("unshare", CLONE_NEWNET | CLONE_NEWNS)
    _make_mounts_private()
    _name_and_configure()


def probe() -> str:
    """Try all of `enter` in a forked child; return "" or why it is not possible here."""
    if threads() != 1:
        return f"this process has {threads()} threads already"
    return _in_child(_probe_network)


def processes_are_hidden() -> str:
    """Return "" when a process namespace with its own /proc can be made here, else why not.

    Without it, a server that hides from its parent may be left behind by a harness that is killed.
    """
    return _in_child(_probe_processes)


def _in_child(what: Callable[[], str]) -> str:
    # Where it is ignored (that is inherited), ended children leave no exit code.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        return _answer_of(what)
    finally:
        if handler is not None:
            signal.signal(signal.SIGCHLD, handler)


def _answer_of(what: Callable[[], str]) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            reason = what()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
            reason = str(error) or type(error).__name__
        os.write(writing, reason.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    _pid, status = os.waitpid(child, 0)
    return answer or ("" if status == 0 else f"the probe ended with status {status}")


def _probe_network() -> str:
    _unshare(0)
    _name_and_configure()
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        sock.bind(("2001:db8::1", 25))
    return "" if safety.inside_own_namespace() else "the new namespace is not recognised as ours"


def _probe_processes() -> str:
    _unshare(CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        try:
            supervisor.mount_proc()
        except Exception:  # noqa: BLE001 - the exit code says it
            os._exit(1)
        os._exit(0)
    failed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "the process table of a process namespace cannot be mounted here" if failed else ""


def _unshare(more: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and netns.try_unshare(CLONE_NEWNET | CLONE_NEWNS | more) == "":
        _make_mounts_private()
        return
    error = netns.try_unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | more)
    if error:
        raise MachineError(
            f"the system allows no namespace of our own (unshare: {error}); it needs unprivileged user "
            "namespaces, or root with CAP_SYS_ADMIN"
        )
    # We keep our own number, so that the servers we start run as the ordinary user that we are.
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{uid} {uid} 1")
    write("/proc/self/gid_map", f"{gid} {gid} 1")


def _make_mounts_private() -> None:
    reason = netns.try_mount(None, "/", None, _MS_REC_PRIVATE)
    # In a chroot, "/" is no mount point, and nothing is mounted by us yet: EINVAL there is no harm.
    if reason not in (0, errno.EINVAL):
        raise MachineError(f"cannot make the mounts private: {os.strerror(reason)}")


def _name_and_configure() -> None:
    try:
        from conformance.network import interfaces
    except ImportError as error:
        raise MachineError(f"the namespace needs pyroute2: {error}") from error
    netns.loopback_up()
    os.environ[safety.VARIABLE] = safety.identity()
    interfaces.allow_low_ports()
    interfaces.any_address_is_ours()


def write(file: str, value: str) -> None:
    """Write a kernel setting. Raises MachineError naming it."""
    try:
        Path(file).write_text(value, "ascii")
    except OSError as error:
        raise MachineError(f"cannot write {value!r} to {file}: {error.strerror}") from error
