"""What a case with outgoing mail needs of the adapter and of the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import requirements
from conformance.addresses import parse_interface
from conformance.scenario.loader import load_file
from conformance.scenario.model import Scenario
from conformance.scenario.needs import features, network_needs, network_plan

_TEXT = """\
id: needs.example
title: What this needs of others
requirements: [BIND-2]
server:
  ports: [{name: here, protocol: smtp, address: "127.0.0.1"}]
%s
steps:
  - send: {to: here, mail_from: a@b.test, rcpt_to: c@d.test}
    expect: accepted
  - relayed: {}
    expect: {at_most: 1}
%s
"""
HOST = 'smart_hosts: [{name: one, addresses: "::1"%s}]\n'
RELAY = '  relay: {to: "::1"%s}\n'


def scenario(folder: Path, head: str, steps: str = "") -> Scenario:
    file = folder / "example.yaml"
    file.write_text(_TEXT % (head, steps), encoding="utf-8")
    (case,) = load_file(file, requirements.load())
    return case.scenario


@pytest.mark.parametrize(
    ("head", "steps", "more"),
    [
        (RELAY % "" + HOST % "", "", {"relay"}),
        ('  relay: {to: "::1|a.test"}\n' + HOST % "", "", {"relay", "relay.alternatives"}),
        (RELAY % ", security: tls" + HOST % "", "", {"relay", "relay.security"}),
        (RELAY % ", login: {user: a, password: b}" + HOST % "", "", {"relay", "relay.login"}),
        (HOST % "" + "dns: {}\n", "", {"delivery.mx", "dns"}),
        (RELAY % "" + HOST % "", "  - change: {no_relay: true}\n", {"relay", "delivery.mx"}),
        (RELAY % "" + "  delivery: {bind: '::1'}\n" + HOST % "", "", {"relay", "delivery.bind"}),
        (
            RELAY % "" + "  delivery: {ipv6_preferred: true, tries: 1}\n" + HOST % "",
            "",
            {"relay", "delivery.ipv6_preferred", "delivery.retries"},
        ),
        (RELAY % "" + HOST % "", "  - clock: {advance: 1h}\n", {"relay", "clock"}),
        (RELAY % "" + HOST % "", "  - queue: {retry: true}\n", {"relay", "queue.change"}),
        (RELAY % "" + HOST % "", "  - {queue: {}, expect: {messages: 0}}\n", {"relay", "queue"}),
        (RELAY % "" + HOST % "", "  - {relayed: {}, expect: {times: 0}}\n", {"relay", "queue"}),
        (RELAY % "" + HOST % "", "  - {relayed: {}, expect: {accounted: true}}\n", {"relay", "queue"}),
    ],
)
def test_features(tmp_path: Path, head: str, steps: str, more: set[str]) -> None:
    assert set(features(scenario(tmp_path, head, steps))) == {"protocol.smtp", *more}


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (RELAY % "" + HOST % "", ()),
        (HOST % ', port: "25"', ("any_source",)),
        (RELAY % "" + 'smart_hosts: [{name: one, addresses: "192.0.2.1"}]\n', ("any_source",)),
        (RELAY % "" + "  delivery: {bind: '127.0.0.9'}\n" + HOST % "", ()),
        (RELAY % "" + "  delivery: {bind: '2001:db8::1'}\n" + HOST % "", ("own_network", "any_source")),
        (RELAY % "" + HOST % ", behaviour: {state: unreachable}", ("own_network",)),
        (RELAY % "" + HOST % ", behaviour: {state: black_hole}", ()),
    ],
)
def test_network(tmp_path: Path, head: str, more: tuple[str, ...]) -> None:
    assert network_needs(scenario(tmp_path, head)) == more


def test_the_host_really_has_the_source_address(tmp_path: Path) -> None:
    head = RELAY % "" + "  delivery: {bind: '2001:db8::1'}\n" + HOST % ""
    assert network_plan(scenario(tmp_path, head)).addresses == (parse_interface("2001:db8::1/128"),)
    linked = head + 'links: [{name: lan, addresses: ["2001:db8::1/64"]}]\n'
    assert network_plan(scenario(tmp_path, linked)).addresses == ()
