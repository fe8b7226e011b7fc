"""Clients by the thousand: TCP in user space, just enough to connect, to be silent, and to go away politely.

Each client has an address of its own. `complete_handshakes` returns a `Crowd` whose clients stay connected:
they acknowledge what the server says, and say nothing. `half_open` sends SYNs that no ACK follows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from conformance.addresses import Address, Network, family
from conformance.packets.station import Station
from conformance.packets.templates import (
    ACK,
    FIN,
    LAYOUTS,
    RST,
    SYN,
    Layout,
    number,
    template,
    total_length,
)

PATIENCE = 10.0
"""Seconds without any progress after which the rest of the handshakes is given up."""
LONGEST = 60.0
"""Seconds that a crowd may take to come together."""
_SETTLE = 2.0
"""Seconds that answers to the last SYNs may take."""
_RETRY = 0.25
"""Seconds after which a SYN is sent again: nothing is lost here, so that the server's queue was full."""
IN_FLIGHT = 64
"""Handshakes under way at one time: more only fill the server's queue."""
_SYN_BATCH = 128
_ISN = 1_000_000
_MSS = {"ipv6": 1440, "ipv4": 1460}
_AWAITING, _GONE = -1, -2

OnClose = Literal["finish", "reset"]


@dataclass
class Crowd:
    """Clients that were connected together. The counts grow as long as the station reads."""

    target: Address
    port: int
    wanted: int
    established: int = 0
    """Completed handshakes, as the clients see it: a full queue of the server's forgets some."""
    seconds: float = 0.0
    """From the first SYN to the last handshake."""
    octets: int = 0
    """That the server said, all together."""
    finished: int = 0
    """Clients to whom the server sent FIN."""
    resets: int = 0
    """Clients that the server reset."""
    refused: int = 0
    """Clients whose SYN was answered by a reset: nobody listens."""
    _next: dict[bytes, int] = field(default_factory=dict, repr=False)
    """By key: the next octet that is expected from the server, or `_AWAITING`, or `_GONE`."""
    _heard: set[bytes] = field(default_factory=set, repr=False)
    _release: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def greeted(self) -> int:
        """How many of the clients the server said something to."""
        return len(self._heard)

    @property
    def open(self) -> int:
        """How many of the clients are connected, as far as they know."""
        return self.established - self.finished - self.resets

    def close(self) -> None:
        """Leave them: nobody answers for them any more, and the server is not told."""
        self._release()


def complete_handshakes(
    station: Station,
    target: Address,
    port: int,
    prefix: Network,
    count: int,
    *,
    patience: float = PATIENCE,
    in_flight: int = IN_FLIGHT,
    on_close: OnClose = "finish",
) -> Crowd:
    """Connect ``count`` clients from as many addresses of ``prefix`` to ``target``; hold them.

    Gives up after ``patience`` seconds without progress, and after `LONGEST` in any case: `Crowd.established`
    says how far it came. ``on_close``: what a client answers to the server's FIN, its own FIN or a reset.
    """
    crowd = Crowd(target, port, count)
    gathering = _Gathering(station, crowd, station.next_port(), on_close)
    keys = gathering.keys(station.sources(prefix, count))
    crowd._release = lambda: _forget(station, keys)
    with station.reading():
        gathering.run(keys, patience, in_flight)
    station.keep()
    return crowd


@dataclass
class Flood:
    """SYNs that were sent together."""

    target: Address
    port: int
    sent: int = 0
    answered: int = 0
    """SYN-ACKs that came; repeated ones are not told apart."""
    refused: int = 0
    """Resets that came: nobody listens there."""
    seconds: float = 0.0


def half_open(station: Station, target: Address, port: int, prefix: Network, count: int) -> Flood:
    """Send a SYN from each of ``count`` addresses of ``prefix`` to ``target``; acknowledge no answer.

    Returns when all were answered, or nothing more comes.
    """
    kind = family(target)
    flood = Flood(target, port)
    client_port, start = station.next_port(), LAYOUTS[kind].tcp
    build, write = template(target, port, SYN, mss=_MSS[kind]), station.wire.write
    ending = port.to_bytes(2, "big") + client_port.to_bytes(2, "big")

    def count_answer(key: bytes, packet: bytes) -> None:
        if key.endswith(ending):
            flags = packet[start + 13]
            flood.answered += flags & (SYN | ACK) == SYN | ACK
            flood.refused += bool(flags & RST)

    sources = station.sources(prefix, count)
    with station.reading():
        began = time.monotonic()
        station.stray = count_answer
        try:
            for first in range(0, count, _SYN_BATCH):
                for source in sources[first : first + _SYN_BATCH]:
                    write(build(source, client_port, _ISN, 0))
                station.pump(0.0)
            flood.sent = count
            flood.seconds = time.monotonic() - began
            deadline = time.monotonic() + _SETTLE
            while flood.answered + flood.refused < count and station.pump(deadline):
                pass
        finally:
            station.stray = None
    return flood


