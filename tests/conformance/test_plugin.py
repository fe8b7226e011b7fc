"""The pytest plugin: in a checkout with ``--server``, and in other people's test runs without."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance import plugin

SCENARIO = """\
id: mine.one
title: A scenario of a user of the suite
requirements: [BIND-2]
server:
  ports:
    - {name: door, protocol: smtp, address: "::1"}
steps:
  - connect: {to: door}
    expect: {outcome: served}
"""
CHECKOUT = Path(__file__).parents[2] / "scenarios"
"""Beside these tests, also where the package that is tested was installed from a wheel."""
REFERENCE = ("--server", "reference", "--sixpost-network", "loopback")


def test_the_scenarios_of_a_checkout(programs) -> None:
    done = programs.pytest(
        *(
            str(CHECKOUT),
            "-c",
            str(CHECKOUT.parent / "pyproject.toml"),
            "-k",
            "no-match and not sweep",
            *REFERENCE,
        ),
        *("--sixpost-report-dir", "report"),
    )
    assert done.code == 0, done.text
    assert "3 cases: 3 pass" in done.out
    assert programs.summary()["exit_code"] == 0


@pytest.fixture
def own(programs) -> Path:
    return programs.scenario(SCENARIO)


def test_a_pass_and_a_failure(programs, own) -> None:
    programs.scenario(
        SCENARIO.replace("mine.one", "mine.two").replace("served", "wrong_protocol"), "two.yaml"
    )
    control = "  - connect: {to: door}\n    expect: {outcome: served, control: true}\n"
    neutral = SCENARIO.replace("mine.one", "mine.three").replace("BIND-2", "BIND-3") + control
    programs.scenario(
        neutral.replace("expect: {outcome: served}", "expect: {outcome: served, within: 0ms}"), "t.yaml"
    )
    done = programs.pytest("scenarios", *REFERENCE, "-v", "--sixpost-baseline", "none")
    assert re.search(r"mine.+one PASS", done.out), done.text
    assert re.search(r"mine.+three FAIL", done.out)
    assert re.search(r"mine.+two ERROR", done.out), "it contradicts the oracle"
    assert done.code == 1
    assert done.out.splitlines()[-1].endswith("MUST verified")


@pytest.mark.parametrize("words", [[], ["-n", "2"]])
def test_ids_that_are_there_twice(programs, own, words) -> None:
    programs.scenario(SCENARIO, "twin.yaml")
    done = programs.pytest("scenarios", "-p", "no:tmpdir", *REFERENCE, *words)
    assert done.code == 2, done.text
    assert re.search(r"twin\.yaml:1:\d+: the id 'mine\.one' is that of .*mine\.yaml already", done.out)
    assert "Traceback" not in done.text


@pytest.mark.parametrize("words", [[], ["-n", "2"]])
def test_a_wrong_scenario(programs, own, words) -> None:
    wrong = programs.scenario(
        SCENARIO.replace("served", "servd").replace("mine.one", "mine.two"), "wrong.yaml"
    )
    done = programs.pytest("scenarios", "-p", "no:tmpdir", *REFERENCE, *words)
    assert done.code == 2, done.text
    assert f"{wrong}:9:23: " in done.out


def test_a_server_that_does_not_exist(programs, own) -> None:
    done = programs.pytest("scenarios", "--server", "refrence")
    assert done.code == 2
    assert "conformance: --server refrence: no such server" in done.err
    assert "Traceback" not in done.text


def test_cases_and_tests_side_by_side(programs, own) -> None:
    (programs.folder / "test_theirs.py").write_text("def test_it(): pass\n")
    done = programs.pytest(".", *REFERENCE, "--sixpost-case", "mine.one", "-v")
    assert "test_theirs.py::test_it PASSED" in done.out, done.text
    assert re.search(r"mine.+one PASS", done.out)


# --- other people's test runs ---------------------------------------------------------------------------

THEIR_TEST = """\
def test_it(request):
    assert request.config.getoption("--server", "none given") == "{server}"
"""
THEIR_OPTION = """\
def pytest_addoption(parser):
    parser.addoption("--server", default="theirs")
"""
THEIR_FLAG = """\
def pytest_addoption(parser):
    parser.addoption("--server", action="store_const", const="given", default="theirs")
"""


def test_a_run_of_others_is_unaffected(programs, own) -> None:
    programs.scenario("- [", "no-scenario.yaml")
    (programs.folder / "test_theirs.py").write_text("def test_it(): assert 1 == 2\n")
    ours = programs.pytest("-q", ".")
    without = programs.pytest("-q", "-p", "no:sixpost", "-p", "no:conformance.plugin", ".")
    assert ours.code == without.code == 1
    assert timeless(ours) == timeless(without)
    assert "sixpost" not in ours.text
    assert "yaml" not in ours.text


def test_without_a_server_no_scenario_is_collected(programs, own) -> None:
    assert programs.pytest("-q", "scenarios").code == pytest.ExitCode.NO_TESTS_COLLECTED


def timeless(done) -> str:
    return re.sub(r"\d+\.\d+s", "", done.text)


@pytest.mark.parametrize("where", ["conftest", "plugin"])
@pytest.mark.parametrize(
    ("words", "option"),
    [([], THEIR_OPTION), (["--server", "given"], THEIR_OPTION), (["--server"], THEIR_FLAG)],
)
def test_an_option_of_others_with_the_same_name_is_theirs(programs, own, where, words, option) -> None:
    file = "conftest.py" if where == "conftest" else "their_plugin.py"
    (programs.folder / file).write_text(option)
    (programs.folder / "test_theirs.py").write_text(THEIR_TEST.format(server="given" if words else "theirs"))
    load = [] if where == "conftest" else ["-p", "their_plugin"]
    done = programs.pytest("-q", *load, *words, ".")
    assert done.code == 0, done.text
    assert "1 passed" in done.out


def test_the_options_are_in_the_help(programs) -> None:
    done = programs.pytest("--help")
    assert done.code == 0
    assert "--server=NAME" in done.out
    assert "--sixpost-report-dir=DIR" in done.out


def test_nothing_heavy_is_imported_for_others(programs) -> None:
    (programs.folder / "test_theirs.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    heavy = ('conformance.run', 'pydantic')\n"
        "    assert [name for name in sys.modules if name.startswith(heavy)] == []\n"
    )
    assert programs.pytest("-q", ".").code == 0


# --- a worker that ends early ---------------------------------------------------------------------------


class Noted:
    """Takes the place of a run."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def clear_up(self) -> None:
        self.calls.append(("clear up",))

    def add_lost(self, case: str, reason: str) -> None:
        self.calls.append((case, reason))


def test_what_a_killed_worker_leaves_is_ended_at_once_and_its_case_is_told() -> None:
    run = Noted()
    hooks = plugin._Hooks(None, run, worker=False)  # type: ignore[arg-type]
    hooks.pytest_testnodedown(error=None)  # its work was done
    assert run.calls == []
    hooks.pytest_testnodedown(error="Not properly terminated")
    hooks.pytest_handlecrashitem(crashitem="scenarios/mine.yaml::mine.one[a::b]")
    assert run.calls == [
        ("clear up",),
        ("mine.one[a::b]", "the worker process ended in the middle of this case"),
    ]
