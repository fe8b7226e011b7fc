"""``conformance`` as a user types it: each exit code, from an empty folder."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from conformance import cli

CASE = "ip_ranges.no-match"
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


def one_message(done) -> str:
    """Return the one line of a fault of the user's: no trace, nothing else."""
    lines = done.text.strip().splitlines()
    assert len(lines) == 1, done.text
    return lines[0]


# --- 0 --------------------------------------------------------------------------------------------------


def test_conforms(programs) -> None:
    done = programs.judge("--case", CASE, "--report-dir", "report")
    assert (done.code, done.err) == (0, ""), done.text
    assert done.last.endswith("MUST verified")
    assert done.last.startswith("2 of ")
    assert [path.name for path in programs.folder.iterdir()] == ["report"], "nothing but the report is left"
    header, *cases, footer = programs.records()
    assert [case["verdict"] for case in cases] == ["pass"] * 3
    assert header["cases"] == footer["cases"] == programs.summary()["cases"] == 3
    assert {key: value for key, value in footer.items() if key != "type"} == programs.summary()
    assert programs.summary()["exit_code"] == 0
    assert "<testsuite" in (programs.folder / "report" / "junit.xml").read_text("utf-8")


def test_the_folder_of_the_user_disturbs_nothing(programs) -> None:
    folder = programs.folder
    (folder / "conftest.py").write_text("raise RuntimeError('a conftest of the user')\n")
    (folder / "pytest.ini").write_text("[pytest\naddopts = --nonsense\n")
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--nonsense'\n= =\n")
    (folder / "tox.ini").write_text("[pytest]\naddopts = --nonsense\n")
    (folder / "test_of_the_user.py").write_text("def test_it(): assert False\n")
    environment = {"PYTEST_ADDOPTS": "--nonsense -k nothing", "PYTEST_PLUGINS": "no_such_plugin"}
    done = programs.judge("--case", CASE, environment=environment)
    assert done.code == 0, done.text
    assert "3 cases: 3 pass" in done.out


def test_a_scenario_of_the_user_beside_ours_and_alone(programs) -> None:
    programs.scenario(SCENARIO)
    done = programs.judge(
        "--scenarios", "scenarios", "--no-builtin", "--report-dir", "report", "--baseline", "none"
    )
    assert [one["id"] for one in programs.records() if one["type"] == "case"] == ["mine.one"], done.text
    both = programs.judge("--scenarios", "scenarios", "--case", "mine.one", "--case", CASE)
    assert (both.code, "4 cases: 4 pass" in both.out) == (0, True), both.text


def test_workers_come_to_the_same(programs) -> None:
    words = ("-k", "ip_ranges.bounds or ip_ranges.no-match or port-in-use", "--report-dir")
    alone = programs.judge(*words, "alone")
    together = programs.judge(*words, "together", "-n", "2")
    assert alone.code == together.code == 0, together.text
    assert alone.last == together.last
    found = [
        {one["id"]: one["verdict"] for one in programs.records(name) if one["type"] == "case"}
        for name in ("alone", "together")
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 10
    first, second = programs.summary("alone"), programs.summary("together")
    for changing in ("started", "wall_seconds"):
        del first[changing], second[changing]
    assert first == second
    assert programs.records("together")[0]["cases"] == len(found[1])


# --- 1 --------------------------------------------------------------------------------------------------


def test_does_not_conform(programs) -> None:
    words = ("--case", "ip_ranges.bounds-ipv4[last-octet]", "--set", "fault=upper-bound-exclusive")
    done = programs.judge(*words, "--report-dir", "report")
    assert done.code == 1, done.text
    for part in ("RANGE-3 fail", "bounds-ipv4.yaml:", "127.0.0.20", "expected", "exit code 1"):
        assert part in done.out
    (record,) = (one for one in programs.records() if one["type"] == "case")
    assert record["replay"] == (
        "conformance run --server reference --set fault=upper-bound-exclusive --network loopback "
        "--case 'ip_ranges.bounds-ipv4[last-octet]'"
    )
    assert record["replay"] in done.out
    assert (programs.summary()["exit_code"], done.last.startswith("0 of ")) == (1, True)


def baseline(programs, *entries: str) -> str:
    lines = "".join(f"  - {entry}\n" for entry in entries)
    (programs.folder / "baseline.yaml").write_text(f"entries:\n{lines}")
    return "baseline.yaml"


def test_an_expired_baseline(programs) -> None:
    entry = '{requirement: RANGE-4, accept: [failed], reason: "known since long", expires: 2020-01-01}'
    done = programs.judge("--case", CASE, "--baseline", baseline(programs, entry))
    assert done.code == 1, done.text
    assert "RANGE-4 expired on 2020-01-01" in done.out


def test_a_stale_baseline(programs) -> None:
    programs.scenario(SCENARIO)
    entry = '{requirement: BIND-2, accept: [failed], reason: "known since long", expires: 2100-01-01}'
    words = ("--no-builtin", "--scenarios", "scenarios", "--baseline", baseline(programs, entry))
    done = programs.judge(*words)
    assert done.code == 1, done.text
    assert "BIND-2 is passed now" in done.out


# --- 2 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("outcome: served", "outcome: servd", "9:23", "'served'"),
        ("  - connect: {to: door}", "  - conect: {to: door}", "8:5", "'connect'"),
        ("steps:", "colour: red\nsteps:", "7:1", "colour"),
        ("steps:", "steps:\n  - change: {delete_ports: [dor]}", "8:29", "'door'"),
        ("to: door", "to: dor", "8:19", "'door'"),
        (
            "steps:",
            '  ip_ranges:\n    - {name: Mine, lower: "::9", upper: "::1"}\nsteps:',
            "8:27",
            "reversed",
        ),
    ],
)
def test_a_wrong_scenario(programs, old, new, place, says) -> None:
    programs.scenario(SCENARIO.replace(old, new, 1))
    done = programs.judge("--scenarios", "scenarios", "--no-builtin", "--report-dir", "report")
    assert done.code == 2
    line = one_message(done)
    assert line.startswith(f"{programs.folder}/scenarios/mine.yaml:{place}: "), line
    assert says in line
    assert not (programs.folder / "report").exists()


