"""Sockets of peers: only where they may be."""

from __future__ import annotations

import socket

import pytest

from conformance.addresses import parse
from conformance.errors import MachineError
from conformance.network.safety import UnsafeAddress
from conformance.peers import sockets

ONE = (parse("127.0.0.1"), parse("::1"))


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "0.0.0.0", "::"])
def test_no_peer_is_anywhere_but_on_loopback(address) -> None:
    with pytest.raises(UnsafeAddress):
        sockets.bound(parse(address), 0)


def test_a_number_is_free_on_every_address_for_both_kinds() -> None:
    number = sockets.claim(ONE, udp=True)
    for address in ONE:
        sockets.bound(address, number).close()
        sockets.bound(address, number, socket.SOCK_DGRAM).close()


def test_where_somebody_is_nobody_else_can_be() -> None:
    number = sockets.claim(ONE)
    with sockets.bound(ONE[1], number) as first:
        first.listen()
        with pytest.raises(MachineError, match=f"::1 port {number}"):
            sockets.bound(ONE[1], number)
