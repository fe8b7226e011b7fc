"""Templates against scapy: the same octets, for the same segment."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from conformance.addresses import Address, parse
from conformance.packets import templates
from conformance.packets.templates import ACK, FIN, LAYOUTS, RST, SYN, checksum_is_right, template

LETTERS = {SYN: "S", ACK: "A", FIN | ACK: "FA", RST: "R"}


def scapys(source: Address, target: Address, fields: dict[str, Any], payload: bytes) -> bytes:
    inet = pytest.importorskip("scapy.layers.inet")
    inet6 = pytest.importorskip("scapy.layers.inet6")
    if target.version == 6:
        header = inet6.IPv6(src=str(source), dst=str(target))
    else:
        header = inet.IP(src=str(source), dst=str(target), id=0, flags="DF")
    return bytes(header / inet.TCP(**fields) / payload)


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("seed", range(25))
def test_a_template_is_what_scapy_builds(version: int, seed: int) -> None:
    chance = random.Random(seed)
    bits = 128 if version == 6 else 32
    kind: Any = IPv6Address if version == 6 else IPv4Address
    source, target = (kind(chance.getrandbits(bits)) for _ in range(2))
    port, client_port, window = (chance.randrange(1, 65536) for _ in range(3))
    sequence, acknowledgement = (chance.getrandbits(32) for _ in range(2))
    flags = chance.choice(list(LETTERS))
    mss = chance.choice([None, 1440]) if flags == SYN else None
    payload = chance.randbytes(chance.randrange(5)) if flags == ACK else b""
    built = template(target, port, flags, mss=mss, window=window, payload=payload)(
        int(source), client_port, sequence, acknowledgement
    )
    expected = scapys(
        source,
        target,
        {
            "sport": client_port,
            "dport": port,
            "flags": LETTERS[flags],
            "seq": sequence,
            "ack": acknowledgement,
            "window": window,
            "options": [] if mss is None else [("MSS", mss)],
        },
        payload,
    )
    # 0 and 65535 are one number in a checksum; all else is the same octet for octet.
    checksum = LAYOUTS["ipv6" if version == 6 else "ipv4"].tcp + 16
    if built[checksum : checksum + 2] == b"\0\0":
        expected = expected[:checksum] + b"\0\0" + expected[checksum + 2 :]
    assert built == expected
    assert checksum_is_right(built)
    parsed = templates.parse(built + b"padding")
    assert parsed is not None
    assert (parsed.source, parsed.destination) == (source.packed, target.packed)
    assert (parsed.source_port, parsed.destination_port) == (client_port, port)
    assert (parsed.sequence, parsed.acknowledgement) == (sequence, acknowledgement)
    assert (parsed.flags, parsed.window, parsed.payload) == (flags, window, payload)


@pytest.mark.parametrize("target", ["2001:db8::25", "198.51.100.25"])
def test_each_wrong_bit_shows(target: str) -> None:
    address = parse(target)
    built = template(address, 25, ACK, payload=b"NOOP\r\n")(int(address) + 1, 4000, 1, 2)
    layout = templates.layout_of(built)
    assert layout is not None
    assert checksum_is_right(built)
    # Of the offset (top of octet 12) scapy and the kernel read a length: that is another matter.
    for index in range(layout.tcp, len(built)):
        if index == layout.tcp + 12:
            continue
        wrong = bytearray(built)
        wrong[index] ^= 0x40
        assert not checksum_is_right(bytes(wrong)), index


def test_a_checksum_of_zero_is_right() -> None:
    """The number that makes the sum 65535: the checksum is 0, and is taken."""
    address = parse("2001:db8::25")
    build = template(address, 25, ACK)
    first = build(1, 4000, 0, 0)
    missing = int.from_bytes(first[56:58], "big")
    built = build(1, 4000, missing, 0)
    assert built[56:58] == b"\0\0"
    assert checksum_is_right(built)


def test_keys_name_a_conversation_from_both_sides() -> None:
    for source, target in (("2001:db8:f::1", "2001:db8::25"), ("203.0.113.1", "198.51.100.25")):
        client, server = parse(source), parse(target)
        layout = LAYOUTS["ipv6" if client.version == 6 else "ipv4"]
        from_server = template(client, 4000, ACK)(int(server), 25, 1, 1)
        assert from_server[layout.key] == layout.key_of(client, 25, 4000)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x60",
        bytes.fromhex("6000000000083a40") + bytes(60),  # ICMPv6
        bytes.fromhex("6000000000140040") + bytes(60),  # hop-by-hop options
        bytes.fromhex("46000028000000004006") + bytes(40),  # IPv4 options
        bytes.fromhex("45000028000020004006") + bytes(40),  # a first fragment
        bytes.fromhex("45000028000000014006") + bytes(40),  # a later one
    ],
)
def test_what_is_no_plain_segment_is_none(packet: bytes) -> None:
    assert templates.layout_of(packet) is None
    assert templates.parse(packet) is None
    assert not checksum_is_right(packet)
