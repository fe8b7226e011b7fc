"""What is right though it looks odd, and what is said of a scenario with wrong parts.

What is wrong is in ``wrong/``, each file with its messages.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import requirements
from conformance.errors import ScenarioError
from conformance.scenario.loader import load_file

HEAD = "id: checks.example\ntitle: A scenario of the tests\nrequirements: [BIND-2]\n"
SERVER = (
    "server:\n  ports:\n"
    '    - {name: door, protocol: smtp, address: "::1"}\n'
    '    - {name: mail, protocol: imap, address: "127.0.0.1", number: door}\n'
    '  ip_ranges:\n    - {name: a, lower: "::1", upper: "::1"}\n'
)
SERVED = "  - connect: {to: door}\n    expect: served\n"


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
        SERVED,
        "  - connect: {to: door}\n    expect: {outcome: served, control: true}\n"
        "  - connect: {to: mail}\n    expect: refused\n",
        "  - connect: {to: mail}\n    expect: {outcome: closed, warn: [hung], within: 10s, warn_after: 1s}\n"
        + SERVED,
        "  - connect: {to: door, at: '127.0.0.1', from: '127.0.0.2'}\n    expect: refused\n" + SERVED,
        "  - connect: {to: door, from: ' ::1 '}\n    expect: served\n",
        # A session may be opened again under a name that is free again.
        "  - connect: {to: door, as: s}\n    expect: served\n  - disconnect: {session: s}\n"
        "  - connect: {to: door, as: s}\n    expect: served\nfinally:\n  - disconnect: {session: s}\n",
        # A port that was deleted is still known, and its name is free.
        "  - change: {delete_ports: [door]}\n  - server: restart\n"
        "  - connect: {to: door}\n    expect: refused\n"
        "  - connect: {to: mail}\n    expect: served\n",
        "  - change:\n      delete_ports: [door]\n"
        "      add_ports: [{name: door, protocol: smtp, address: '127.0.0.1', number: mail}]\n" + SERVED,
        "  - change: {delete_ip_ranges: [a]}\n"
        "  - change: {add_ip_ranges: [{name: a, lower: '::', upper: '::9'}]}\n" + SERVED,
        "  - change: {replace_ip_ranges: [{name: a, lower: '::', upper: '::9'}]}\n" + SERVED,
        # A code that was said is a sign of life.
        "  - login: {to: mail, user: a, password: b}\n    expect: {outcome: refused, code: 'a NO'}\n",
        "  - send: {to: door, mail_from: '', rcpt_to: b@example.test}\n"
        "    expect: {outcome: rejected, code: 550}\n",
        # The administration shows that it lives.
        "  - admin: {add: port, values: {address: x}}\n    expect: refused\n"
        "  - admin: {read: settings}\n    expect: accepted\n",
        "  - admin: {add: ip_range, values: {name: new}}\n    expect: refused\n"
        "  - admin: {read: ip_range, name: new}\n    expect: absent\n"
        "  - admin: {read: ip_range, name: a}\n    expect: accepted\n",
        "  - descriptors: {mark: m}\n  - descriptors: {since: m}\n    expect: {growth_at_most: 0}\n" + SERVED,
        "  - status: {}\n    expect: {ipv6_available: false}\n",
    ],
)
def test_a_right_scenario_is_left_alone(tmp_path: Path, steps: str) -> None:
    assert problems(tmp_path, f"{HEAD}{SERVER}steps:\n{steps}") == []


@pytest.mark.parametrize(
    "steps",
    [
        "  - connect: {to: door}\n    expect: wrong_protocol\n  - connect: {to: mail}\n    expect: refused\n",
        "  - connect: {to: door}\n    expect: closed_after_text\n",
        "  - connect: {to: door}\n    expect: hung\n  - admin: {read: settings}\n    expect: accepted\n",
        "  - login: {to: mail, user: a, password: b}\n    expect: refused\n",
        "  - send: {to: door, mail_from: '', rcpt_to: b@example.test}\n    expect: oracle\n",
        "  - admin: {read: settings, password: wrong}\n    expect: unauthorized\n",
        "  - listening: {port: door}\n    expect: {state: failed}\n",
        "  - listening: {port: door}\n    expect: {state: open}\n"
        "  - connect: {to: door}\n    expect: refused\n",
        "  - descriptors: {mark: m}\n  - descriptors: {since: m}\n    expect: {growth_at_most: 0}\n",
    ],
)
def test_what_a_dead_server_shows_needs_a_control(tmp_path: Path, steps: str) -> None:
    (message,) = problems(tmp_path, f"{HEAD}{SERVER}steps:\n{steps}")
    assert "this scenario needs a positive control" in message


def test_the_shipped_configuration_names_its_own_ports_and_ranges(tmp_path: Path) -> None:
    steps = (
        "  - connect: {to: submission, at: '127.0.0.1'}\n    expect: served\n"
        "  - change: {delete_ip_ranges: [Internet], delete_ports: [pop3]}\n"
    )
    assert problems(tmp_path, f"{HEAD}server: default\nsteps:\n{steps}") == []


def test_a_wrong_part_does_not_hide_what_else_is_wrong(tmp_path: Path) -> None:
    text = f"{HEAD}{SERVER}steps:\n{SERVED}".replace('upper: "::1"', 'upper: "::"').replace(
        "served", "serfed"
    )
    text += "  - connect: {to: dor}\n    expect: {outcome: served, judges: [BIND-3]}\n"
    assert [message.partition(";")[0].partition(":")[0] for message in problems(tmp_path, text)] == [
        "the range is reversed",
        "'serfed' is not known here",
        "unknown port 'dor'",
        "BIND-3 is not among this scenario's requirements (BIND-2)",
    ]


@pytest.mark.parametrize(
    "steps",
    [
        # Whatever the wrong step was to name, the next one may use.
        "  - connect: {to: door, as: s, tims: 1}\n    expect: served\n"
        "  - talk: {session: s, say: NOOP}\n    expect: {reply: 250}\n",
        "  - chang: {add_ports: [{name: new}]}\n  - connect: {to: new}\n    expect: served\n",
        "  - descriptors: {mark: m, x: 1}\n  - descriptors: {since: m}\n    expect: {growth_at_most: 0}\n"
        + SERVED,
    ],
)
def test_a_wrong_part_is_not_guessed_at(tmp_path: Path, steps: str) -> None:
    (message,) = problems(tmp_path, f"{HEAD}{SERVER}steps:\n{steps}")
    assert message.startswith(("unknown key", "unknown step"))
