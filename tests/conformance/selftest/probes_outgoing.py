"""One look at a running server for each fault of outgoing mail; see `probes`. All of them on loopback."""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.adapters.base import Configuration, DeliverySpec, DnsSpec, PortSpec, RelaySpec
from conformance.adapters.reference import ReferenceAdapter
from conformance.addresses import parse
from conformance.peers import sockets
from conformance.peers.behaviour import Behaviour, Cut
from conformance.peers.dns_server import DnsServer
from conformance.peers.names import Records
from conformance.peers.recording import Delivery, Recording
from conformance.peers.smart_host import SmartHost
from conformance.run.patience import again_until

Probe = Callable[[ReferenceAdapter, Path], bool]
DOOR = PortSpec(name="door", protocol="smtp", address="127.0.0.1")
SIX = PortSpec(name="six", protocol="smtp", address="::1")
BOTH = {"relay.test": Records(A=("127.0.0.1",), AAAA=("::1",))}
LIMIT = 60.0


@dataclass
class Scene:
    """A server with one smart host on both families; a message is sent into it."""

    adapter: ReferenceAdapter
    recording: Recording
    ports: Mapping[str, int]

    def send(self, host: str = "127.0.0.1", port: str = "door") -> None:
        with smtplib.SMTP(host, self.ports[port], "me.test", timeout=LIMIT) as client:
            client.sendmail("a@b.test", ["c@d.test"], "Subject: x\r\n\r\nx\r\n")

    def arrived(self) -> tuple[Delivery, ...]:
        """Return what the smart host has when nothing is on its way any more."""
        again_until(lambda queue: not any(one.due for one in queue.messages), self.adapter.queue, LIMIT)
        return tuple(one for one in self.recording.deliveries if one.message.taken)


@contextlib.contextmanager
def scene(
    adapter: ReferenceAdapter,
    case: Path,
    to: str,
    *,
    delivery: DeliverySpec | None = None,
    behaviours: Mapping[str, Behaviour] | None = None,
) -> Iterator[Scene]:
    """Start everything; ``behaviours`` of the smart host by address."""
    recording = Recording()
    addresses = (parse("127.0.0.1"), parse("::1"))
    port = sockets.claim(addresses)
    with contextlib.ExitStack() as stack:
        for address in addresses:
            host = SmartHost(str(address), [address], port, recording)
            host.open((behaviours or {}).get(str(address)))
            stack.callback(host.close)
        names = DnsServer(addresses[:1], sockets.claim(addresses[:1], udp=True))
        names.open()
        stack.callback(names.close)
        names.change(BOTH)
        configuration = Configuration(
            ports=(DOOR, SIX),
            relay=RelaySpec(to=to, port=port),
            delivery=delivery or DeliverySpec(),
            dns=DnsSpec(address="127.0.0.1", port=names.port),
        )
        running = adapter.start("probe", case, configuration)
        stack.callback(adapter.stop)
        ports = {endpoint.name: endpoint.port for endpoint in running.endpoints}
        yield Scene(adapter, recording, ports)


def bind_address_for_both_families(adapter: ReferenceAdapter, case: Path) -> bool:
    with scene(adapter, case, "127.0.0.1", delivery=DeliverySpec(bind="::1")) as world:
        world.send()
        return not world.arrived()


def ipv6_source_has_no_route(adapter: ReferenceAdapter, case: Path) -> bool:
    with scene(adapter, case, "::1", delivery=DeliverySpec(bind="::1")) as world:
        world.send()
        return not world.arrived()


def bind_address_ignored(adapter: ReferenceAdapter, case: Path) -> bool:
    with scene(adapter, case, "127.0.0.1", delivery=DeliverySpec(bind="127.0.0.2")) as world:
        world.send()
        (one,) = world.arrived()
        return one.visit.source != parse("127.0.0.2")


def ipv4_always_first(adapter: ReferenceAdapter, case: Path) -> bool:
    with scene(adapter, case, "relay.test", delivery=DeliverySpec(ipv6_preferred=True)) as world:
        world.send()
        (one,) = world.arrived()
        return one.visit.family == "ipv4"


def only_first_address_tried(adapter: ReferenceAdapter, case: Path) -> bool:
    dead = {"127.0.0.1": Behaviour(state="down")}
    with scene(adapter, case, "relay.test", behaviours=dead) as world:
        world.send()
        return not world.arrived()


def self_check_knows_ipv4_only(adapter: ReferenceAdapter, case: Path) -> bool:
    with scene(adapter, case, "::1") as world:
        old = adapter._configuration
        itself = RelaySpec(to="::1", port=world.ports["six"])
        adapter.configure(old.model_copy(update={"relay": itself}))
        world.send()

        def settled(log: str) -> bool:
            return "queue.deferred" in log or '"peer": "::1"' in log

        return '"peer": "::1"' in again_until(settled, adapter.log, LIMIT)


def relay_cut_at_last_colon(adapter: ReferenceAdapter, case: Path) -> bool:
    with scene(adapter, case, "::1") as world:
        world.send()
        return not world.arrived()


def cut_after_data_counts_as_delivered(adapter: ReferenceAdapter, case: Path) -> bool:
    cut = {"::1": Behaviour(cut=Cut(at="dot"))}
    with scene(adapter, case, "::1", behaviours=cut) as world:
        world.send()
        assert not world.arrived()
        return not adapter.queue().messages


def _said_to(adapter: ReferenceAdapter, case: Path, *commands: str) -> int:
    with (
        scene(adapter, case, "::1") as world,
        smtplib.SMTP("::1", world.ports["six"], "me.test", timeout=LIMIT) as client,
    ):
        return [client.docmd(command)[0] for command in commands][-1]


def address_literal_not_understood(adapter: ReferenceAdapter, case: Path) -> bool:
    return _said_to(adapter, case, "EHLO [IPv6:::1]") == 501


def literal_compared_as_text(adapter: ReferenceAdapter, case: Path) -> bool:
    return _said_to(adapter, case, "EHLO [IPv6:0:0:0:0:0:0:0:1]") == 550


def ipv6_clients_not_relayed(adapter: ReferenceAdapter, case: Path) -> bool:
    return _said_to(adapter, case, "EHLO me.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>") == 550


ON_LOOPBACK: dict[str, Probe] = {
    "bind-address-for-both-families": bind_address_for_both_families,
    "ipv6-source-has-no-route": ipv6_source_has_no_route,
    "bind-address-ignored": bind_address_ignored,
    "ipv4-always-first": ipv4_always_first,
    "only-first-address-tried": only_first_address_tried,
    "self-check-knows-ipv4-only": self_check_knows_ipv4_only,
    "relay-cut-at-last-colon": relay_cut_at_last_colon,
    "cut-after-data-counts-as-delivered": cut_after_data_counts_as_delivered,
    "address-literal-not-understood": address_literal_not_understood,
    "literal-compared-as-text": literal_compared_as_text,
    "ipv6-clients-not-relayed": ipv6_clients_not_relayed,
}