def test_every_mistake_of_every_file_is_told_at_once(programs) -> None:
    programs.scenario(SCENARIO.replace("served", "servd"))
    programs.scenario(SCENARIO.replace("to: door", "to: dor"), "other.yaml")
    programs.scenario(SCENARIO, "third.yaml")
    programs.scenario(SCENARIO, "twin.yaml")
    done = programs.judge("--scenarios", "scenarios")
    assert done.code == 2
    files = [line.partition(":")[0].rpartition("/")[2] for line in done.err.splitlines()]
    assert files == ["mine.yaml", "other.yaml", "twin.yaml"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "fault"], "--set fault: KEY=VALUE is expected"),
        (["--set", "colour=red"], "--set colour"),
        (["--set", "fault=nonsense"], "nonsense"),
        (["--profile", "ful"], "--profile ful: unknown"),
        (["--network", "lopback"], "'lopback'"),
        (["--fail-on", "wran"], "--fail-on wran"),
        (["--baseline", "no-such-file"], "no-such-file"),
        (["--scenarios", "no-such-folder"], "no-such-folder"),
        (["--no-builtin"], "--scenarios PATH"),
        (["--report-dir", "/dev/null/report"], "--report-dir"),
        (["--server", "refrence"], "--server refrence: no such server"),
        (["--server", "python:no.such.module:Class"], "no.such.module"),
    ],
)
def test_wrong_usage(programs, words, says) -> None:
    done = programs.judge(*words)
    assert done.code == 2, done.text
    assert says in one_message(done)


@pytest.mark.parametrize("words", [["--colour", "red"], ["--", "--colour"], ["-n", "many"]])
def test_an_option_that_does_not_exist(programs, words) -> None:
    done = programs.judge(*words)
    assert done.code == 2, done.text
    assert "Traceback" not in done.text
    assert words[-1] in done.text or words[0] in done.text


def test_a_wrong_baseline(programs) -> None:
    entry = '{requirement: BIND-99, accept: [failed], reason: "known since long", expires: 2100-01-01}'
    done = programs.judge("--baseline", baseline(programs, entry))
    assert done.code == 2
    assert "baseline.yaml:2:1: unknown requirement 'BIND-99'" in one_message(done)


def test_a_scenario_that_contradicts_the_oracle(programs) -> None:
    control = "  - connect: {to: door}\n    expect: {outcome: served, control: true}\n"
    programs.scenario(SCENARIO.replace("served", "closed") + control)
    done = programs.judge("--scenarios", "scenarios", "--case", "mine.one")
    assert done.code == 2, done.text
    assert "mine.yaml:8:" in done.out
    assert "contradicts the configuration" in done.out


