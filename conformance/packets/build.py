"""Strange packets, built and described with scapy: the one module that imports it, when it is first needed.

scapy is a package of the extra ``packets`` (`conformance.packets.missing`). Its submodules are imported, not
``scapy.all``, and it is kept from warning about routes and interfaces: it sends nothing here.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from conformance.addresses import Address, canonical, with_port
from conformance.clients.record import printable
from conformance.errors import MachineError
from conformance.packets import missing
from conformance.scenario.actions import PacketOut

_HOP_BY_HOP, _TCP, _FRAGMENT, _ICMPV6, _DESTINATION = 0, 6, 44, 58, 60
"""Next-header values (RFC 8200 section 4)."""
_ICMP = 1
_QUOTED_V6 = 1280 - 40 - 8
"""An ICMPv6 error is no longer than the minimum MTU (RFC 4443 section 2.4)."""
_QUOTED_V4 = 28
"""The IP header and 64 bits (RFC 792)."""
_SHOWN = 120
"""Octets of a payload that a line of the transcript shows."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection, as the client sees it."""

    source: Address
    source_port: int
    target: Address
    port: int

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.target.version


@functools.cache
def scapy() -> SimpleNamespace:
    """Return the parts of scapy that are used. Raises MachineError with the remedy where it is missing."""
    if absent := missing():
        raise MachineError(absent)
    logging.getLogger("scapy.runtime").setLevel(logging.CRITICAL)
    from scapy.layers import inet, inet6
    from scapy.packet import Raw

    return SimpleNamespace(inet=inet, inet6=inet6, Raw=Raw)


def tcp(
    flow: Flow,
    out: PacketOut,
    flags: str,
    sequence: int,
    acknowledgement: int,
    window: int,
    payload: bytes = b"",
) -> list[bytes]:
    """Return the packets of one TCP segment, dressed as ``out`` says; ``flags`` in scapy's letters ("PA")."""
    parts = scapy()
    segment = parts.inet.TCP(
        sport=flow.source_port,
        dport=flow.port,
        flags=flags,
        seq=sequence & 0xFFFFFFFF,
        ack=acknowledgement & 0xFFFFFFFF,
        window=window,
        options=[] if out.mss is None else [("MSS", out.mss)],
    )
    octets = bytes(_header(flow) / segment / parts.Raw(payload))[_header_length(flow) :]
    return _dressed(flow, out, _TCP, _checksum(octets, 16, out))


def icmp_error(flow: Flow, out: PacketOut, about: bytes) -> list[bytes]:
    """Return an ICMP error about the packet ``about``, which the server sent to the client."""
    parts = scapy()
    if flow.version == 6:
        error = (
            parts.inet6.ICMPv6PacketTooBig(mtu=out.mtu)
            if out.icmp == "too_big"
            else parts.inet6.ICMPv6DestUnreach(code=4)  # port unreachable
        )
        number, quoted = _ICMPV6, about[:_QUOTED_V6]
    else:
        error = (
            parts.inet.ICMP(type=3, code=4, nexthopmtu=out.mtu)  # fragmentation needed (RFC 1191)
            if out.icmp == "too_big"
            else parts.inet.ICMP(type=3, code=3)
        )
        number, quoted = _ICMP, about[:_QUOTED_V4]
    octets = bytes(_header(flow) / error / parts.Raw(quoted))[_header_length(flow) :]
    return _dressed(flow, out, number, _checksum(octets, 2, out))


def _header(flow: Flow, **fields: int) -> Any:
    parts = scapy()
    source, target = canonical(flow.source), canonical(flow.target)
    if flow.version == 6:
        return parts.inet6.IPv6(src=source, dst=target, **fields)
    return parts.inet.IP(src=source, dst=target, **fields)


def _header_length(flow: Flow) -> int:
    return 40 if flow.version == 6 else 20


def _checksum(octets: bytes, at: int, out: PacketOut) -> bytes:
    if out.checksum == "right":
        return octets
    # Neither 0 for 0xffff nor the other way round: they are the same number.
    wrong = (int.from_bytes(octets[at : at + 2], "big") ^ 0x5A5A).to_bytes(2, "big")
    return octets[:at] + wrong + octets[at + 2 :]


