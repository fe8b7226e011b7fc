"""The station: who gets a packet, who reads, what its thread tells."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from conformance.addresses import parse, parse_network
from conformance.errors import MachineError
from conformance.packets.station import Station
from conformance.packets.templates import ACK, LAYOUTS, template
from conformance.packets.wire import Wire

LIMIT = 30.0
CLIENT, SERVER = parse("2001:db8:f::1"), parse("2001:db8::25")
KEY = LAYOUTS["ipv6"].key_of(CLIENT, 25, 4000)


class Pipe(Wire):
    """A wire with nothing at its other end but this test."""

    kind = "tun"

    def __init__(self) -> None:  # no packet of it goes anywhere
        self.near, self.far = os.pipe()
        os.set_blocking(self.near, False)
        self.broken = False

    def say(self, client_port: int = 4000) -> None:
        """Let a packet of the server's arrive; a pipe has no packets, so that one waits at a time."""
        os.write(self.far, template(CLIENT, client_port, ACK)(int(SERVER), 25, 1, 1))

    def read(self) -> bytes | None:
        if self.broken:
            raise OSError("broken")
        try:
            return os.read(self.near, 60)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        return self.near

    def close(self) -> None:
        os.close(self.near)
        os.close(self.far)


@pytest.fixture
def wire() -> Iterator[Pipe]:
    with Pipe() as one:
        yield one


def test_a_packet_goes_to_whom_it_is_for(wire: Pipe) -> None:
    mine: list[bytes] = []
    strays: list[bytes] = []
    with Station(wire) as station:
        station.handlers[KEY] = lambda key, _packet: mine.append(key)
        wire.say()
        wire.say(4001)
        with station.reading():
            assert station.pump(time.monotonic() + LIMIT)
        assert (mine, station.seen) == ([KEY], 2)
        station.stray = lambda key, _packet: strays.append(key)
        wire.say(4001)
        os.write(wire.far, b"\0" * 60)  # no TCP: nobody's
        with station.reading():
            assert station.pump(time.monotonic() + LIMIT)
            assert not station.pump(0.0)
        assert strays == [LAYOUTS["ipv6"].key_of(CLIENT, 25, 4001)]
        assert station.seen == 4


def test_its_thread_reads_while_nobody_else_does(wire: Pipe) -> None:
    came = threading.Event()
    with Station(wire) as station:
        station.handlers[KEY] = lambda _key, _packet: came.set()
        station.keep()
        station.keep()
        wire.say()
        assert came.wait(LIMIT)
        came.clear()
        with station.reading():  # it waits now
            wire.say()
            assert not came.is_set()
            assert station.pump(time.monotonic() + LIMIT)
        assert came.is_set()
    station.close()
    assert [one for one in threading.enumerate() if one.name == "sixpost-station"] == []


def test_what_its_thread_met_is_told(wire: Pipe) -> None:
    with Station(wire) as station:
        station.keep()
        wire.broken = True
        wire.say()
        station._keeper.join(LIMIT)  # type: ignore[union-attr]
        with pytest.raises(OSError, match="broken"), station.reading():
            pass


@pytest.mark.parametrize(
    ("prefix", "usable", "first"), [("2001:db8::/126", 3, "2001:db8::1"), ("192.0.2.0/29", 6, "192.0.2.1")]
)
def test_no_address_is_given_twice(wire: Pipe, prefix: str, usable: int, first: str) -> None:
    with Station(wire) as station:
        network = parse_network(prefix)
        given = station.sources(network, 2) + station.sources(network, usable - 2)
        assert given == [int(parse(first)) + index for index in range(usable)]
        with pytest.raises(MachineError, match="shorter prefix"):
            station.sources(network, 1)


def test_ports_are_not_given_twice_either(wire: Pipe) -> None:
    with Station(wire) as one, Station(wire) as other:
        assert len({one.next_port(), other.next_port(), one.next_port()}) == 3
