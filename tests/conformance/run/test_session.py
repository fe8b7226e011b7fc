"""A run as a whole: what it must not lose, and when it is all there is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conformance.builtin import scenarios_directory
from conformance.network import supervisor
from conformance.network.modes import Network
from conformance.requirements import load as catalogue
from conformance.run.options import RunOptions
from conformance.run.session import RunSession
from conformance.scenario.loader import load

ADAPTER = '''
from conformance.adapters.base import Hello

class Quiet:
    """Says who it is, and starts nothing."""

    def __init__(self, settings, workdir):
        pass

    def hello(self):
        return Hello(name="quiet", version="1")

    def close(self):
        pass
'''


@pytest.fixture
def session(tmp_path, monkeypatch):
    (tmp_path / "quiet_adapter.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(tmp_path)
    options = RunOptions(
        "python:quiet_adapter:Quiet", network="loopback", baseline="none", report_dir=tmp_path / "report"
    )
    made = RunSession(options)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cases():
    return load([scenarios_directory()], catalogue())


def lines(session: RunSession) -> list[dict[str, object]]:
    report_dir = session.options.report_dir
    assert isinstance(report_dir, Path)
    return [json.loads(line) for line in (report_dir / "report.ndjson").read_text().splitlines()]


def test_a_case_that_leaves_no_record_is_an_error_of_ours(session, cases) -> None:
    session.begin(cases, cases[:2])
    session.add(session.run(cases[0]))
    assert session.finish() == 70
    lost = [line for line in lines(session) if line.get("verdict") == "error"]
    assert [line["id"] for line in lost] == [cases[1].id]


def test_a_case_whose_worker_was_killed_is_an_error_at_once(session, cases) -> None:
    session.begin(cases, cases[:3])
    session.add(session.run(cases[0]))
    session.add_lost(cases[1].id, "it ended")
    session.add_lost("mine.nobody-knows-it", "it ended")
    found = [(line["id"], line["verdict"], line["reason"]) for line in lines(session)[1:]]
    assert found[1:] == [(cases[1].id, "error", "it ended")]


def test_a_worker_that_was_killed_after_its_record_has_lost_nothing(session, cases) -> None:
    session.begin(cases, cases[:1])
    session.add(session.run(cases[0]))
    session.add_lost(cases[0].id, "it ended")
    assert [line["type"] for line in lines(session)] == ["header", "case"]


def test_orphans_are_ended_in_a_namespace_only(session, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(supervisor, "end_orphans", lambda: asked.append("asked"))
    session.clear_up()
    assert asked == []
    session.network = Network("namespace")
    session.clear_up()
    assert asked == ["asked"]


def test_temporary_files_are_below_the_folder_of_the_run(tmp_path, session, monkeypatch) -> None:
    """A worker that is killed leaves its own there, and the controller removes that."""
    folder = Path(os.environ[supervisor.TEMPORARY])
    worker = RunSession(session.options, worker=True)
    assert worker.bench.workdir.parent == folder
    worker.close()
    assert os.environ[supervisor.TEMPORARY] == str(folder)
    left = RunSession(session.options, worker=True)
    session.close()
    assert not left.bench.workdir.exists()
    assert supervisor.TEMPORARY not in os.environ
    left.close()


def test_a_run_that_was_ended_early_has_lost_nothing(session, cases) -> None:
    session.begin(cases, cases[:2])
    session.add(session.run(cases[0]))
    session.stopped = "stopping after 1 failures"
    assert session.finish() == 5
    assert [line["type"] for line in lines(session)] == ["header", "case", "footer"]


def test_an_interrupted_run_reports_what_ran(session, cases) -> None:
    session.begin(cases, cases[:2])
    session.add(session.run(cases[0]))
    session.interrupted = True
    assert session.finish() == 130
    assert lines(session)[-1]["exit_code"] == 130


def test_a_crash_loses_nothing_that_was_reported(session, cases) -> None:
    session.begin(cases, cases[:2])
    session.add(session.run(cases[0]))
    assert [line["type"] for line in lines(session)] == ["header", "case"]


def test_all_cases_are_the_whole(session, cases) -> None:
    session.begin(cases, cases)
    assert (session.complete, session.whole) == (True, True)


def test_a_part_of_the_cases_is_not_complete(session, cases) -> None:
    session.begin(cases, cases[1:])
    assert (session.complete, session.whole) == (False, False)


def test_some_of_the_files_are_complete_but_not_the_whole(session, cases) -> None:
    part = [case for case in cases if case.file == cases[0].file]
    session.begin(part, part)
    assert (session.complete, session.whole) == (True, False)
