"""summary.json: its keys are a promise."""

from __future__ import annotations

import json

import pytest

from conformance import __version__
from conformance.adapters.base import Hello
from conformance.errors import ExitCode
from conformance.report.summary import Run, environment, header, summary

KEYS = [
    "schema",
    "sixpost_version",
    "server",
    "profile",
    "network",
    "environment",
    "started",
    "wall_seconds",
    "cases",
    "verdicts",
    "requirements",
    "not_covered",
    "exit_code",
]
VERDICTS = [
    "pass",
    "warn",
    "fail",
    "info",
    "unsupported",
    "skipped",
    "inconclusive",
    "error",
    "xfail",
    "xpass",
]
RUN = Run(Hello(name="mine", version="1.2"), "exec:mine", "full", "loopback", "2026-06-15T00:00:00+00:00")


@pytest.fixture
def content(make):
    records = [
        make.record("pass", "tests.one"),
        make.record("pass", "tests.one"),
        make.record("warn", "tests.two", "RANGE-7"),
        make.record("unsupported", "tests.three", "RANGE-21"),
    ]
    return summary(RUN, records, make.states(*records), ExitCode.DOES_NOT_CONFORM, 1.23456)


def test_the_keys_are_those_that_were_promised(content) -> None:
    assert list(content) == KEYS
    assert sorted(content["verdicts"]) == sorted(VERDICTS)
    assert all(
        list(one) == ["level", "state", "cases", "scenarios"] for one in content["requirements"].values()
    )


def test_the_values(make, content) -> None:
    assert content["schema"] == 1
    assert content["sixpost_version"] == __version__
    assert content["server"] == {"name": "mine", "version": "1.2", "adapter": "exec:mine"}
    assert (content["profile"], content["network"]) == ("full", "loopback")
    assert content["started"] == "2026-06-15T00:00:00+00:00"
    assert (content["wall_seconds"], content["cases"], content["exit_code"]) == (1.235, 4, 1)
    assert {name: count for name, count in content["verdicts"].items() if count} == {
        "pass": 2,
        "warn": 1,
        "unsupported": 1,
    }


def test_the_requirements(make, content) -> None:
    assert content["requirements"] == {
        "BIND-2": {"level": "MUST", "state": "passed", "cases": 2, "scenarios": ["tests.one"]},
        "RANGE-7": {"level": "SHOULD", "state": "warned", "cases": 1, "scenarios": ["tests.two"]},
        "RANGE-21": {"level": "MUST*", "state": "unsupported", "cases": 1, "scenarios": ["tests.three"]},
    }
    all_of_them = {one.id for one in make.catalogue if not one.excluded}
    assert set(content["not_covered"]) == all_of_them - set(content["requirements"])


def test_every_state_is_one_that_was_promised(make) -> None:
    words = {"passed", "failed", "warned", "recorded", "unsupported", "not_run"}
    seen = {
        str(make.states(make.record(word, requirement=name))[name].state)
        for word, name in [
            ("pass", "BIND-2"),
            ("fail", "BIND-2"),
            ("warn", "BIND-2"),
            ("info", "RANGE-19"),
            ("unsupported", "BIND-2"),
            ("skipped", "BIND-2"),
        ]
    }
    assert seen == words


def test_the_path_of_the_program_is_told_where_there_is_one() -> None:
    run = Run(Hello(name="mine", version="1", path="/usr/sbin/mine"), "mine", "full", "loopback", "")
    assert header(run, 3)["server"]["path"] == "/usr/sbin/mine"


def test_the_header_begins_like_the_summary(content) -> None:
    head = header(RUN, 7)
    assert head["cases"] == 7
    same = {key for key in KEYS if key in head} - {"cases"}
    assert {key: head[key] for key in same} == {key: content[key] for key in same}


def test_it_is_json(content) -> None:
    assert json.loads(json.dumps(content)) == content


def test_the_environment_names_no_machine_and_no_path() -> None:
    import platform

    text = json.dumps(environment())
    assert "/" not in text
    assert platform.node() not in environment().values()
