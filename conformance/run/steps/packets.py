"""The step ``packets``: an exchange by script, a flood of SYNs, or a crowd that stays until the case ends."""

from __future__ import annotations

from conformance.addresses import Address, parse, parse_network, with_port
from conformance.errors import HarnessBug
from conformance.network.plan import SERVER_V4, SERVER_V6
from conformance.packets import exchange, peer
from conformance.packets.station import Station
from conformance.run.context import Context
from conformance.scenario import model
from conformance.verdict.judge import Finding, found


def packets(context: Context, step: model.PacketsStep) -> None:
    """Send what the step says from beyond the wire, and judge whether it came to its end."""
    action = step.packets
    target, port = _target(context, action)
    station = _station(context)
    if action.exchange:
        result = exchange.run(
            station, parse(action.from_), target, port, action.exchange, context.transcript.record
        )
        finding = found(result.completed, result.expected, result.actual)
    elif action.half_open:
        finding = _half_open(context, station, action, target, port)
    else:
        crowd, finding = _handshakes(context, station, action, target, port)
        for expectation in step.expect:
            context.judge(expectation, _everyone(context, station, crowd, expectation, finding))
        return
    for expectation in step.expect:
        context.judge(expectation, finding)


def _target(context: Context, action: model.Packets) -> tuple[Address, int]:
    """Return where the packets go; a wildcard stands for the host's address that a wire leads to."""
    endpoint = context.endpoint(action.to)
    address = parse(endpoint.address)
    if address.is_unspecified:
        address = SERVER_V4 if address.version == 4 else SERVER_V6
    return address, endpoint.port


def _station(context: Context) -> Station:
    """Return the one reader of this case's wire."""
    for kept in context.crowds:
        if isinstance(kept, Station):
            return kept
    if context.wire is None:
        raise HarnessBug("a case with a step 'packets' has no wire")
    station = Station(context.wire)
    context.crowds.append(station)
    return station


def _half_open(
    context: Context, station: Station, action: model.Packets, target: Address, port: int
) -> Finding:
    """The kernel answers SYNs, not the server: that any was answered says that it listens."""
    flood = peer.half_open(station, target, port, parse_network(action.from_), action.half_open)
    actual = (
        f"{flood.sent} SYNs in {flood.seconds:.1f} s, {flood.answered} answered by SYN-ACK, "
        f"{flood.refused} by RST"
    )
    context.transcript.action(f"to {with_port(target, port)} from {action.from_}: {actual}")
    expected = f"{action.half_open} half-open handshakes, answered by SYN-ACK"
    return found(flood.sent == action.half_open and flood.answered > 0, expected, actual)


def _handshakes(
    context: Context, station: Station, action: model.Packets, target: Address, port: int
) -> tuple[peer.Crowd, Finding]:
    crowd = peer.complete_handshakes(station, target, port, parse_network(action.from_), action.handshakes)
    context.crowds.append(crowd)
    actual = f"{crowd.established} completed in {crowd.seconds:.1f} s, {crowd.refused} refused"
    context.transcript.action(f"to {with_port(target, port)} from {action.from_}: {actual}")
    met = crowd.established == action.handshakes
    return crowd, found(met, f"{action.handshakes} completed handshakes", actual)


def _everyone(
    context: Context,
    station: Station,
    crowd: peer.Crowd,
    expectation: model.PacketsExpectation,
    finding: Finding,
) -> Finding:
    """Wait until the server has greeted every client, or disconnected it, where that is expected, too."""
    word = expectation.everyone
    if word is None or not finding.met:
        return finding

    def met() -> bool:
        return crowd.greeted == crowd.established if word == "greeted" else crowd.open == 0

    station.pump_until(met, expectation.within)
    silent = "" if word == "greeted" else " with no octet"
    actual = (
        f"{crowd.greeted} greeted ({crowd.octets} octets), {crowd.finished} disconnected by FIN, "
        f"{crowd.resets} by RST"
    )
    context.transcript.action(f"of {crowd.established} clients: {actual}")
    expected = f"{finding.expected}, all {word}{silent} within {expectation.within:g} s"
    return found(met() and not (silent and crowd.octets), expected, f"{finding.actual}; {actual}")