# --- 3 --------------------------------------------------------------------------------------------------


def test_this_machine_cannot(programs) -> None:
    done = programs.judge("--require-network", "namespace")
    assert done.code == 3
    assert "network mode namespace is required, but this run has loopback" in one_message(done)


# --- 4 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--server", "exec:false"], "exec"),
        (["--server", "exec:no-such-program-here"], "no-such-program-here"),
        (["--server", "exec:sh -c 'echo no disk left >&2; echo garbage; cat'"], "no disk left"),
        (["--set", "command=sh -c 'echo no disk left; exit 7'"], "no disk left"),
    ],
)
def test_a_server_that_does_not_start(programs, words, says) -> None:
    done = programs.judge("--report-dir", "report", *words)
    assert done.code == 4, done.text
    assert says in done.out
    assert "Traceback" not in done.text
    assert "exit code 4" in done.out
    assert programs.summary()["cases"] == 1, "the first case is enough"
    assert programs.summary()["exit_code"] == 4


# --- 5 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["-k", "nothing_matches"], ["--case", "ip_ranges.no-mach"]])
def test_nothing_was_verified(programs, words) -> None:
    done = programs.judge(*words, "--report-dir", "report")
    assert done.code == 5, done.text
    assert done.last.startswith("0 of ")
    assert programs.summary()["exit_code"] == 5
    assert ("did you mean 'ip_ranges.no-match'?" in done.out) is (words[0] == "--case")


# --- 70 -------------------------------------------------------------------------------------------------


def test_a_bug_of_ours(programs) -> None:
    (programs.folder / "broken.py").write_text(
        "class Broken:\n"
        "    def __init__(self, settings, workdir): pass\n"
        "    def hello(self): raise ZeroDivisionError('who would have thought')\n"
        "    def close(self): pass\n"
    )
    path = os.pathsep.join([programs.environment["PYTHONPATH"], str(programs.folder)])
    done = programs.judge("--server", "python:broken:Broken", environment={"PYTHONPATH": path})
    assert done.code == 70, done.text
    assert "who would have thought" in done.text


# --- 130 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "words"),
    [("interrupt", []), ("interrupt", ["-n", "2"]), ("terminate", []), ("terminate", ["-n", "2"])],
)
def test_interrupted(programs, how, words) -> None:
    command = [*programs.conformance_command, "run", "--server", "reference", "--network", "loopback"]
    process = subprocess.Popen(
        [*command, "--report-dir", "report", *words],
        cwd=programs.folder,
        env=programs.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # A shell starts what is in its background deaf to Ctrl-C, and that is inherited: not by this one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert wait_for_cases(programs, process, 5)
        assert any("reference" in one for one in programs.left())
        if how == "interrupt":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        else:
            process.terminate()
        out = process.communicate(timeout=60)[0].decode()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == 130, out
    assert programs.left() == []
    header, *records = programs.records()
    cases = [one for one in records if one["type"] == "case"]
    assert 5 <= len(cases) < header["cases"]
    assert records[-1]["type"] == "footer"
    assert (records[-1]["exit_code"], records[-1]["cases"]) == (130, len(cases))
    assert out.splitlines()[-1].endswith("MUST verified")


def test_a_second_signal_does_not_disturb_the_report() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt):
            cli._interrupt(signal.SIGTERM, None)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def wait_for_cases(programs, process, number: int) -> bool:
    report = programs.folder / "report" / "report.ndjson"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if report.is_file() and report.read_bytes().count(b'"type": "case"') >= number:
            return True
        time.sleep(0.02)
    return False


# --- what is shown --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["list", "requirements"])
def test_listings_have_json(programs, what) -> None:
    done = programs.conformance(what, "--json")
    assert (done.code, done.err) == (0, "")
    rows = json.loads(done.out)
    assert len(rows) > 40
    plain = programs.conformance(what)
    assert plain.code == 0
    assert rows[0]["id"] in plain.out


def test_the_list_of_one_requirement(programs) -> None:
    rows = json.loads(programs.conformance("list", "--json", "--requirement", "RANGE-3").out)
    assert rows
    assert all("RANGE-3" in row["requirements"] for row in rows)
    wrong = programs.conformance("list", "--requirement", "RANGE-99")
    assert (wrong.code, "RANGE-99" in one_message(wrong)) == (2, True)


