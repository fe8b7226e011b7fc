"""One connection by script: what the client sends, packet by packet, and what must come back.

The client is no TCP: it sends what a turn says, acknowledges what a turn lets it acknowledge, and repeats
nothing. What the server's kernel may do at any time (acknowledge, repeat) is passed over; what the server
does (SYN-ACK, octets, FIN, RST) is held against the script, in its order.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.addresses import Address, canonical, with_port
from conformance.clients.record import Kind, Record, printable
from conformance.packets import build
from conformance.packets.build import Flow
from conformance.packets.station import Station
from conformance.packets.templates import LAYOUTS, number
from conformance.scenario.actions import Exchange, PacketIn, PacketOut

_ISN = 7_000_000
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_RECORDED = 20
"""Packets of one turn that are written into the transcript."""
_MORE_LINES = re.compile(rb"\d\d\d-")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an exchange."""

    completed: bool
    expected: str
    actual: str


def run(
    station: Station,
    source: Address,
    target: Address,
    port: int,
    turns: Sequence[Exchange],
    record: Record | None,
) -> Result:
    """Do the turns from ``source`` to ``target``; stop at the first that does not come about.

    ``record`` None: no packet is written down. Nothing is cleaned up: a connection that the script leaves
    open stays open, and its client is gone.
    Raises MachineError without scapy.
    """
    client = CraftedClient(station, source, target, port, record)
    try:
        for index, turn in enumerate(turns, start=1):
            if turn.send is not None:
                client.send(turn.send)
            elif turn.await_ is not None:
                actual = client.wait_for(turn.await_)
                if actual:
                    return Result(False, f"turn {index} of {len(turns)}: {wanted(turn.await_)}", actual)
    finally:
        client.close()
    return Result(True, f"an exchange of {len(turns)} turns", "it was completed")


def wanted(turn: PacketIn) -> str:
    """Return what a turn waits for, for people."""
    if turn.text:
        words = f"a reply that begins with {turn.text!r}"
    elif turn.nothing is not None:
        return f"nothing for {turn.nothing:g} s"
    elif turn.closed:
        words = "FIN or RST, before any octet"
    else:
        words = str(turn.flags)
    return f"{words} within {turn.within:g} s"


