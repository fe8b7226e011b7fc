"""Links, hosts and steps ``os`` that are right.

What is wrong is in ``wrong/``, each file with its messages.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import requirements
from conformance.errors import ScenarioError
from conformance.scenario.loader import load_file

HEAD = """\
id: checks.example
title: A scenario of the tests
requirements: [BIND-2]
server:
  host: {ipv6: disabled, bindv6only: true}
  ports:
    - {name: door, protocol: smtp, address: "2001:db8:1::1"}
    - {name: everywhere, protocol: smtp, address: "::"}
links:
  - {name: lan, addresses: ["2001:db8:1::1/64", "192.0.2.1/24", "fe80::1/64"]}
  - {name: empty}
hosts:
  - {name: office, link: lan, addresses: ["2001:db8:1::25/64", "192.0.2.25/24", "fe80::25/64"]}
  - {name: lan, link: lan}
steps:
  - connect: {to: door, host: office}
    expect: {outcome: served}
"""


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "example.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_file(file, requirements.load())
    except ScenarioError as error:
        return [problem.message for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "steps",
    [
        "  - connect: {to: door, host: office, from: '2001:DB8:1:0::25'}\n    expect: served\n",
        "  - connect: {to: everywhere, host: office, at: 'fe80::1%lan', from: 'fe80::25%lan'}\n"
        "    expect: served\n",
        "  - connect: {to: everywhere, host: office, at: '192.0.2.1'}\n    expect: refused\n",
        # An address that the server's host has not, or not any more: nobody answers there.
        "  - connect: {to: everywhere, host: office, at: '2001:db8:1::77'}\n    expect: unreachable\n",
        "  - os: {ipv6: enabled}\n  - os: {ipv6: disabled, bindv6only: false}\n",
        "  - os: {add_address: '2001:db8:1::2/64', link: lan}\n"
        "  - os: {remove_address: '2001:db8:1::2/64', link: lan}\n"
        "  - os: {add_address: '2001:db8:1::2/64', link: lan}\n",
        "  - os: {add_address: '2001:db8:1::1/64'}\nfinally:\n  - os: {remove_address: '2001:db8:1::1/64'}\n",
        "  - os: {remove_address: '192.0.2.1/24', add_address: '192.0.2.1/24', link: lan}\n",
    ],
)
def test_a_right_scenario_is_left_alone(tmp_path: Path, steps: str) -> None:
    assert problems(tmp_path, HEAD + steps) == []


def test_what_is_wrong_elsewhere_is_said_once(tmp_path: Path) -> None:
    """A wrong address of a host or a port is no second mistake where it is used."""
    wrong = HEAD.replace("2001:db8:1::25/64", "2001:db8:1::25").replace(
        'address: "2001:db8:1::1"', 'address: "x"'
    )
    assert problems(tmp_path, wrong) == [
        "'x' is not an IP address; expected one such as 192.0.2.1 or 2001:db8::1",
        "'2001:db8:1::25' is no address with its prefix length; expected one such as 2001:db8:1::1/64",
    ]


@pytest.mark.parametrize("text", ["x", "x%lan", "2001:db8:1::1/64"])
def test_a_source_that_is_no_address_is_said_once(tmp_path: Path, text: str) -> None:
    steps = f"  - connect: {{to: door, host: office, from: '{text}'}}\n    expect: served\n"
    assert len(problems(tmp_path, HEAD + steps)) == 1


def test_the_default_configuration_has_ports_that_nobody_lists(tmp_path: Path) -> None:
    text = HEAD[: HEAD.index("server:")] + "server: default\n" + HEAD[HEAD.index("links:") :]
    steps = text.replace("to: door,", "to: smtp, at: '192.0.2.1',")
    assert problems(tmp_path, steps) == []
