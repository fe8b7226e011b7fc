"""What a case needs: features of the server under test, and what the network must offer. Nobody writes them.

Both are worked out from the scenario alone, in the order of `conformance.adapters.base.Feature`; a case
whose needs are not met is ``unsupported`` (features) or ``skipped`` (network), never a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, get_args

from conformance.adapters.base import Feature, ProtocolName
from conformance.addresses import Address, family, is_loopback, parse, parse_interface
from conformance.network.plan import SERVER_V4, SERVER_V6, SHARED, HostPlan, LinkPlan, NetworkPlan
from conformance.scenario import model
from conformance.scenario.needs_outgoing import (
    beyond_loopback,
    changes_routes,
    outgoing_features,
    source_addresses,
)

if TYPE_CHECKING:
    from conformance.network.modes import Need

_DEFAULT_RANGE = model.IpRange(name="default", lower="::", upper="::")
_NO_LIMITS = model.Limits()
_NOT_THERE = frozenset({"refused", "filtered", "unreachable", "oracle"})
"""What an IPv4 client of an IPv6-only listener meets; any other word takes a dual-stack one."""


def features(scenario: model.Scenario) -> tuple[Feature, ...]:
    """Return what the server under test must be able to do for ``scenario``, each once, in a fixed order."""
    needed: set[Feature] = set()
    for source in (_server_features, _range_features, outgoing_features, _step_features):
        needed.update(source(scenario))
    return tuple(feature for feature in get_args(Feature) if feature in needed)


def network_needs(scenario: model.Scenario) -> tuple[Need, ...]:
    """Return what ``scenario`` needs beyond loopback addresses."""
    needs: list[Need] = []
    plan = network_plan(scenario)
    if plan.own:
        needs.append("own_network")
    if plan.wire:
        needs.append("wire")
    if any(isinstance(step, model.PacketsStep) and step.packets.exchange for step in all_steps(scenario)):
        needs.append("crafted_packets")
    listening = list(_listening_addresses(scenario))
    if scenario.server == "default" or any(address.is_unspecified for address in listening):
        needs.append("wildcard_listener")
    reached = [address for address in listening if not address.is_unspecified]
    sweeps = any(isinstance(step, model.SweepStep) for step in all_steps(scenario))
    elsewhere = not all(is_loopback(address) for address in (*reached, *_client_addresses(scenario)))
    if sweeps or elsewhere or beyond_loopback(scenario):
        needs.append("any_source")
    if isinstance(scenario.server, model.Server) and scenario.server.host.ipv6 is False:
        needs.append("no_ipv6_filter")
    if any(isinstance(step, (model.DescriptorsStep, model.SocketsStep)) for step in all_steps(scenario)):
        needs.append("process_table")
    return tuple(needs)


def network_plan(scenario: model.Scenario) -> NetworkPlan:
    """Return the network that the case runs in: its own where it changes or adds something."""
    steps = all_steps(scenario)
    host = scenario.server.host if isinstance(scenario.server, model.Server) else model.Host()
    wire = any(isinstance(step, model.PacketsStep) for step in steps)
    switched = (
        host.ipv6 == "disabled" or host.bindv6only or any(isinstance(step, model.OsStep) for step in steps)
    )
    # A server under test binds an IPv6 address only where the host really has it.
    here = {address for address in source_addresses(scenario) if not is_loopback(address)}
    here -= {one.ip for link in scenario.links for one in map(parse_interface, link.addresses)}
    if not (wire or switched or scenario.links or here or changes_routes(scenario)):
        return SHARED
    # Beyond a wire everything is foreign: who listens or comes from here has a real address.
    if wire:
        here |= {SERVER_V4, SERVER_V6, *_listening_addresses(scenario), *_client_addresses(scenario)}
    return NetworkPlan(
        own=True,
        alone=any(_leaves_traces(step) for step in steps),
        ipv6=host.ipv6 != "disabled",
        bindv6only=host.bindv6only,
        links=tuple(
            LinkPlan(link.name, tuple(map(parse_interface, link.addresses))) for link in scenario.links
        ),
        hosts=tuple(
            HostPlan(one.name, one.link, tuple(map(parse_interface, one.addresses))) for one in scenario.hosts
        ),
        wire=wire,
        addresses=tuple(
            parse_interface(f"{address}/{address.max_prefixlen}")
            for address in sorted(here, key=lambda one: (one.version, int(one)))
            if not (is_loopback(address) or address.is_unspecified or address.is_link_local)
        ),
    )


def _leaves_traces(step: model.AnyStep) -> bool:
    return isinstance(step, model.OsStep) or (
        isinstance(step, model.PacketsStep) and (step.packets.half_open or step.packets.handshakes) > 0
    )


def all_steps(scenario: model.Scenario) -> tuple[model.AnyStep, ...]:
    """Return the steps, those of ``finally`` last."""
    return (*scenario.steps, *scenario.finally_)


def all_ports(scenario: model.Scenario) -> tuple[model.Port, ...]:
    """Return every port that the scenario names, those that a step adds included."""
    first = scenario.server.ports if isinstance(scenario.server, model.Server) else ()
    return (*first, *(port for change in _changes(scenario) for port in change.add_ports))


def all_ranges(scenario: model.Scenario) -> tuple[model.IpRange, ...]:
    """Return every IP range that the scenario names, those that a step adds or replaces included."""
    first = scenario.server.ip_ranges or () if isinstance(scenario.server, model.Server) else ()
    later = (
        ip_range
        for change in _changes(scenario)
        for ip_range in (*change.add_ip_ranges, *change.replace_ip_ranges)
    )
    return (*first, *later)


def _changes(scenario: model.Scenario) -> Iterator[model.Change]:
    return (step.change for step in all_steps(scenario) if isinstance(step, model.ChangeStep))


def _protocol_feature(protocol: ProtocolName) -> Feature:
    match protocol:
        case "smtp":
            return "protocol.smtp"
        case "pop3":
            return "protocol.pop3"
        case "imap":
            return "protocol.imap"


def _server_features(scenario: model.Scenario) -> Iterator[Feature]:
    for port in all_ports(scenario):
        yield _protocol_feature(port.protocol)
        if parse(port.address).is_unspecified:
            yield "ports.wildcard"
    if scenario.server == "default":
        yield "default_configuration"
        return
    if scenario.server.limits != _NO_LIMITS:
        yield "connection_limit"
    if scenario.server.accounts:
        yield "accounts"


def _range_features(scenario: model.Scenario) -> Iterator[Feature]:
    given = isinstance(scenario.server, model.Server) and scenario.server.ip_ranges is not None
    ranges = all_ranges(scenario)
    if given or ranges or any(change.delete_ip_ranges for change in _changes(scenario)):
        yield "ip_ranges"
    if any(_decided_by_priority(one, other) for one, other in combinations(ranges, 2)):
        yield "ip_ranges.priority"
    steps = all_steps(scenario)
    sends = any(isinstance(step, model.SendStep) for step in steps)
    logs_in = any(isinstance(step, model.LoginStep) or _sends_with_login(step) for step in steps)
    if given and any(_expects_code(step, "550") for step in steps):
        yield "ip_ranges.deliveries"
    if given and any(_expects_code(step, "530") for step in steps):
        yield "ip_ranges.authentication"
    for ip_range in ranges:
        if ip_range.expires != "never":
            yield "ip_ranges.expiry"
        if set(ip_range.allow) != set(_DEFAULT_RANGE.allow):
            yield "ip_ranges.permissions"
        if sends and set(ip_range.deliver) != set(_DEFAULT_RANGE.deliver):
            yield "ip_ranges.deliveries"
        if sends and set(ip_range.require_auth) != set(_DEFAULT_RANGE.require_auth):
            yield "ip_ranges.authentication"
        if logs_in and ip_range.require_tls_for_auth:
            yield "ip_ranges.tls_for_authentication"


def _decided_by_priority(one: model.IpRange, other: model.IpRange) -> bool:
    if one.name == other.name or one.priority == other.priority:
        return False
    lower, upper = parse(one.lower), parse(one.upper)
    other_lower, other_upper = parse(other.lower), parse(other.upper)
    if lower.version != other_lower.version:
        return False
    return int(lower) <= int(other_upper) and int(other_lower) <= int(upper)


def _sends_with_login(step: model.AnyStep) -> bool:
    return isinstance(step, model.SendStep) and step.send.login is not None


def _expects_code(step: model.AnyStep, code: str) -> bool:
    """Say whether a refusal of ``step`` at RCPT is expected, by its code."""
    return isinstance(step, model.SendStep) and any(one.code.startswith(code) for one in step.expect)


def _step_features(scenario: model.Scenario) -> Iterator[Feature]:
    ports = {port.name: port for port in all_ports(scenario)}
    for step in all_steps(scenario):
        match step:
            case model.ConnectStep() if _dual_stack(step, ports):
                yield "dual_stack_listener"
            case model.FetchStep():
                yield "mail.local"
            case model.AdminStep():
                yield "administration"
            case model.ChangeStep():
                yield from _change_features(step.change)
            case model.ServerStep(server=action):
                yield action
            case model.ListeningStep() if any(one.state == "failed" or one.reported for one in step.expect):
                yield "ports.report"
            case model.StatusStep():
                yield "status.ipv6"
            case model.DescriptorsStep() | model.SocketsStep():
                yield "process_ids"
            case _:
                pass


def _dual_stack(step: model.ConnectStep, ports: dict[str, model.Port]) -> bool:
    """Say whether the step reaches an IPv6 port over IPv4 and expects somebody there."""
    port = ports.get(step.connect.to)
    if port is None or step.connect.at is None:
        return False
    over = family(parse(step.connect.at)), family(parse(port.address))
    return over == ("ipv4", "ipv6") and any(one.outcome not in _NOT_THERE for one in step.expect)


def _change_features(change: model.Change) -> Iterator[Feature]:
    if change.add_ports or change.delete_ports:
        yield "ports.change"
    if change.add_ip_ranges or change.replace_ip_ranges or change.delete_ip_ranges:
        yield "ip_ranges.live"
    if change.limits is not None:
        yield "connection_limit"


def _listening_addresses(scenario: model.Scenario) -> Iterator[Address]:
    """Yield the addresses that the server is told to listen on, at some time of the case."""
    for port in all_ports(scenario):
        yield parse(port.address)
    steps = all_steps(scenario)
    for index, step in enumerate(steps):
        if not isinstance(step, model.AdminStep) or "port" not in (step.admin.add, step.admin.change):
            continue
        # What was entered is listened on at the next restart only.
        if any(isinstance(later, model.ServerStep) for later in steps[index + 1 :]):
            address = _entered(step.admin.values.get("address", "0.0.0.0"))
            if address is not None:
                yield address


def _entered(text: object) -> Address | None:
    try:
        return parse(str(text))
    except ValueError:
        return None


def _client_addresses(scenario: model.Scenario) -> Iterator[Address]:
    """Yield the addresses that clients come from or go to."""
    for step in all_steps(scenario):
        texts: tuple[str | None, ...] = ()
        match step:
            case model.ConnectStep(connect=connect):
                texts = (connect.from_, connect.at)
            case model.LoginStep(login=login):
                texts = (login.from_,)
            case model.SendStep(send=send):
                texts = (send.from_,)
            case model.FetchStep(fetch=fetch):
                texts = (fetch.from_,)
            case _:
                pass
        yield from (parse(text) for text in texts if text is not None)
