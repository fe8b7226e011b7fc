"""What comes of a connection, from the configuration: refused, closed or served, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from conformance.adapters.base import Configuration, PortSpec, ProtocolName, RangeSpec
from conformance.addresses import Address, family, parse
from conformance.clients.outcome import CLOSED, Outcome
from conformance.errors import UsageError
from conformance.oracle.ranges import Number, number, winners

_NOBODY: Mapping[ProtocolName, int] = MappingProxyType({})
_WILDCARDS = frozenset({Number("ipv4", 0), Number("ipv6", 0)})


@dataclass(frozen=True, slots=True)
class ExpectedConnection:
    """``undefined``: ranges of equal priority disagree, and the page leaves it open which one wins."""

    outcome: Literal["refused", "closed", "served", "undefined"]
    reason: str
    ranges: tuple[RangeSpec, ...] = field(default=(), compare=False)
    """The ranges that decided; empty when there are no ranges or none matches."""

    def agrees(self, outcome: Outcome) -> bool:
        """Say whether a client's outcome is what is expected."""
        if self.outcome == "refused":
            return outcome is Outcome.REFUSED
        if self.outcome == "closed":
            return outcome in CLOSED
        return outcome is Outcome.SERVED or (self.outcome == "undefined" and outcome in CLOSED)


@dataclass(frozen=True, slots=True)
class ExpectedListener:
    """Whether a port opens."""

    state: Literal["open", "failed"]
    reason: str


def expected_listener(
    configuration: Configuration, name: str, *, taken: Collection[str] = (), foreign: Collection[str] = ()
) -> ExpectedListener:
    """Say whether the port ``name`` opens at the next start.

    ``taken`` names the ports whose number another program holds, ``foreign`` those whose address is not
    on the host: the configuration cannot tell.
    """
    port = _port(configuration, name)
    if not configuration.host.ipv6 and family(parse(port.address)) == "ipv6":
        return ExpectedListener("failed", "the host has no IPv6")
    if name in taken:
        return ExpectedListener("failed", "the number is in use")
    if name in foreign:
        return ExpectedListener("failed", "the address is not on the host")
    return ExpectedListener("open", "nothing is in its way")


def expected_connection(
    configuration: Configuration,
    endpoint_name: str,
    source: Address,
    *,
    now: datetime,
    at: Address | None = None,
    open_sessions: Mapping[ProtocolName, int] = _NOBODY,
    listening: Collection[str] | None = None,
    numbers: Mapping[str, int] | None = None,
    dual_stack: bool = False,
) -> ExpectedConnection:
    """Say what comes of one connection from ``source`` to a port at ``now`` (aware).

    ``at`` is the address that is connected to; None is the port's own, and for a wildcard any address of
    the host of the client's family. ``open_sessions`` counts the served sessions by protocol.
    ``listening`` names the ports that were opened (None: all that can be), ``numbers`` their real numbers
    where the configuration says 0; ``dual_stack`` says that the server's ``::`` serves IPv4 too.
    Raises UsageError when this cannot be computed: an unknown port, the shipped configuration, or a client
    whose family cannot reach that address.
    """
    if configuration.default:
        raise UsageError("the oracle does not know what a program ships: write the outcome, not 'oracle'")
    port = _port(configuration, endpoint_name)
    client = number(source)
    open_ports = [
        one
        for one in configuration.ports
        if (listening is None or one.name in listening)
        and expected_listener(configuration, one.name).state == "open"
    ]
    target = _target(port, at, client)
    real = numbers or {}
    same_number = [one for one in open_ports if _same_number(one, port, real)]
    listener = _listener(same_number, target, dual_stack)
    if listener is None:
        return ExpectedConnection("refused", _why_refused(port, open_ports, client, at))
    return _at_the_gate(configuration, listener, client, open_sessions, now)


def _port(configuration: Configuration, name: str) -> PortSpec:
    for port in configuration.ports:
        if port.name == name:
            return port
    raise UsageError(f"no port is named {name!r}")


def _target(port: PortSpec, at: Address | None, client: Number) -> Number:
    """Return the address connected to; a wildcard is tried in the client's own family."""
    if at is not None:
        target = number(at)
    else:
        target = number(parse(port.address))
        if target in _WILDCARDS:
            # Any address of the host, no listener's in particular: the wildcard's number stands for it.
            return Number(client.family, 0)
    if target.family != client.family:
        raise UsageError(
            f"a client of {client.family} cannot connect to an address of {target.family}; choose its source"
        )
    return target


def _same_number(one: PortSpec, other: PortSpec, real: Mapping[str, int]) -> bool:
    if one.name == other.name:
        return True
    first, second = real.get(one.name, one.number), real.get(other.name, other.number)
    return first == second != 0


def _listener(ports: list[PortSpec], target: Number, dual_stack: bool) -> PortSpec | None:
    """Return the port that a connection to ``target`` reaches: the exact address comes before a wildcard."""
    wildcards = [Number(target.family, 0)]
    if dual_stack and target.family == "ipv4":
        wildcards.append(Number("ipv6", 0))
    for address in (target, *wildcards):
        for port in ports:
            if number(parse(port.address)) == address:
                return port
    return None


def _why_refused(port: PortSpec, open_ports: list[PortSpec], client: Number, at: Address | None) -> str:
    if port not in open_ports:
        return f"the port {port.name} is not open"
    if at is not None:
        return f"nothing listens on {at} with the number of {port.name}"
    return f"the port {port.name} on {port.address} does not serve {client.family}"


def _at_the_gate(
    configuration: Configuration,
    port: PortSpec,
    client: Number,
    open_sessions: Mapping[ProtocolName, int],
    now: datetime,
) -> ExpectedConnection:
    found: tuple[RangeSpec, ...] = ()
    if configuration.ip_ranges is None:
        reason = "no ranges are configured: everybody is served"
    else:
        found = winners(configuration.ip_ranges, client, now)
        if not found:
            return ExpectedConnection("closed", "no range matches")
        allowing = [spec for spec in found if port.protocol in spec.allow]
        names = ", ".join(spec.name for spec in found)
        if not allowing:
            return ExpectedConnection("closed", f"the range {names} does not allow {port.protocol}", found)
        if len(allowing) != len(found):
            return ExpectedConnection("undefined", f"the ranges {names} of equal priority disagree", found)
        reason = f"the range {names} with priority {found[0].priority} allows {port.protocol}"
    limit = {
        "smtp": configuration.limits.smtp,
        "pop3": configuration.limits.pop3,
        "imap": configuration.limits.imap,
    }[port.protocol]
    if limit and open_sessions.get(port.protocol, 0) >= limit:
        return ExpectedConnection(
            "closed", f"the limit of {limit} {port.protocol} sessions is reached", found
        )
    return ExpectedConnection("served", reason, found)
