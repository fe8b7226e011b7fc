"""What a case with outgoing mail needs of the server under test and of the network. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.adapters.base import Feature
from conformance.addresses import Address, is_loopback, parse
from conformance.peers.behaviour import Behaviour
from conformance.scenario import model

LOW_PORTS = 1024
"""Below it, a number needs privileges outside of a namespace of our own."""
_DEFAULT = model.Delivery()


def outgoing_features(scenario: model.Scenario) -> Iterator[Feature]:
    """Yield what the server under test must be able to do with outgoing mail."""
    relays = list(relays_of(scenario))
    for relay in relays:
        yield "relay"
        if "|" in relay.to:
            yield "relay.alternatives"
        if relay.security != "none":
            yield "relay.security"
        if relay.login is not None:
            yield "relay.login"
    if scenario.dns is not None:
        yield "dns"
    if scenario.smart_hosts and (not relays or any(change.no_relay for change in _changes(scenario))):
        yield "delivery.mx"
    for delivery in deliveries_of(scenario):
        if delivery.bind:
            yield "delivery.bind"
        if delivery.ipv6_preferred:
            yield "delivery.ipv6_preferred"
        if (delivery.tries, delivery.minutes_between_tries) != (
            _DEFAULT.tries,
            _DEFAULT.minutes_between_tries,
        ):
            yield "delivery.retries"
    for step in _steps(scenario):
        match step:
            case model.ClockStep():
                yield "clock"
            case model.QueueStep(queue=queue):
                yield "queue.change" if queue.retry or queue.delete else "queue"
                if step.expect:
                    yield "queue"
            case model.RelayedStep() if any(one.times == 0 or one.accounted for one in step.expect):
                # That nothing more comes is known when nothing is on its way any more.
                yield "queue"
            case _:
                pass


def outgoing_addresses(scenario: model.Scenario) -> Iterator[Address]:
    """Yield where smart hosts and DNS are, and where the server is to come from."""
    for host in scenario.smart_hosts:
        yield from map(parse, host.addresses)
    if scenario.dns is not None:
        yield from map(parse, scenario.dns.at)
    yield from source_addresses(scenario)


def source_addresses(scenario: model.Scenario) -> Iterator[Address]:
    """Yield what outgoing connections are bound to: addresses that the server's host must really have."""
    for delivery in deliveries_of(scenario):
        if delivery.bind:
            yield parse(delivery.bind)


def beyond_loopback(scenario: model.Scenario) -> bool:
    """Say whether outgoing mail needs more than loopback addresses and high port numbers."""
    low = any(host.port.isdigit() and int(host.port) < LOW_PORTS for host in scenario.smart_hosts)
    return low or not all(map(is_loopback, outgoing_addresses(scenario)))


def changes_routes(scenario: model.Scenario) -> bool:
    """Say whether some address becomes unreachable, which is a matter of the network."""
    return any(one.state == "unreachable" for one in behaviours_of(scenario))


def behaviours_of(scenario: model.Scenario) -> Iterator[Behaviour]:
    """Yield each behaviour that a smart host has at some time."""
    yield from (host.behaviour for host in scenario.smart_hosts)
    yield from (
        step.smart_host.behaviour for step in _steps(scenario) if isinstance(step, model.SmartHostStep)
    )


def relays_of(scenario: model.Scenario) -> Iterator[model.Relay]:
    """Yield each relay that the server has at some time."""
    if isinstance(scenario.server, model.Server) and scenario.server.relay is not None:
        yield scenario.server.relay
    yield from (change.relay for change in _changes(scenario) if change.relay is not None)


def deliveries_of(scenario: model.Scenario) -> Iterator[model.Delivery]:
    """Yield each setting of how mail goes out."""
    if isinstance(scenario.server, model.Server):
        yield scenario.server.delivery
    yield from (change.delivery for change in _changes(scenario) if change.delivery is not None)


def _changes(scenario: model.Scenario) -> Iterator[model.Change]:
    return (step.change for step in _steps(scenario) if isinstance(step, model.ChangeStep))


def _steps(scenario: model.Scenario) -> tuple[model.AnyStep, ...]:
    return (*scenario.steps, *scenario.finally_)