class CraftedClient:
    """The client's side of one connection."""

    def __init__(
        self, station: Station, source: Address, target: Address, port: int, record: Record | None
    ) -> None:
        self._station = station
        self._flow = Flow(source, station.next_port(), target, port)
        self._record = record
        self._who = f"crafted{with_port(source, self._flow.source_port)}"
        layout = LAYOUTS["ipv6" if self._flow.version == 6 else "ipv4"]
        self._key = layout.key_of(source, port, self._flow.source_port)
        self._arrived: deque[bytes] = deque()
        self._last = b""
        """The server's last packet."""
        self._numbers = {canonical(source): _ISN}
        """Initial sequence numbers, by address."""
        self._next = _ISN
        """Of ours."""
        self._heard = 0
        """The server's next octet."""
        self._told = 0
        """What we acknowledge."""
        self._acknowledged = 0
        """What the server acknowledged last."""
        self._window = 65_535
        self._early: dict[int, tuple[bytes, bool]] = {}
        self._events: deque[str] = deque()
        """SYN-ACK, FIN, RST and "octets", in the order in which they came."""
        self._octets = b""
        station.handlers[self._key] = self._arrive

    def close(self) -> None:
        """Be gone."""
        self._station.handlers.pop(self._key, None)

    # --- sending ----------------------------------------------------------------------------------------

    def send(self, out: PacketOut) -> None:
        """Send what a turn says."""
        if out.window is not None:
            self._window = out.window
        packets = self._error(out) if out.icmp else self._segments(out)
        self._write([packet for packet in packets for _ in range(out.copies)])

    def _error(self, out: PacketOut) -> list[bytes]:
        # Before anything came, about the SYN-ACK that may come: nobody has to believe that.
        about = (
            self._last
            or build.tcp(
                Flow(self._flow.target, self._flow.port, self._flow.source, self._flow.source_port),
                PacketOut(),
                "SA",
                0,
                self._next,
                0,
            )[0]
        )
        return build.icmp_error(self._flow, out, about)

    def _segments(self, out: PacketOut) -> list[bytes]:
        taken = out.checksum == "right" and out.sequence_offset == 0
        letters = {"SYN": "S", "ACK": "A", "DATA": "PA", "FIN": "FA", "RST": "R"}[out.flags or "ACK"]
        first = _ISN if out.flags == "SYN" else self._next
        pieces = [(0, b"")]
        length = 1 if out.flags in ("SYN", "FIN") else 0
        if out.flags == "DATA":
            octets = out.text.encode()
            pieces, length = _cut(octets, out), len(octets)
        if taken and (out.flags != "SYN" or self._next == _ISN):
            self._next = number(self._next + length)
        return [
            packet
            for offset, piece in pieces
            for packet in build.tcp(
                self._flow,
                out,
                letters,
                first + out.sequence_offset + offset,
                self._told if "A" in letters else 0,
                self._window,
                piece,
            )
        ]

    def _acknowledge(self) -> None:
        self._told = self._heard
        self._write(build.tcp(self._flow, PacketOut(), "A", self._next, self._told, self._window))

    def _write(self, packets: list[bytes]) -> None:
        for index, packet in enumerate(packets):
            if index < _RECORDED:
                self._note("sent", packet)
            self._station.wire.write(packet)
        if len(packets) > _RECORDED and self._record is not None:
            self._record(self._who, "note", f"{len(packets) - _RECORDED} more such packets")

    def _note(self, kind: Kind, packet: bytes) -> None:
        if self._record is not None:
            self._record(self._who, kind, build.described(packet, self._numbers))

    # --- receiving --------------------------------------------------------------------------------------

    def _arrive(self, _key: bytes, packet: bytes) -> None:
        self._arrived.append(packet)

    def wait_for(self, turn: PacketIn) -> str:
        """Return "" when what the turn waits for came, else what came or happened in its place."""
        limit = turn.within if turn.nothing is None else turn.nothing
        deadline = time.monotonic() + limit
        while True:
            if self._take(turn.acknowledge):
                self._acknowledge()
            answer = self._compared(turn)
            if answer is not None:
                return answer
            with self._station.reading():
                self._station.pump(deadline)
            if not self._arrived and time.monotonic() >= deadline:
                if turn.nothing is not None:
                    return ""
                said = f", after {printable(self._octets)!r}" if self._octets else ""
                return f"nothing came within {limit:g} s{said}"

    def _take(self, acknowledge: bool) -> bool:
        """Read what arrived; say whether something is to be acknowledged."""
        something = False
        while self._arrived:
            packet = self._arrived.popleft()
            something = self._read(packet) or something
        return something and acknowledge

    def _read(self, packet: bytes) -> bool:
        layers = build.parse(packet)
        segment = layers[build.scapy().inet.TCP]
        flags, sequence = int(segment.flags), int(segment.seq)
        if flags & _SYN:
            self._numbers[layers.src] = sequence
        self._note("received", packet)
        self._last = packet
        if flags & _ACK:
            self._acknowledged = int(segment.ack)
        if flags & _RST:
            self._events.append("RST")
            return False
        if flags & _SYN:
            if self._heard != number(sequence + 1):  # not one that is repeated
                self._heard = self._told = number(sequence + 1)
                self._events.append("SYN-ACK")
            return False
        payload = bytes(segment.payload)
        if not (payload or flags & _FIN):
            return False
        self._early[sequence] = (payload, bool(flags & _FIN))
        self._in_order()
        return True

    def _in_order(self) -> None:
        """Take the segments whose turn it is; what was heard before is passed over."""
        for sequence in sorted(self._early, key=lambda one: number(one - self._heard + 2**31)):
            payload, fin = self._early[sequence]
            behind = number(self._heard - sequence)
            if behind >= 2**31:  # it is ahead
                return
            del self._early[sequence]
            if behind > len(payload) or (behind == len(payload) and not fin):
                continue
            fresh = payload[behind:]
            if fresh:
                self._octets += fresh
                self._events.append("octets")
            if fin:
                self._events.append("FIN")
            self._heard = number(self._heard + len(fresh) + fin)

    # --- comparing --------------------------------------------------------------------------------------

    def _compared(self, turn: PacketIn) -> str | None:
        """Return "" for what is wanted, what came in its place, or None as long as neither came."""
        if turn.text:
            return self._reply(turn.text.encode())
        event = self._events[0] if self._events else ""
        if turn.flags == "ACK":
            if event == "RST":
                return "RST"
            return "" if self._acknowledged == self._next else None
        if not event:
            return None
        met = event in ("FIN", "RST") if turn.closed else event == turn.flags
        if turn.nothing is not None or not met:
            return f"the octets {printable(self._octets)!r}" if event == "octets" else event
        self._events.popleft()
        return ""

    def _reply(self, beginning: bytes) -> str | None:
        """Take one reply: a line, or lines as far as SMTP's hyphens say."""
        end = 0
        while (line_end := self._octets.find(b"\n", end)) >= 0:
            more = _MORE_LINES.match(self._octets, end)
            end = line_end + 1
            if not more:
                reply, self._octets = self._octets[:end], self._octets[end:]
                if not self._octets:
                    self._events = deque(event for event in self._events if event != "octets")
                return "" if reply.startswith(beginning) else f"the reply {printable(reply)!r}"
        other = next((event for event in self._events if event != "octets"), "")
        if other:
            return f"{other} after {printable(self._octets)!r}" if self._octets else other
        return None


def _cut(octets: bytes, out: PacketOut) -> list[tuple[int, bytes]]:
    """Return the segments of DATA with their offsets, in the order in which they are sent."""
    size = out.segments or max(len(octets), 1)
    pieces = []
    for start in range(0, len(octets), size):
        early = max(0, start - out.overlap)
        pieces.append((early, octets[early : start + size]))
    return pieces if out.order == "in_order" else pieces[::-1]
