"""Steps ``packets``: what no single value shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance.addresses import Address, family, is_loopback, parse, parse_network
from conformance.scenario import model
from conformance.scenario.actions import Exchange, PacketIn, PacketOut, Packets
from conformance.scenario.mistakes import DocumentPath, Finding
from conformance.scenario.needs import all_ports
from conformance.scenario.words import listed, shown

_KINDS = ("exchange", "half_open", "handshakes")
_OUT_KINDS = ("flags", "icmp")
_IN_KINDS = ("flags", "text", "nothing", "closed")
_OF_IPV6 = ("hop_by_hop", "destination_options", "flow_label")
_OF_DATA = ("text", "segments", "order", "overlap")
_OF_TCP = (*_OF_DATA, "mss", "window", "sequence_offset")
_PROOF = ("served", "accepted")


def check_packets(scenario: model.Scenario, *, complete: bool = True) -> Iterator[Finding]:
    """Yield what is wrong with the steps ``packets``; ``complete``: no part of the scenario is left out."""
    last: DocumentPath | None = None
    proved = True
    for block, steps in (("steps", scenario.steps), ("finally", scenario.finally_)):
        for index, step in enumerate(steps):
            if isinstance(step, model.PacketsStep):
                last, proved = (block, index, "packets"), False
                yield from _packets(step.packets, scenario, last)
                yield from _everyone(step, (block, index, "expect"))
            else:
                proved = proved or _shows_an_ordinary_client(step)
    if complete and last is not None and not proved:
        yield Finding(
            last,
            "the kernel answers much of this for a server that is dead: after the last packets an ordinary "
            "client must be seen, such as a step 'connect: {to: …}' with 'expect: served'",
            at_key=True,
        )


def _everyone(step: model.PacketsStep, path: DocumentPath) -> Iterator[Finding]:
    if not step.packets.handshakes:
        for index, one in enumerate(step.expect):
            if one.everyone is not None:
                yield Finding((*path, index, "everyone"), "'everyone' belongs to 'handshakes'", at_key=True)


def _shows_an_ordinary_client(step: model.AnyStep) -> bool:
    if isinstance(step, (model.TalkStep, model.FetchStep)):
        return True
    if not isinstance(step, (model.ConnectStep, model.LoginStep, model.SendStep)):
        return False
    return any(one.outcome in _PROOF for one in step.expect)


def _packets(packets: Packets, scenario: model.Scenario, path: DocumentPath) -> Iterator[Finding]:
    given = _given(packets, _KINDS)
    wrong = _not_one(given, _KINDS, path)
    if wrong is not None:
        yield wrong
        return
    target = _target(packets, scenario)
    if target is not None and is_loopback(target):
        yield Finding(
            (*path, "to"),
            f"the port {packets.to} is on {target}, and no wire leads to a loopback address: give it "
            "another, such as '::' or '0.0.0.0'",
        )
    if packets.exchange:
        yield from _source(packets, target, path)
        for index, turn in enumerate(packets.exchange):
            version = None if target is None else target.version
            yield from _turn(turn, version, (*path, "exchange", index))
        if packets.exchange[0].send is None or packets.exchange[0].send.flags != "SYN":
            yield Finding((*path, "exchange", 0), "an exchange begins with 'send: {flags: SYN}'")
    else:
        count = packets.half_open or packets.handshakes
        yield from _prefix(packets, target, count, path)


def _target(packets: Packets, scenario: model.Scenario) -> Address | None:
    port = next((one for one in all_ports(scenario) if one.name == packets.to), None)
    return _parsed(port.address) if port is not None else None


def _source(packets: Packets, target: Address | None, path: DocumentPath) -> Iterator[Finding]:
    source = _parsed(packets.from_)
    if source is None or getattr(source, "scope_id", None):
        yield Finding(
            (*path, "from"),
            f"{shown(packets.from_)} is not an IP address; an exchange comes from one, such as 2001:db8:f::1",
        )
    elif target is not None and source.version != target.version:
        yield _other_family(packets, source, target, path)


def _prefix(packets: Packets, target: Address | None, count: int, path: DocumentPath) -> Iterator[Finding]:
    try:
        prefix = parse_network(packets.from_)
    except ValueError:
        yield Finding(
            (*path, "from"),
            f"{shown(packets.from_)} is not a prefix; many clients come from one, such as 2001:db8:f::/64 or "
            "10.0.0.0/8",
        )
        return
    if target is not None and prefix.version != target.version:
        yield _other_family(packets, prefix.network_address, target, path)
    # The first address and the last IPv4 one are nobody's.
    usable = prefix.num_addresses - (2 if prefix.version == 4 else 1)
    if count > usable:
        yield Finding(
            (*path, "from"),
            f"{packets.from_} has {usable} addresses for {count} clients; take a shorter prefix",
        )


def _other_family(packets: Packets, source: Address, target: Address, path: DocumentPath) -> Finding:
    return Finding(
        (*path, "from"),
        f"{packets.from_} is {_name(source)}, and the port {packets.to} is on an {_name(target)} address "
        f"({target})",
    )


def _turn(turn: Exchange, version: int | None, path: DocumentPath) -> Iterator[Finding]:
    wrong = _not_one(_given(turn, ("send", "await_")), ("send", "await"), path)
    if wrong is not None:
        yield wrong
    elif turn.send is not None:
        yield from _out(turn.send, version, (*path, "send"))
    elif turn.await_ is not None:
        yield from _in(turn.await_, (*path, "await"))


def _out(out: PacketOut, version: int | None, path: DocumentPath) -> Iterator[Finding]:
    given = _given(out, _OUT_KINDS)
    wrong = _not_one(given, _OUT_KINDS, path)
    if wrong is not None:
        yield wrong
        return
    if out.icmp != "too_big" and _set(out, "mtu"):
        yield Finding((*path, "mtu"), "'mtu' belongs to 'icmp: too_big'", at_key=True)
    alien: Sequence[str] = ()
    what = ""
    if out.icmp is not None:
        alien, what = _OF_TCP, "an ICMP error"
    elif out.flags != "DATA":
        alien, what = _OF_DATA, f"a segment {out.flags}"
    for key in alien:
        if _set(out, key):
            yield Finding((*path, key), f"{what} has no {key!r}", at_key=True)
    if out.flags not in (None, "SYN") and out.mss is not None:
        yield Finding((*path, "mss"), "'mss' is an option of a SYN only", at_key=True)
    if out.flags == "DATA" and not out.text:
        yield Finding((*path, "flags"), "a segment DATA carries something: write 'text'")
    if out.overlap and not out.segments:
        yield Finding((*path, "overlap"), "one segment overlaps no other: write 'segments', too", at_key=True)
    if out.fragment % 8:
        yield Finding(
            (*path, "fragment"), f"a fragment has a multiple of 8 octets, and {out.fragment} is none"
        )
    for key in _OF_IPV6 if version == 4 else ():
        if _set(out, key):
            yield Finding((*path, key), f"{key!r} is of IPv6, and this exchange is IPv4", at_key=True)


def _in(turn: PacketIn, path: DocumentPath) -> Iterator[Finding]:
    wrong = _not_one(_given(turn, _IN_KINDS), _IN_KINDS, path)
    if wrong is not None:
        yield wrong
    elif turn.nothing is not None and _set(turn, "within"):
        yield Finding((*path, "within"), "'nothing' says for how long itself; remove 'within'", at_key=True)


def _given(what: Any, keys: Sequence[str]) -> list[str]:
    """Return those of ``keys`` that say something."""
    return [key.rstrip("_") for key in keys if getattr(what, key) not in (None, (), 0, "", False)]


def _set(what: Any, key: str) -> bool:
    """Say whether ``key`` was written, with another value than the one that it has anyway."""
    return bool(getattr(what, key) != type(what).model_fields[key].default)


def _not_one(given: Sequence[str], keys: Sequence[str], path: DocumentPath) -> Finding | None:
    if len(given) == 1:
        return None
    found = f"found {listed(given, last='and')}" if given else "found none"
    return Finding(path, f"expected exactly one of {listed(keys)}, {found}")


def _parsed(text: str) -> Address | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _name(address: Address) -> str:
    return "IPv4" if family(address) == "ipv4" else "IPv6"
