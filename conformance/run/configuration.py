"""From what a scenario says of the server to what an adapter is given: numbers, times, names."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from conformance.adapters.base import (
    AccountSpec,
    Configuration,
    DeliverySpec,
    HostSpec,
    LimitsSpec,
    PortSpec,
    RangeSpec,
    RelaySpec,
)
from conformance.addresses import LOOPBACK_V4, LOOPBACK_V6, parse
from conformance.network.ports import PortPool
from conformance.run.laboratory import Surroundings
from conformance.scenario import model

PAST_AND_FUTURE = timedelta(hours=1)


class Numbers:
    """The port numbers of one case, and the sockets that hold those which are to be in use."""

    def __init__(self) -> None:
        self._pool = PortPool()
        self._held: list[socket.socket] = []
        self._given: dict[str, int] = {}
        self.taken: set[str] = set()
        """Names of ports whose number another program holds: the harness itself."""

    def specs(self, ports: Sequence[model.Port]) -> tuple[PortSpec, ...]:
        """Return the ports with their numbers.

        Every number is free on the loopback addresses of both families, and stays a port's own through each
        restart: where a scenario expects that nobody answers, no other program may have come to be there.
        """
        for port in ports:
            if port.number == "in_use":
                self._hold(port)
        owners = {port.name: _owner(port, ports) for port in ports}
        for owner in owners.values():
            if owner not in self._given:
                addresses = [parse(port.address) for port in ports if owners[port.name] == owner]
                self._given[owner] = self._pool.reserve([*addresses, LOOPBACK_V4, LOOPBACK_V6])
        for name, owner in owners.items():
            self._given[name] = self._given[owner]
        return tuple(
            PortSpec(
                name=port.name, protocol=port.protocol, address=port.address, number=self._given[port.name]
            )
            for port in ports
        )

    def of(self, name: str) -> int:
        """Return the number of a port that has one."""
        return self._given[name]

    def know(self, name: str, number: int) -> None:
        """Take note of the number of a port that was there already: one of the shipped configuration."""
        self._given.setdefault(name, number)

    def _hold(self, port: model.Port) -> None:
        held = self._pool.hold(parse(port.address))
        self._held.append(held)
        self.taken.add(port.name)
        self._given[port.name] = held.getsockname()[1]

    def release(self) -> None:
        """Let the held numbers go."""
        for held in self._held:
            held.close()
        self._held.clear()


def _owner(port: model.Port, ports: Sequence[model.Port]) -> str:
    """Return the name of the port whose number ``port`` has: its own, or another's."""
    numbers = {one.name: one.number for one in ports}
    name = port.name
    for _ in ports:
        if numbers.get(name, "any") in ("any", "in_use"):
            break
        name = numbers[name]
    return name


def range_spec(ip_range: model.IpRange, now: datetime) -> RangeSpec:
    """Return a range with its expiry as a time."""
    return RangeSpec(
        name=ip_range.name,
        priority=ip_range.priority,
        lower=ip_range.lower,
        upper=ip_range.upper,
        expires=_expiry(ip_range.expires, now),
        allow=ip_range.allow,
        deliver=ip_range.deliver,
        require_auth=ip_range.require_auth,
        require_tls_for_auth=ip_range.require_tls_for_auth,
        spam_protection=ip_range.spam_protection,
        virus_protection=ip_range.virus_protection,
    )


def _expiry(word: str, now: datetime) -> str | None:
    if word == "never":
        return None
    if word == "past":
        return f"{now - PAST_AND_FUTURE:%Y-%m-%d %H:%M:%S}"
    if word == "future":
        return f"{now + PAST_AND_FUTURE:%Y-%m-%d %H:%M:%S}"
    return word


def relay_spec(relay: model.Relay, numbers: Numbers, around: Surroundings) -> RelaySpec:
    """Return a relay with the number of its port."""
    if relay.port == "smart_hosts":
        (port,) = around.numbers
    else:
        port = int(relay.port) if relay.port.isdigit() else numbers.of(relay.port)
    login = relay.login
    return RelaySpec(
        to=relay.to,
        port=port,
        security=relay.security,
        user="" if login is None else login.user,
        password="" if login is None else login.password,
    )


def configuration(
    scenario: model.Scenario, numbers: Numbers, around: Surroundings | None = None
) -> Configuration:
    """Return the configuration that a case begins with; ``around``: its laboratory, where it has one."""
    if scenario.server == "default":
        return Configuration(default=True)
    server = scenario.server
    now = datetime.now(UTC)
    ranges = server.ip_ranges
    around = around or Surroundings()
    ports = numbers.specs(server.ports)
    return Configuration(
        ports=ports,
        ip_ranges=None if ranges is None else tuple(range_spec(one, now) for one in ranges),
        limits=LimitsSpec(**server.limits.model_dump()),
        accounts=tuple(AccountSpec(**account.model_dump()) for account in server.accounts),
        relay=None if server.relay is None else relay_spec(server.relay, numbers, around),
        delivery=DeliverySpec(**server.delivery.model_dump()),
        dns=around.dns,
        trust=around.trust,
        host=HostSpec(ipv6=server.host.ipv6 is not False),
    )


def changed(
    before: Configuration, change: model.Change, numbers: Numbers, around: Surroundings | None = None
) -> Configuration:
    """Return the configuration after a change of the running server."""
    now = datetime.now(UTC)
    ports = tuple(port for port in before.ports if port.name not in change.delete_ports)
    ranges = before.ip_ranges
    if change.add_ip_ranges or change.replace_ip_ranges or change.delete_ip_ranges:
        replaced = {one.name: range_spec(one, now) for one in change.replace_ip_ranges}
        kept = (one for one in ranges or () if one.name not in change.delete_ip_ranges)
        ranges = (
            *(replaced.get(one.name, one) for one in kept),
            *(range_spec(one, now) for one in change.add_ip_ranges),
        )
    relay = None if change.no_relay else before.relay
    if change.relay is not None:
        relay = relay_spec(change.relay, numbers, around or Surroundings())
    delivery = before.delivery
    if change.delivery is not None:
        delivery = DeliverySpec(**change.delivery.model_dump())
    return before.model_copy(
        update={
            "relay": relay,
            "delivery": delivery,
            "ports": (*ports, *numbers.specs(change.add_ports)),
            "ip_ranges": ranges,
            "limits": before.limits if change.limits is None else LimitsSpec(**change.limits.model_dump()),
        }
    )