def _dressed(flow: Flow, out: PacketOut, protocol: int, octets: bytes) -> list[bytes]:
    """Put IP around: extension headers, flow label, fragments."""
    if flow.version == 4:
        return _dressed_v4(flow, out, protocol, octets)
    parts = scapy()
    if out.destination_options:
        # For the destination: behind the fragment header (RFC 8200 section 4.1).
        header = parts.inet6.IPv6ExtHdrDestOpt(nh=protocol, options=[parts.inet6.PadN(optdata=bytes(4))])
        protocol, octets = _DESTINATION, bytes(header) + octets
    packets = []
    for offset, piece, more in _pieces(octets, out.fragment):
        number, body = protocol, piece
        if out.fragment:
            fragment = parts.inet6.IPv6ExtHdrFragment(
                nh=number, offset=offset // 8, m=more, id=flow.source_port
            )
            number, body = _FRAGMENT, bytes(fragment) + body
        if out.hop_by_hop:
            header = parts.inet6.IPv6ExtHdrHopByHop(nh=number, options=[parts.inet6.PadN(optdata=bytes(4))])
            number, body = _HOP_BY_HOP, bytes(header) + body
        packets.append(bytes(_header(flow, nh=number, fl=out.flow_label) / parts.Raw(body)))
    return packets


def _dressed_v4(flow: Flow, out: PacketOut, protocol: int, octets: bytes) -> list[bytes]:
    parts = scapy()
    return [
        bytes(
            _header(flow, proto=protocol, id=flow.source_port, flags=int(more), frag=offset // 8)
            / parts.Raw(piece)
        )
        for offset, piece, more in _pieces(octets, out.fragment)
    ]


def _pieces(octets: bytes, size: int) -> list[tuple[int, bytes, bool]]:
    """Return offset, octets, and whether more follow, of each fragment."""
    step = size or len(octets)
    return [
        (start, octets[start : start + step], start + step < len(octets))
        for start in range(0, len(octets), step)
    ]


def parse(packet: bytes) -> Any:
    """Return scapy's view of an IP packet."""
    parts = scapy()
    return parts.inet6.IPv6(packet) if packet[0] >> 4 == 6 else parts.inet.IP(packet)


def described(packet: bytes, numbers: dict[str, int]) -> str:
    """Return one line about a packet, much as tcpdump writes it.

    ``numbers`` has the initial sequence number of each side, by address: the line's are relative to them.
    """
    parts = scapy()
    layers = parse(packet)
    extras = _extras(layers, parts)
    tcp_layer = layers.getlayer(parts.inet.TCP)
    # A later fragment's octets look like a TCP header to nobody but us.
    if tcp_layer is None or (layers.version == 4 and layers.frag):
        rest = ", ".join([layers.summary().split(" / ", 1)[-1], *extras])
        return f"{layers.src} > {layers.dst}: {rest}"
    flags = str(tcp_layer.flags).replace("A", ".")
    relative = (tcp_layer.seq - numbers.get(layers.src, tcp_layer.seq)) & 0xFFFFFFFF
    words = [f"[{flags}]", f"seq {relative}"]
    if "." in flags:
        words.append(f"ack {(tcp_layer.ack - numbers.get(layers.dst, 0)) & 0xFFFFFFFF}")
    words.append(f"win {tcp_layer.window}")
    words += [f"{str(name).lower()} {value}" for name, value in tcp_layer.options if name == "MSS"]
    payload = bytes(tcp_layer.payload)
    words += [*extras, f"length {len(payload)}"]
    where = f"{with_port(layers.src, tcp_layer.sport)} > {with_port(layers.dst, tcp_layer.dport)}"
    shown = f": {printable(payload[:_SHOWN])!r}" if payload else ""
    return f"{where}: {', '.join(words)}{shown}"


def _extras(layers: Any, parts: SimpleNamespace) -> list[str]:
    """Return what is unusual about a packet's IP part."""
    extras = []
    if layers.version == 6:
        if layers.fl:
            extras.append(f"flow label {layers.fl:#x}")
        if layers.haslayer(parts.inet6.IPv6ExtHdrHopByHop):
            extras.append("hop-by-hop options")
        if layers.haslayer(parts.inet6.IPv6ExtHdrDestOpt):
            extras.append("destination options")
        fragment = layers.getlayer(parts.inet6.IPv6ExtHdrFragment)
        if fragment is not None:
            extras.append(f"fragment {fragment.offset * 8}{'+' if fragment.m else ''}")
    elif layers.frag or int(layers.flags) & 1:
        extras.append(f"fragment {layers.frag * 8}{'+' if int(layers.flags) & 1 else ''}")
    return extras
