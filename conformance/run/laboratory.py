"""The relay laboratory of one case: its smart hosts and names, and what was sent into the server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.adapters.base import DnsSpec
from conformance.addresses import Address, canonical, parse
from conformance.clients.record import Record
from conformance.network.world import World
from conformance.peers import sockets
from conformance.peers.behaviour import Behaviour
from conformance.peers.recording import Delivery, Recording, Visit, deliveries
from conformance.peers.smart_host import SmartHost
from conformance.scenario import model
from conformance.scenario.needs_outgoing import behaviours_of

if TYPE_CHECKING:
    from conformance.peers.dns_server import DnsServer

_IDENTITY = re.compile(rb"^Message-ID:\s*(<[^>]*>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that a client gave to the server under test."""

    name: str
    identity: str
    """Its Message-ID."""
    mail_from: str
    rcpt_to: tuple[str, ...]
    content: bytes
    """With CRLF at the end, no dots doubled."""
    acknowledged: bool
    whole: bool = True
    """Whether the final dot went out: without it the server has nothing to send on."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the configuration of the server needs to know about the laboratory."""

    numbers: tuple[int, ...] = ()
    """Port numbers of the smart hosts, each once."""
    dns: DnsSpec | None = None
    trust: str = ""


class Laboratory:
    """Opened with `open`, in the network of the case and by its thread; `close` must be called."""

    def __init__(self, scenario: model.Scenario, world: World, record: Record) -> None:
        self._scenario = scenario
        self._world = world
        self._record = record
        self._hosts: dict[str, SmartHost] = {}
        self._where = {one.name: one.host for one in scenario.smart_hosts}
        self._unreachable: set[Address] = set()
        self._dns: DnsServer | None = None
        self.recording = Recording()
        self.sent: list[Sent] = []

    def open(self, trust: Path) -> Surroundings:
        """Open everything; ``trust`` is written where next hops have certificates."""
        anywhere = [one for one in self._scenario.smart_hosts if one.port == "any"]
        addresses = [parse(text) for one in anywhere for text in one.addresses]
        shared = sockets.claim(tuple(dict.fromkeys(addresses))) if addresses else 0
        for one in self._scenario.smart_hosts:
            number = shared if one.port == "any" else int(one.port)
            host = SmartHost(
                one.name,
                [parse(text) for text in one.addresses],
                number,
                self.recording,
                names=one.names,
                record=self._record,
            )
            self._hosts[one.name] = host
            with self._world.at(one.host):
                host.open(Behaviour(state="down"))
            self.change(one.name, one.behaviour)
        numbers = tuple(dict.fromkeys(host.port for host in self._hosts.values()))
        return Surroundings(numbers, self._open_dns(), self._trust(trust))

    def _open_dns(self) -> DnsSpec | None:
        wanted = self._scenario.dns
        if wanted is None:
            return None
        from conformance.peers.dns_server import DnsServer

        addresses = tuple(map(parse, wanted.at))
        self._dns = DnsServer(addresses, sockets.claim(addresses, udp=True), record=self._record)
        self._dns.open()
        self._dns.change(wanted.zone, failures=wanted.failures)
        return DnsSpec(address=canonical(addresses[0]), port=self._dns.port)

    def _trust(self, path: Path) -> str:
        if all(one.security == "none" for one in behaviours_of(self._scenario)):
            return ""
        from conformance.peers.certificates import authority

        if not path.exists():
            authority().write(path)
        return str(path)

    def change(self, name: str, behaviour: Behaviour) -> None:
        """Let a smart host behave otherwise."""
        host = self._hosts[name]
        with self._world.at(self._where[name]):
            host.change(behaviour)
        for address in host.addresses:
            wanted = behaviour.state == "unreachable"
            if wanted != (address in self._unreachable):
                self._world.set_unreachable(address, on=wanted)
                (self._unreachable.add if wanted else self._unreachable.discard)(address)

    def change_names(self, change: model.DnsChange) -> None:
        """Let names be other ones, or fail."""
        if self._dns is not None:
            self._dns.change(change.zone, remove=change.remove, failures=change.failures)

    @property
    def asked(self) -> tuple[str, ...]:
        """What was looked up, such as ``AAAA relay.test``; in order."""
        return () if self._dns is None else tuple(f"{one.type} {one.name}" for one in self._dns.queries)

    def close(self) -> None:
        """End everything, and give back the ways that were taken. Idempotent."""
        for host in self._hosts.values():
            host.close()
        if self._dns is not None:
            self._dns.close()
        for address in tuple(self._unreachable):
            self._world.set_unreachable(address, on=False)
            self._unreachable.discard(address)


def copies(visits: Sequence[Visit], by: Sequence[str]) -> dict[str, list[Delivery]]:
    """Return the messages that were taken, by their Message-ID; ``by`` names smart hosts, none: all.

    Notifications are not among them.
    """
    found: dict[str, list[Delivery]] = {}
    for one in _taken(visits, by):
        header = one.message.content.partition(b"\r\n\r\n")[0]
        identity = _IDENTITY.search(header)
        if identity is not None and not (one.message.mail_from == "" and one.message.is_notification):
            found.setdefault(identity[1].decode("utf-8", "replace"), []).append(one)
    return found


def notifications(visits: Sequence[Visit], by: Sequence[str], sent: Sent) -> list[Delivery]:
    """Return the delivery status notifications about a message."""
    marks = [sent.identity.encode(), *(recipient.encode() for recipient in sent.rcpt_to)]
    return [
        one
        for one in _taken(visits, by)
        if one.message.mail_from == ""
        and any(mark in one.message.content for mark in marks)
        and one.message.is_notification
    ]


def _taken(visits: Sequence[Visit], by: Sequence[str]) -> Iterable[Delivery]:
    return (one for one in deliveries(visits) if one.message.taken and (not by or one.visit.host in by))
