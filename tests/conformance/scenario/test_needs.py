"""What a case needs of the adapter and of the network."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path
from typing import get_args

import pytest

from conformance import requirements
from conformance.adapters.base import Feature
from conformance.builtin import scenarios_directory
from conformance.network.modes import Need
from conformance.network.plan import SERVER_V4, SERVER_V6, SHARED, HostPlan, LinkPlan, NetworkPlan
from conformance.scenario.loader import load, load_file
from conformance.scenario.model import Scenario
from conformance.scenario.needs import features, network_needs, network_plan

HERE = "    - {name: here, protocol: smtp, address: '127.0.0.1'}\n"
CONTROL = "  - connect: {to: here}\n    expect: served\n"


def scenario(folder: Path, *, server: str = "", steps: str = "", ports: str = "") -> Scenario:
    text = (
        "id: needs.example\ntitle: What this needs of others\nrequirements: [BIND-2]\n"
        f"server:\n  ports:\n{HERE}{ports}{server}steps:\n{CONTROL}{steps}"
    )
    file = folder / "example.yaml"
    file.write_text(text, encoding="utf-8")
    (case,) = load_file(file, requirements.load())
    return case.scenario


def ranges(*lines: str) -> str:
    return "  ip_ranges:\n" + "".join(f"    - {{{line}}}\n" for line in lines)


INSIDE = "name: a, lower: '127.0.0.1', upper: '127.0.0.9'"
SEND = (
    "  - send: {to: here, mail_from: a@example.test, rcpt_to: b@example.test%s}\n    expect: {outcome: %s}\n"
)
ACCEPTED = SEND % ("", "accepted")
LOGIN = "  - login: {to: here, user: a@example.test, password: secret}\n    expect: accepted\n"
RESTART = "  - server: restart\n"


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        ({}, set()),
        ({"ports": "    - {name: i, protocol: imap, address: '::1'}\n"}, {"protocol.imap"}),
        (
            {"ports": "    - {name: i, protocol: pop3, address: '0::0'}\n"},
            {"protocol.pop3", "ports.wildcard"},
        ),
        ({"server": ranges(INSIDE)}, {"ip_ranges"}),
        ({"server": "  ip_ranges: []\n"}, {"ip_ranges"}),
        (
            {"server": ranges(INSIDE, "name: b, priority: 20, lower: '127.0.0.9', upper: '127.0.0.20'")},
            {"ip_ranges", "ip_ranges.priority"},
        ),
        (
            {"server": ranges(INSIDE, "name: b, priority: 20, lower: '127.0.0.10', upper: '127.0.0.20'")},
            {"ip_ranges"},
        ),
        (
            {"server": ranges(INSIDE, "name: b, priority: 20, lower: '127.0.0.0', upper: '127.0.0.1'")},
            {"ip_ranges", "ip_ranges.priority"},
        ),
        ({"server": ranges(INSIDE, "name: b, lower: '127.0.0.1', upper: '127.0.0.20'")}, {"ip_ranges"}),
        (
            {"server": ranges(INSIDE, "name: b, priority: 20, lower: '::7f00:0', upper: '::7fff:ffff'")},
            {"ip_ranges"},
        ),
        ({"server": ranges(INSIDE + ", expires: future")}, {"ip_ranges", "ip_ranges.expiry"}),
        ({"server": ranges(INSIDE + ", expires: never")}, {"ip_ranges"}),
        ({"server": ranges(INSIDE + ", allow: [smtp]")}, {"ip_ranges", "ip_ranges.permissions"}),
        ({"server": ranges(INSIDE + ", allow: [imap, smtp, pop3]")}, {"ip_ranges"}),
        ({"server": ranges(INSIDE + ", deliver: [], require_auth: []")}, {"ip_ranges"}),
        (
            {"server": ranges(INSIDE + ", deliver: []"), "steps": ACCEPTED},
            {"ip_ranges", "ip_ranges.deliveries"},
        ),
        (
            {"server": ranges(INSIDE + ", require_auth: []"), "steps": ACCEPTED},
            {"ip_ranges", "ip_ranges.authentication"},
        ),
        (
            {"server": ranges(INSIDE), "steps": SEND % ("", "rejected, code: 530")},
            {"ip_ranges", "ip_ranges.authentication"},
        ),
        (
            {"server": ranges(INSIDE), "steps": SEND % ("", "rejected, code: 550")},
            {"ip_ranges", "ip_ranges.deliveries"},
        ),
        ({"steps": SEND % ("", "rejected, code: 550")}, set()),
        ({"server": ranges(INSIDE + ", require_tls_for_auth: true")}, {"ip_ranges"}),
        (
            {"server": ranges(INSIDE + ", require_tls_for_auth: true"), "steps": LOGIN},
            {"ip_ranges", "ip_ranges.tls_for_authentication"},
        ),
        (
            {
                "server": ranges(INSIDE + ", require_tls_for_auth: true"),
                "steps": SEND % (", login: {user: a, password: b}", "accepted"),
            },
            {"ip_ranges", "ip_ranges.tls_for_authentication"},
        ),
        ({"server": "  limits: {imap: 1}\n"}, {"connection_limit"}),
        ({"server": "  limits: {imap: 0}\n"}, set()),
        ({"server": "  accounts: [{address: a@example.test, password: secret}]\n"}, {"accounts"}),
        (
            {"steps": "  - change: {add_ports: [{name: m, protocol: imap, address: '::1'}]}\n"},
            {"ports.change", "protocol.imap"},
        ),
        ({"steps": "  - change: {delete_ports: [here]}\n"}, {"ports.change"}),
        (
            {"steps": f"  - change: {{add_ip_ranges: [{{{INSIDE}}}]}}\n"},
            {"ip_ranges", "ip_ranges.live"},
        ),
        (
            {"server": ranges(INSIDE), "steps": "  - change: {delete_ip_ranges: [a]}\n"},
            {"ip_ranges", "ip_ranges.live"},
        ),
        (
            {
                "server": ranges(INSIDE),
                "steps": f"  - change: {{replace_ip_ranges: [{{{INSIDE}, priority: 99, allow: []}}]}}\n",
            },
            {"ip_ranges", "ip_ranges.live", "ip_ranges.permissions"},
        ),
        ({"steps": "  - change: {limits: {smtp: 1}}\n"}, {"connection_limit"}),
        ({"steps": RESTART}, {"restart"}),
        ({"steps": "  - server: kill\n  - server: reinitialize\n"}, {"kill", "reinitialize"}),
        ({"steps": "finally:\n  - server: restart\n"}, {"restart"}),
        ({"steps": "  - listening: {port: here}\n    expect: {state: open}\n"}, set()),
        ({"steps": "  - listening: {port: here}\n    expect: {state: failed}\n"}, {"ports.report"}),
        (
            {"steps": "  - listening: {port: here}\n    expect: {state: open, reported: true}\n"},
            {"ports.report"},
        ),
        ({"steps": "  - status: {}\n    expect: {ipv6_available: true}\n"}, {"status.ipv6"}),
        ({"steps": "  - sockets: {}\n    expect: {ipv6: none}\n"}, {"process_ids"}),
        (
            {
                "steps": "  - descriptors: {mark: a}\n"
                "  - descriptors: {since: a}\n    expect: {growth_at_most: 0}\n"
            },
            {"process_ids"},
        ),
        ({"steps": "  - admin: {read: settings}\n    expect: accepted\n"}, {"administration"}),
        (
            {
                "ports": "    - {name: i, protocol: imap, address: '::1'}\n",
                "steps": "  - fetch: {to: i, user: a@example.test, password: b}\n    expect: {messages: 0}\n",
            },
            {"protocol.imap", "mail.local"},
        ),
    ],
)
def test_features(tmp_path: Path, parts: dict[str, str], more: set[str]) -> None:
    found = features(scenario(tmp_path, **parts))
    assert set(found) == {"protocol.smtp"} | more
    assert list(found) == [feature for feature in get_args(Feature) if feature in found]


@pytest.mark.parametrize(
    ("outcome", "needed"), [("served", True), ("closed", True), ("refused", False), ("oracle", False)]
)
def test_somebody_behind_an_ipv6_port_over_ipv4_takes_a_dual_stack_listener(
    tmp_path: Path, outcome: str, needed: bool
) -> None:
    found = scenario(
        tmp_path,
        ports="    - {name: six, protocol: smtp, address: '::'}\n",
        steps=f"  - connect: {{to: six, at: '127.0.0.1'}}\n    expect: {outcome}\n",
    )
    assert ("dual_stack_listener" in features(found)) is needed
    assert network_needs(found) == ("wildcard_listener",)


def enter_port(address: str) -> str:
    return f"  - admin: {{add: port, values: {{address: '{address}'}}}}\n    expect: accepted\n"


@pytest.mark.parametrize(
    ("parts", "needs"),
    [
        ({}, ()),
        ({"ports": "    - {name: i, protocol: imap, address: '127.255.0.9'}\n"}, ()),
        ({"ports": "    - {name: i, protocol: imap, address: '::'}\n"}, ("wildcard_listener",)),
        ({"ports": "    - {name: i, protocol: imap, address: '0.0.0.0'}\n"}, ("wildcard_listener",)),
        ({"ports": "    - {name: i, protocol: imap, address: '2001:db8::1'}\n"}, ("any_source",)),
        (
            {"steps": "  - change: {add_ports: [{name: m, protocol: imap, address: '::'}]}\n"},
            ("wildcard_listener",),
        ),
        ({"steps": "  - connect: {to: here, from: '192.0.2.1'}\n    expect: served\n"}, ("any_source",)),
        ({"steps": "  - connect: {to: here, at: '2001:db8::1'}\n    expect: refused\n"}, ("any_source",)),
        (
            {"steps": "  - connect: {to: here, at: '::ffff:127.0.0.1'}\n    expect: refused\n"},
            ("any_source",),
        ),
        ({"steps": "  - sweep: {to: here, random: 1}\n"}, ("any_source",)),
        ({"steps": LOGIN.replace("here,", "here, from: '10.0.0.1',")}, ("any_source",)),
        ({"steps": ACCEPTED.replace("here,", "here, from: '10.0.0.1',")}, ("any_source",)),
        ({"steps": "  - connect: {to: here, from: '127.8.9.10', at: '127.0.0.1'}\n    expect: served\n"}, ()),
        ({"server": "  host: {ipv6: false}\n"}, ("no_ipv6_filter",)),
        ({"server": "  host: {ipv6: true}\n"}, ()),
        ({"server": ranges("name: a, lower: '::', upper: '2001:db8::9'")}, ()),
        ({"steps": "  - sockets: {}\n    expect: {ipv6: none}\n"}, ("process_table",)),
        ({"steps": "  - descriptors: {mark: a}\n"}, ("process_table",)),
        ({"steps": enter_port("::")}, ()),
        ({"steps": enter_port("::") + RESTART}, ("wildcard_listener",)),
        ({"steps": enter_port("2001:db8::1") + "finally:\n  - server: reinitialize\n"}, ("any_source",)),
        ({"steps": enter_port("nonsense") + RESTART}, ()),
        (
            {"steps": "  - admin: {add: port, values: {port: 0}}\n    expect: accepted\n" + RESTART},
            ("wildcard_listener",),
        ),
    ],
)
def test_network_needs(tmp_path: Path, parts: dict[str, str], needs: tuple[Need, ...]) -> None:
    assert network_needs(scenario(tmp_path, **parts)) == needs


# --- the network of a case ------------------------------------------------------------------------

OFFICE = (
    "links:\n  - {name: lan, addresses: ['2001:db8:1::1/64', '192.0.2.1/24']}\n"
    "hosts:\n  - {name: office, link: lan, addresses: ['2001:db8:1::25/64']}\n"
)
LAN = LinkPlan("lan", (ip_interface("2001:db8:1::1/64"), ip_interface("192.0.2.1/24")))
SWITCH = "  - os: {ipv6: enabled}\n"


@pytest.mark.parametrize(
    ("parts", "plan"),
    [
        ({}, SHARED),
        ({"ports": "    - {name: i, protocol: imap, address: '2001:db8::1'}\n"}, SHARED),
        ({"server": "  host: {ipv6: false}\n"}, SHARED),
        ({"steps": RESTART}, SHARED),
        ({"server": "  host: {ipv6: disabled}\n"}, NetworkPlan(own=True, ipv6=False)),
        ({"server": "  host: {bindv6only: true}\n"}, NetworkPlan(own=True, bindv6only=True)),
        (
            {"server": "  host: {ipv6: disabled, bindv6only: true}\n", "steps": SWITCH},
            NetworkPlan(own=True, ipv6=False, bindv6only=True, alone=True),
        ),
        ({"steps": SWITCH}, NetworkPlan(own=True, alone=True)),
        ({"steps": "finally:\n" + SWITCH}, NetworkPlan(own=True, alone=True)),
        (
            {"server": OFFICE},
            NetworkPlan(
                own=True,
                links=(LAN,),
                hosts=(HostPlan("office", "lan", (ip_interface("2001:db8:1::25/64"),)),),
            ),
        ),
    ],
)
def test_a_case_that_changes_its_network_has_one_of_its_own(
    tmp_path: Path, parts: dict[str, str], plan: NetworkPlan
) -> None:
    found = scenario(tmp_path, **parts)
    assert network_plan(found) == plan
    assert ("own_network" in network_needs(found)) is plan.own


def test_beyond_a_wire_who_listens_or_comes_from_here_has_an_address(tmp_path: Path) -> None:
    """In the order of families and numbers, each once; loopback, wildcards and link-local need none."""
    found = scenario(
        tmp_path,
        ports="    - {name: a, protocol: smtp, address: '2001:db8::9'}\n"
        "    - {name: b, protocol: smtp, address: '::'}\n",
        steps="  - packets: {to: a, from: '2001:db8:99::/64', handshakes: 5}\n"
        "    expect: {outcome: completed}\n"
        "  - connect: {to: a, from: '2001:db8::7'}\n    expect: served\n"
        "  - connect: {to: a, from: 'fe80::7%lo', at: '2001:db8::9'}\n    expect: served\n"
        "  - connect: {to: here, from: '192.0.2.7'}\n    expect: served\n",
    )
    plan = network_plan(found)
    assert (plan.own, plan.wire, plan.links) == (True, True, ())
    assert [str(one) for one in plan.addresses] == [
        "192.0.2.7/32",
        f"{SERVER_V4}/32",
        "2001:db8::7/128",
        "2001:db8::9/128",
        f"{SERVER_V6}/128",
    ]
    assert set(network_needs(found)) >= {"own_network", "wire", "any_source"}


def test_the_shipped_configuration_needs_a_network_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "default.yaml"
    file.write_text(
        "id: needs.default\ntitle: The shipped configuration\nrequirements: [BIND-1]\nserver: default\n"
        "steps:\n  - connect: {to: smtp, at: '127.0.0.1'}\n    expect: served\n",
        encoding="utf-8",
    )
    (case,) = load_file(file, requirements.load())
    assert features(case.scenario) == ("default_configuration",)
    assert network_needs(case.scenario) == ("wildcard_listener",)


def test_the_needs_of_every_scenario_that_ships_are_known() -> None:
    found = load([scenarios_directory()], requirements.load())
    assert found
    for case in found:
        assert set(features(case.scenario)) <= set(get_args(Feature))
        assert set(network_needs(case.scenario)) <= set(get_args(Need))
