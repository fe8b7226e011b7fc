"""Port numbers for servers under test: free when given, given once, and no other worker's."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from conformance.addresses import Address
from conformance.errors import MachineError
from conformance.network import safety

FIRST = 10_000
"""Below it are the well-known services and what people often start by hand."""
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_FIRST = 32_768
"""Linux's default, where the system does not say; IANA's own range begins higher (49152, RFC 6335 §6)."""


class PortPool:
    """Gives port numbers outside the ephemeral range; all pools of a process draw from one supply.

    No number is given twice before all of them have been given.
    """

    _supplies: ClassVar[dict[tuple[int, int], Iterator[int]]] = {}

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """``environment`` names the xdist worker; workers of one run share no number."""
        worker = environment.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        number = int(worker) if worker.isdigit() else 0
        count = max(int(environment.get("PYTEST_XDIST_WORKER_COUNT", "1")), number + 1)
        self._size = (_first_ephemeral() - FIRST) // count
        first = FIRST + number * self._size
        # Two runs on one machine begin at different places.
        start = (os.getpid() * 97) % self._size
        numbers = [*range(first + start, first + self._size), *range(first, first + start)]
        self._numbers = self._supplies.setdefault((first, self._size), itertools.cycle(numbers))

    def reserve(self, addresses: Sequence[Address]) -> int:
        """Return a number that is free on all ``addresses``.

        Addresses that this host does not have, and those that `network.safety` keeps us from binding, are not
        tried. Raises MachineError when no number is left.
        """
        tried = [address for address in addresses if safety.allowed(address)]
        for number in itertools.islice(self._numbers, self._size):
            if all(_is_free(address, number) for address in tried):
                return number
        raise MachineError("no free port number is left for a server under test")

    def hold(self, address: Address) -> socket.socket:
        """Return a listening socket on ``address``, with a number of this pool; the caller closes it."""
        safety.check(address, "listen on")
        for number in itertools.islice(self._numbers, self._size):
            with contextlib.suppress(OSError):
                return _listening(address, number)
        raise MachineError(f"no port number of {address} can be held")


def _is_free(address: Address, number: int) -> bool:
    try:
        _listening(address, number).close()
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return True  # not this host's address: nothing can be there
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return False
        raise MachineError(f"cannot try port {number} of {address}: {error.strerror}") from error
    return True


def _listening(address: Address, number: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        if address.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.ipv4_mapped else 1)
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: TIME_WAIT is no occupation
        sock.bind((str(address), number))
        sock.listen(1)
    except BaseException:
        sock.close()
        raise
    return sock


def _first_ephemeral() -> int:
    try:
        first = int(_EPHEMERAL.read_text("ascii").split()[0])
    except (OSError, ValueError):
        return _EPHEMERAL_FIRST
    return first if first >= FIRST + 1_000 else 65_536
