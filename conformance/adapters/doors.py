"""What a server under test may listen on, and what is free for it here.

Outside a network namespace of our own it listens on loopback addresses only (`network.safety`).
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address

from conformance.addresses import parse
from conformance.errors import MachineError
from conformance.network import safety
from conformance.network.ports import PortPool


def refuse_open_doors(addresses: Iterable[str]) -> None:
    """Raise MachineError when a port on one of ``addresses`` would be open to others than this machine.

    Text that is no address opens nothing: the server under test refuses it.
    """
    for text in addresses:
        try:
            address = parse(text)
        except ValueError:
            continue
        safety.check(address, "let a server listen on")


def has_ipv6() -> bool:
    """Say whether this host can listen on ::1."""
    return _free(socket.AF_INET6, "::1", 0)


def free_offset(numbers: Collection[int]) -> int:
    """Return an offset with which all of ``numbers`` are free on every IPv4 address.

    Raises MachineError outside a namespace of our own.
    """
    if not safety.inside_own_namespace():
        raise MachineError(
            "the shipped configuration listens on every address: it is started only in a network namespace "
            "of our own; run with --network namespace"
        )
    pool = PortPool()
    for _ in range(100):
        offset = pool.reserve([IPv4Address("0.0.0.0")]) - min(numbers)
        if offset > 0 and all(_free(socket.AF_INET, "0.0.0.0", offset + number) for number in numbers):
            return offset
    raise MachineError("no free port numbers for the shipped configuration were found")


def _free(family: socket.AddressFamily, address: str, number: int) -> bool:
    if number > 65535:
        return False
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, number))
    except OSError:
        return False
    return True