def _forget(station: Station, keys: Sequence[bytes]) -> None:
    for key in keys:
        station.handlers.pop(key, None)


class _Gathering:
    """A crowd that comes together, and its answers ever after."""

    def __init__(self, station: Station, crowd: Crowd, client_port: int, on_close: OnClose) -> None:
        kind = family(crowd.target)
        self._station = station
        self._crowd = crowd
        self._layout: Layout = LAYOUTS[kind]
        self._width = 16 if kind == "ipv6" else 4
        self._client_port = client_port
        self._waiting = 0
        self._syn = template(crowd.target, crowd.port, SYN, mss=_MSS[kind])
        self._ack = template(crowd.target, crowd.port, ACK)
        self._end = template(crowd.target, crowd.port, FIN | ACK if on_close == "finish" else RST)

    def keys(self, sources: Sequence[int]) -> list[bytes]:
        """Register the clients."""
        ending = self._crowd.port.to_bytes(2, "big") + self._client_port.to_bytes(2, "big")
        keys = [source.to_bytes(self._width, "big") + ending for source in sources]
        self._station.handlers.update(dict.fromkeys(keys, self.handle))
        return keys

    def _write_syn(self, key: bytes) -> None:
        source = int.from_bytes(key[: self._width], "big")
        self._station.wire.write(self._syn(source, self._client_port, _ISN, 0))

    def run(self, keys: Sequence[bytes], patience: float, in_flight: int) -> None:
        """Send the SYNs, never more than ``in_flight`` unanswered, and answer what comes."""
        crowd, station, state = self._crowd, self._station, self._crowd._next
        began = progress = time.monotonic()
        sent: deque[tuple[float, bytes]] = deque()
        index = 0
        while True:
            now = time.monotonic()
            while self._waiting < in_flight and index < len(keys):
                key = keys[index]
                index += 1
                state[key] = _AWAITING
                self._waiting += 1
                sent.append((now, key))
                self._write_syn(key)
            if not self._waiting and index == len(keys):
                break
            before = crowd.established + crowd.refused
            station.pump(now + 0.05)
            now = time.monotonic()
            if crowd.established + crowd.refused > before:
                progress = now
                crowd.seconds = now - began
            elif now - progress > patience or now - began > LONGEST:
                break
            self._send_again(sent, now)

    def _send_again(self, sent: deque[tuple[float, bytes]], now: float) -> None:
        """Repeat SYNs that were not answered in time: a full queue drops them."""
        state = self._crowd._next
        while sent and (state[sent[0][1]] != _AWAITING or now - sent[0][0] >= _RETRY):
            _, key = sent.popleft()
            if state[key] == _AWAITING:
                self._write_syn(key)
                sent.append((now, key))

    def handle(self, key: bytes, packet: bytes) -> None:
        """Answer one packet of the server's as a client that has nothing to say."""
        crowd, state = self._crowd, self._crowd._next
        start = self._layout.tcp
        flags = packet[start + 13]
        expected = state.get(key, _GONE)
        if expected == _GONE:
            return
        if flags & RST:
            state[key] = _GONE
            if expected == _AWAITING:
                crowd.refused += 1
                self._waiting -= 1
            else:
                crowd.resets += 1
            return
        sequence = int.from_bytes(packet[start + 4 : start + 8], "big")
        if flags & SYN:
            if expected == _AWAITING:
                state[key] = expected = number(sequence + 1)
                crowd.established += 1
                self._waiting -= 1
            # Also a repeated one: the ACK was lost, or the server's queue was full.
            self._answer(self._ack, key, expected)
            return
        if expected != _AWAITING:
            self._data(key, packet, flags, sequence, expected)

    def _data(self, key: bytes, packet: bytes, flags: int, sequence: int, expected: int) -> None:
        crowd, start = self._crowd, self._layout.tcp
        length = total_length(packet) - start - (packet[start + 12] >> 4) * 4
        if not (length or flags & FIN):
            return
        if sequence == expected:
            if length:
                crowd.octets += length
                crowd._heard.add(key)
            expected = number(expected + length)
            if flags & FIN:
                crowd.finished += 1
                crowd._next[key] = _GONE
                self._answer(self._end, key, number(expected + 1))
                return
            crowd._next[key] = expected
        self._answer(self._ack, key, expected)

    def _answer(self, build: Callable[[int, int, int, int], bytes], key: bytes, acknowledgement: int) -> None:
        source = int.from_bytes(key[: self._width], "big")
        self._station.wire.write(build(source, self._client_port, _ISN + 1, acknowledgement))
