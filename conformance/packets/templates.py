"""TCP segments written and read without a packet library: tens of thousands a second, without surprises.

A template is one kind of segment to one server; what differs between clients (address, port, numbers) is
filled in, and the checksum follows from the difference (RFC 1624): the sum of 16-bit words in ones'
complement is the value of all octets modulo 65535, so that whole addresses are added at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from conformance.addresses import Address, Family, family

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
"""Flags of a TCP header (RFC 9293 section 3.1)."""

Build = Callable[[int, int, int, int], bytes]
"""Takes source address, source port, sequence and acknowledgement number; returns the IP packet."""

_TCP = 6
_HOP_LIMIT = 64
_MODULUS = 0xFFFF
_NUMBER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a packet that the server sends: without IPv4 options or extension headers."""

    version: int
    tcp: int
    """Octets before the TCP header."""
    key: slice
    """Destination address, source port, destination port: which conversation a packet belongs to."""

    def key_of(self, client: Address, server_port: int, client_port: int) -> bytes:
        """Return the key of what a server sends to ``client``."""
        return client.packed + struct.pack("!HH", server_port, client_port)


LAYOUTS: dict[Family, Layout] = {
    "ipv6": Layout(6, 40, slice(24, 44)),
    "ipv4": Layout(4, 20, slice(16, 24)),
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment that was read; addresses in network order."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    payload: bytes


def layout_of(packet: bytes) -> Layout | None:
    """Return the layout of a plain TCP packet; None for anything else (ICMP, fragments, options)."""
    version = packet[0] >> 4 if packet else 0
    if version == 6 and len(packet) >= 60 and packet[6] == _TCP:
        return LAYOUTS["ipv6"]
    if version == 4 and len(packet) >= 40 and packet[0] == 0x45 and packet[9] == _TCP:
        fragment = (packet[6] << 8 | packet[7]) & 0x3FFF
        return LAYOUTS["ipv4"] if fragment == 0 else None
    return None


def parse(packet: bytes) -> Segment | None:
    """Return the TCP segment in a packet; None where there is none."""
    layout = layout_of(packet)
    if layout is None:
        return None
    start = layout.tcp
    source_port, destination_port, sequence, acknowledgement, offset_and_flags, window = struct.unpack_from(
        "!HHIIHH", packet, start
    )
    width = 16 if layout.version == 6 else 4
    addresses = packet[layout.key.start - width : layout.key.start + width]
    return Segment(
        addresses[:width],
        addresses[width:],
        source_port,
        destination_port,
        sequence,
        acknowledgement,
        offset_and_flags & 0x1FF,
        window,
        packet[start + (offset_and_flags >> 12) * 4 : total_length(packet)],
    )


def total_length(packet: bytes) -> int:
    """Return the length that the IP header names; a link may have added padding."""
    if packet[0] >> 4 == 6:
        return 40 + int.from_bytes(packet[4:6], "big")
    return int.from_bytes(packet[2:4], "big")


def checksum_is_right(packet: bytes) -> bool:
    """Say whether the TCP checksum of a plain packet is right (RFC 9293 section 3.1)."""
    layout = layout_of(packet)
    if layout is None:
        return False
    width = 16 if layout.version == 6 else 4
    segment = packet[layout.tcp : total_length(packet)]
    addresses = packet[layout.key.start - width : layout.key.start + width]
    return (_sum(addresses) + len(segment) + _TCP + _sum(segment)) % _MODULUS == 0


def template(
    target: Address,
    port: int,
    flags: int,
    *,
    mss: int | None = None,
    window: int = 65535,
    payload: bytes = b"",
) -> Build:
    """Return what builds segments to ``target`` and ``port``; ``mss`` is a SYN's option."""
    tail = (b"" if mss is None else struct.pack("!BBH", 2, 4, mss)) + payload
    offset_and_flags = (5 if mss is None else 6) << 12 | flags
    length = 20 + len(tail)
    # What is the same in each packet: of the pseudo header (RFC 8200 section 8.1), ports, flags, window.
    same = int(target) + length + _TCP + port + offset_and_flags + window + _sum(tail)
    if family(target) == "ipv6":
        return _build_v6(target, port, offset_and_flags, window, tail, same)
    return _build_v4(target, port, offset_and_flags, window, tail, same)


def _build_v6(
    target: Address, port: int, offset_and_flags: int, window: int, tail: bytes, same: int
) -> Build:
    head = struct.pack("!IHBB", 6 << 28, 20 + len(tail), _TCP, _HOP_LIMIT)
    destination = target.packed
    pack = struct.Struct("!8s16s16sHHIIHHHH").pack

    def build(source: int, source_port: int, sequence: int, acknowledgement: int) -> bytes:
        total = same + source + source_port + sequence + acknowledgement
        return (
            pack(
                head,
                source.to_bytes(16, "big"),
                destination,
                source_port,
                port,
                sequence,
                acknowledgement,
                offset_and_flags,
                window,
                -total % _MODULUS,
                0,
            )
            + tail
        )

    return build


def _build_v4(
    target: Address, port: int, offset_and_flags: int, window: int, tail: bytes, same: int
) -> Build:
    length = 40 + len(tail)
    # Don't fragment, so that the identification may be 0 (RFC 6864 section 4.1).
    head = struct.pack("!BBHHHBB", 0x45, 0, length, 0, 0x4000, _HOP_LIMIT, _TCP)
    header_sum = _sum(head) + int(target)
    destination = target.packed
    pack = struct.Struct("!10sHI4sHHIIHHHH").pack

    def build(source: int, source_port: int, sequence: int, acknowledgement: int) -> bytes:
        total = same + source + source_port + sequence + acknowledgement
        return (
            pack(
                head,
                -(header_sum + source) % _MODULUS,
                source,
                destination,
                source_port,
                port,
                sequence,
                acknowledgement,
                offset_and_flags,
                window,
                -total % _MODULUS,
                0,
            )
            + tail
        )

    return build


def _sum(octets: bytes) -> int:
    """Return the sum of 16-bit words modulo 65535; an odd octet is the upper half of its word."""
    return int.from_bytes(octets + b"\0" * (len(octets) % 2), "big") % _MODULUS


def number(value: int) -> int:
    """Return a sequence number: 32 bits, round and round."""
    return value & _NUMBER
