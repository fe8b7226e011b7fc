"""The process table: descriptors and listening sockets of a server and its children, from /proc."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from conformance.addresses import Address, Family, family, with_port

_PROC = Path("/proc")
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A TCP socket that listens; one on a v4-mapped address is an IPv6 socket."""

    pid: int
    address: Address
    port: int

    @property
    def family(self) -> Family:
        """The socket's address family."""
        return family(self.address)

    def __str__(self) -> str:
        return f"{with_port(self.address, self.port)} of process {self.pid}"


def missing() -> str:
    """Return "" when this system has a process table that we can read, else what is missing."""
    if (_PROC / "self" / "fd").is_dir() and (_PROC / "self" / "stat").is_file():
        return ""
    return "the process table: there is no /proc here"


def family_tree(pids: Iterable[int]) -> tuple[int, ...]:
    """Return ``pids`` that exist and all their descendants, sorted."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in pids if (_PROC / str(pid)).exists()]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return tuple(sorted(found))


def open_descriptors(pids: Iterable[int]) -> int:
    """Return how many descriptors the processes and their descendants have open, together.

    A process that ends meanwhile counts as 0. Raises PermissionError for a process of another user.
    """
    return sum(len(_descriptors(pid)) for pid in family_tree(pids))


def descriptors(pids: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """Return what the processes and their descendants have open, by process, sorted: for a message."""
    return {pid: tuple(sorted(_descriptors(pid))) for pid in family_tree(pids)}


def listening_sockets(pids: Iterable[int]) -> tuple[ListeningSocket, ...]:
    """Return the listening TCP sockets of the processes and their descendants, without doubles.

    They are looked up in each process's own network namespace. A socket that several processes share is named
    once, with the lowest of them.
    """
    found: dict[str, ListeningSocket] = {}
    for pid in family_tree(pids):
        inodes = {text[8:-1] for text in _descriptors(pid) if text.startswith("socket:[")}
        if inodes:
            for inode, address, port in _listeners(pid):
                if inode in inodes:
                    found.setdefault(inode, ListeningSocket(pid, address, port))
    return tuple(sorted(found.values(), key=lambda one: (one.family, int(one.address), one.port)))


def _parents() -> Iterator[tuple[int, int]]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text("utf-8", "replace")
            except OSError:
                continue  # it ended meanwhile
            # pid (name) state parent …: the name may hold blanks and brackets
            yield int(entry.name), int(text.rpartition(")")[2].split()[1])


def _descriptors(pid: int) -> list[str]:
    try:
        entries = list((_PROC / str(pid) / "fd").iterdir())
    except FileNotFoundError:
        return []
    found = []
    for entry in entries:
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def _listeners(pid: int) -> Iterator[tuple[str, Address, int]]:
    for name in ("tcp", "tcp6"):
        try:
            lines = (_PROC / str(pid) / "net" / name).read_text("ascii").splitlines()[1:]
        except OSError:
            continue  # no such family, or it ended
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                address, port = fields[1].split(":")
                yield fields[9], _kernel_address(address), int(port, 16)


def _kernel_address(text: str) -> Address:
    """Read the kernel's hexadecimal text: 32-bit words, each in the machine's byte order."""
    octets = b"".join(struct.pack("=I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8))
    return IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets)