@pytest.mark.parametrize("words", [["schema"], ["adapter", "schema"]])
def test_schemas_are_json(programs, words) -> None:
    done = programs.conformance(*words)
    assert done.code == 0
    assert "$defs" in json.loads(done.out)


def test_check(programs) -> None:
    right = programs.conformance("check")
    assert (right.code, "no mistakes" in right.out) == (0, True)
    file = programs.scenario(SCENARIO.replace("served", "servd"))
    wrong = programs.conformance("check", str(file))
    assert wrong.code == 2
    assert one_message(wrong).startswith(f"{file}:9:23: ")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_help(programs, words) -> None:
    done = programs.conformance(*words)
    assert (done.code, done.err) == (0, "")


def test_no_password_is_in_any_report(programs) -> None:
    password = "Klatschmohn-9"
    secret = base64.b64encode(f"\0ann@example.org\0{password}".encode()).decode()
    programs.scenario(
        f"""\
id: mine.passwords
title: A scenario that shows a transcript with logins
requirements: [BIND-2]
server:
  ports:
    - {{name: smtp, protocol: smtp, address: "::1"}}
    - {{name: pop3, protocol: pop3, address: "::1"}}
    - {{name: imap, protocol: imap, address: "::1"}}
  accounts:
    - {{address: ann@example.org, password: {password}}}
steps:
  - login: {{to: smtp, user: ann@example.org, password: {password}}}
    expect: accepted
  - login: {{to: pop3, user: ann@example.org, password: {password}}}
    expect: accepted
  - fetch: {{to: imap, user: ann@example.org, password: {password}}}
    expect: {{messages: 0}}
  - connect: {{to: smtp, as: one}}
    expect: served
  - talk: {{session: one, say: EHLO here}}
    expect: {{reply: 250}}
  - talk: {{session: one, say: "AUTH PLAIN {secret}"}}
    expect: {{reply: 999}}
  - talk: {{session: one, say: "HELP {password}"}}
    expect: {{reply: 999}}
"""
    )
    done = programs.judge(
        *("--scenarios", "scenarios", "--case", "mine.passwords", "--case", "ip_ranges.login-needs-tls"),
        *("--report-dir", "report", "--set", "fault=ranges-cached-until-restart"),
    )
    assert done.code == 1, done.text
    assert "AUTH PLAIN ***" in done.out
    written = [path.read_text("utf-8") for path in (programs.folder / "report").iterdir()]
    assert len(written) == 3
    for text in (done.text, *written):
        for hidden in (password, secret, "Mohn-7"):
            assert hidden not in text


def test_a_selection_that_cannot_be_read(programs) -> None:
    done = programs.judge("-k", "(")
    assert done.code == 2, done.text
    assert "'-k'" in done.err
    assert "no record" not in done.text


def test_a_seed_shuffles_the_cases_the_same_way_each_time(programs) -> None:
    orders = []
    for number, words in enumerate([(), ("--seed", "0"), ("--seed", "0"), ("--seed", "1", "-n", "2")]):
        done = programs.judge("--case", "listening.text-forms", "--report-dir", f"report{number}", *words)
        assert done.code == 0, done.text
        lines = programs.records(f"report{number}")
        assert lines[0].get("seed") == (int(words[1]) if words else None)
        orders.append([line["id"] for line in lines if line["type"] == "case"])
    assert orders[0] != orders[1] == orders[2]
    assert {*orders[0]} == {*orders[1]} == {*orders[3]}


def test_only_looking_at_what_would_run(programs) -> None:
    done = programs.judge("--case", "listening.port-in-use", "--", "--collect-only")
    assert done.code == 0, done.text
    assert "listening/port-in-use.yaml: 2" in done.out
    assert "no record" not in done.text


BASELINE = """\
entries:
  - {requirement: RANGE-3, accept: [failed], reason: "it was always like that", expires: 2100-01-01}
"""


def test_an_accepted_failure_is_xfail(programs) -> None:
    (programs.folder / "known.yaml").write_text(BASELINE, "utf-8")
    words = ("--set", "fault=upper-bound-exclusive", "--case", "ip_ranges.bounds-ipv6[exactly-it]")
    done = programs.judge(*words, "--baseline", "known.yaml", "--report-dir", "report")
    assert done.code == 0, done.text
    assert "1 xfail" in done.out
    assert programs.summary()["requirements"]["RANGE-3"]["state"] == "failed"
    assert done.last == "0 of 28 MUST verified"
    assert programs.judge(*words).code == 1
