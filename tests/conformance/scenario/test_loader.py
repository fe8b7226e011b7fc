"""Loading: right files become cases, wrong ones every message that belongs to them, at its place."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from conformance import requirements
from conformance.errors import ExitCode, Problem, ScenarioError, UsageError
from conformance.scenario.case import Position
from conformance.scenario.loader import load, load_file, scenario_files
from conformance.scenario.model import ConnectStep, Server

WRONG = Path(__file__).with_name("wrong")
WRONG_FILES = sorted(WRONG.glob("*.yaml"))

PLAIN = """\
id: listening.example
title: A port on one address answers there
requirements: [BIND-2]
server:
  ports:
    - {name: door, protocol: smtp, address: "::1"}
steps:
  - connect: {to: door}
    expect: {outcome: served}
"""


def write(folder: Path, text: str, name: str = "example.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def cases(folder: Path, text: str) -> list[Any]:
    """Return the cases of ``text``; untyped, because the steps of a scenario are of many types."""
    return [*load_file(write(folder, text), requirements.load())]


def messages(folder: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        cases(folder, text)
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize("file", WRONG_FILES, ids=lambda file: file.stem)
def test_a_wrong_file_gives_its_messages_and_no_others(file: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load([file], requirements.load())
    found = [f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems]
    assert found == file.with_suffix(".expected").read_text(encoding="utf-8").splitlines()
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(caught.value).splitlines() == [f"{file}:{line}" for line in found]


def test_the_wrong_files_are_many_and_each_has_its_messages() -> None:
    assert len(WRONG_FILES) >= 25
    assert {file.stem for file in WRONG_FILES} == {file.stem for file in WRONG.glob("*.expected")}


def test_a_right_file_becomes_one_case(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, PLAIN)
    assert case.id == case.scenario.id == "listening.example"
    assert case.parameters == {}
    assert isinstance(case.scenario.server, Server)
    (step,) = case.scenario.steps
    assert isinstance(step, ConnectStep)
    assert step.connect.to == "door"
    assert [one.outcome for one in step.expect] == ["served"]


def test_positions_are_where_the_values_stand(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, PLAIN)
    assert case.position() == Position(1, 1)
    assert case.position("steps", 0) == Position(8, 5)
    assert case.position("steps", 0, "connect", "to") == Position(8, 19)
    assert case.position("steps", 0, "expect", 0) == Position(9, 13)
    assert case.position("server", "ports", 0, "address") == Position(6, 45)
    assert case.position("nowhere", 3) == Position(1, 1)


def test_a_matrix_becomes_a_case_for_each_combination(tmp_path: Path) -> None:
    text = PLAIN.replace("smtp", "$protocol").replace(
        "server:", 'matrix: {protocol: [smtp, imap], source: ["::1"]}\nserver:'
    )
    text = text.replace("{to: door}", "{to: door, from: $source}")
    found = cases(tmp_path, text)
    assert [case.id for case in found] == ["listening.example[smtp-::1]", "listening.example[imap-::1]"]
    assert [case.parameters for case in found] == [
        {"protocol": "smtp", "source": "::1"},
        {"protocol": "imap", "source": "::1"},
    ]
    assert [case.scenario.server.ports[0].protocol for case in found] == ["smtp", "imap"]


def test_an_expectation_may_be_one_word_and_a_code_a_number(tmp_path: Path) -> None:
    text = PLAIN.replace("{outcome: served}", "served")
    text += (
        "  - send: {to: door, mail_from: a@example.test, rcpt_to: b@example.test}\n"
        "    expect: [{outcome: rejected, code: 550}, rejected]\n"
    )
    (case,) = cases(tmp_path, text)
    assert [one.outcome for one in case.scenario.steps[0].expect] == ["served"]
    assert [one.code for one in case.scenario.steps[1].expect] == ["550", ""]
    assert case.scenario.steps[1].send.rcpt_to == ("b@example.test",)


def test_yaml_1_2_alone_decides_what_is_a_number_or_a_flag(tmp_path: Path) -> None:
    text = PLAIN.replace('"::1"', "::1").replace("to: door", "to: no").replace("name: door", "name: no")
    text += (
        "  - admin: {change: settings, values: {host_name: on, minutes_to_ban: 0o17}}\n    expect: accepted\n"
    )
    (case,) = cases(tmp_path, text)
    assert case.scenario.server.ports[0].name == "no"
    assert case.scenario.server.ports[0].address == "::1"
    assert case.scenario.steps[1].admin.values == {"host_name": "on", "minutes_to_ban": 15}


def test_a_time_needs_no_quotes(tmp_path: Path) -> None:
    ranges = "  ip_ranges:\n    - {name: a, lower: '::1', upper: '::1', expires: 2030-01-02 03:04:05}\nsteps:"
    (case,) = cases(tmp_path, PLAIN.replace("steps:", ranges))
    assert case.scenario.server.ip_ranges[0].expires == "2030-01-02 03:04:05"


def test_aliases_are_followed(tmp_path: Path) -> None:
    text = PLAIN.replace("- connect: {to: door}", "- connect: &door {to: door}")
    (case,) = cases(tmp_path, text + "  - connect: *door\n    expect: served\n")
    assert [step.connect.to for step in case.scenario.steps] == ["door", "door"]


def test_a_folder_is_read_in_the_order_of_names_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("b/two.yaml", "a/one.yml", "c.yaml", ".hidden.yaml", "b/.git/three.yaml", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path, PLAIN.replace("example", Path(name).stem), name)
    found = load([tmp_path, tmp_path / "c.yaml"], requirements.load())
    assert [case.id for case in found] == ["listening.one", "listening.two", "listening.c"]


def test_an_empty_folder_has_no_cases(tmp_path: Path) -> None:
    assert load([tmp_path], requirements.load()) == []


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.*no such file or folder"):
        scenario_files([tmp_path / "nowhere"])


def test_all_files_are_judged_before_anything_is_raised(tmp_path: Path) -> None:
    write(tmp_path, PLAIN.replace("to: door", "to: dor"), "one.yaml")
    write(tmp_path, PLAIN.replace("BIND-2", "BIND-22"), "two.yaml")
    write(tmp_path, "", "three.yaml")
    write(tmp_path, PLAIN, "right.yaml")
    with pytest.raises(ScenarioError) as caught:
        load([tmp_path], requirements.load())
    assert [(problem.file.name, problem.line) for problem in caught.value.problems] == [
        ("one.yaml", 8),
        ("three.yaml", 1),
        ("two.yaml", 3),
    ]


def test_an_id_belongs_to_one_file(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, "one.yaml")
    write(tmp_path, PLAIN.replace("id:", "id: "), "two.yaml")
    with pytest.raises(ScenarioError) as caught:
        load([tmp_path], requirements.load())
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"{tmp_path}/two.yaml:1:6: the id 'listening.example' is that of {tmp_path}/one.yaml already; "
        "every scenario has its own"
    )


def test_what_is_wrong_in_one_case_only_names_the_case(tmp_path: Path) -> None:
    text = PLAIN.replace("server:", 'matrix: {last: ["1", g]}\nserver:').replace('"::1"', '"::$last"')
    assert messages(tmp_path, text) == [
        "7:45: '::g' is not an IP address; expected one such as 192.0.2.1 or 2001:db8::1 (in the case [g])"
    ]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gone\.yaml:1:1: the file cannot be read: No such file"):
        load_file(tmp_path / "gone.yaml", requirements.load())


def test_a_file_may_not_be_huge(tmp_path: Path) -> None:
    (message,) = messages(tmp_path, PLAIN + "#" * 300_000)
    assert message == "1:1: the file is larger than 256 KiB; split it into several"


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_to_a_file_is_more_than_a_scenario_error(tmp_path: Path, seed: int) -> None:
    """Whatever is typed, the answer is a case or a message; nothing else ever leaves the loader."""
    chance = random.Random(seed)
    sources = [file.read_bytes() for file in WRONG_FILES]
    catalogue = requirements.load()
    file = tmp_path / "damaged.yaml"
    damaged = 0
    for _ in range(60):
        octets = bytearray(chance.choice(sources) or b"x")
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(octets) + 1)
            piece = chance.choice(sources)
            start = chance.randrange(len(piece) + 1)
            octets[at : at + chance.randint(0, 9)] = chance.choice(
                [
                    b"",
                    b"$x",
                    b": ",
                    b"- ",
                    b"{",
                    b"}",
                    b"[]",
                    b"&a ",
                    b"*a",
                    b"\n",
                    b"  ",
                    b"!!binary ",
                    piece[start : start + 30],
                ]
            )
        file.write_bytes(octets)
        found: list[Problem] = []
        try:
            load_file(file, catalogue)
        except ScenarioError as error:
            found.extend(error.problems)
        assert all(problem.line >= 1 and problem.column >= 1 for problem in found)
        assert not any("\n" in problem.message for problem in found)
        damaged += bool(found)
    assert damaged > 30
