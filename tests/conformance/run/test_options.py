"""What a run is asked to do."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.run.options import RunOptions, settings


@pytest.fixture
def case(stage):
    made = stage.case("- {connect: {to: door}, expect: served}")
    return type(made)("tests.case[smtp-ipv6]", made.scenario, {}, made.file, made.positions)


@pytest.mark.parametrize("profile", ["core", "full", "slow"])
def test_profiles(profile) -> None:
    RunOptions("reference", profile=profile).check()


def test_an_unknown_profile() -> None:
    with pytest.raises(UsageError, match="--profile ful: unknown; choose core, full, slow"):
        RunOptions("reference", profile="ful").check()


def test_captures_are_kept_in_a_report(tmp_path: Path) -> None:
    RunOptions("reference", keep_captures=True, report_dir=tmp_path).check()
    with pytest.raises(UsageError, match=r"--keep-captures: .* add --report-dir DIR"):
        RunOptions("reference", keep_captures=True).check()


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        ([], {}),
        (["a=b", "c=d=e", "f="], {"a": "b", "c": "d=e", "f": ""}),
        (["a=b", "a=c"], {"a": "c"}),
    ],
)
def test_settings(texts, pairs) -> None:
    assert settings(texts) == pairs


@pytest.mark.parametrize("text", ["fault", "", "=value"])
def test_a_setting_without_key_or_value(text) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE is expected"):
        settings([text])


def test_a_case_is_chosen_by_its_id_or_its_scenarios(case) -> None:
    assert RunOptions("x").chosen(case)
    assert RunOptions("x", cases=["other.one", "tests.case"]).chosen(case)
    assert RunOptions("x", cases=["tests.case[smtp-ipv6]"]).chosen(case)
    assert not RunOptions("x", cases=["tests.case[smtp-ipv4]", "tests"]).chosen(case)


def test_the_command_that_repeats_a_case(case) -> None:
    assert RunOptions("reference").replay(case) == (
        "conformance run --server reference --case 'tests.case[smtp-ipv6]'"
    )


def test_the_command_has_what_matters_for_the_case_and_is_quoted(case) -> None:
    options = RunOptions(
        "exec:my adapter --flag",
        settings={"prefix": "/a b"},
        scenarios=[Path("my/dir")],
        builtin=False,
        network="loopback",
        profile="core",
        report_dir=Path("report"),
    )
    words = shlex.split(options.replay(case))
    assert words == [
        *("conformance", "run", "--server", "exec:my adapter --flag", "--set", "prefix=/a b"),
        *("--scenarios", "my/dir", "--no-builtin", "--network", "loopback"),
        *("--case", "tests.case[smtp-ipv6]"),
    ]
