"""Whose packets are kept, and where they are named."""

from __future__ import annotations

import json
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from conformance.network import capture
from conformance.run import captures
from conformance.run.captures import Captures
from conformance.verdict.model import CaseRecord, Verdict

CASE = "ip_ranges.bounds-ipv4[last-octet]"
FILE = "captures/ip_ranges.bounds-ipv4_last-octet.pcap"
FAULT = ("--set", "fault=upper-bound-exclusive")


def record(verdict: str) -> CaseRecord:
    return CaseRecord(
        id="a.b[c]",
        scenario="a.b",
        title="",
        file="f",
        line=1,
        requirements=(),
        verdict=Verdict(verdict),
        seconds=2,
    )


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.trouble = ""
        self.begun: list[Path] = []
        self.kept: list[bool] = []

    def begin(self, path: Path) -> None:
        self.begun.append(path)

    def end(self, keep: bool) -> Path | None:
        self.kept.append(keep)
        return self.begun[-1] if keep and not self.trouble else None


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(capture, "Recorder", lambda: made)
    return made


@pytest.mark.parametrize("word", list(Verdict))
@pytest.mark.parametrize("keep_all", [False, True])
def test_what_is_kept(tmp_path: Path, recorder: Recorder, word: Verdict, keep_all: bool) -> None:
    made = Captures(tmp_path, keep_all=keep_all)
    made.begin("a.b[c]")
    ended = made.end(record(word))
    quiet = word in ("pass", "info", "unsupported", "skipped")
    assert recorder.kept == [keep_all or not quiet]
    assert recorder.begun == [tmp_path / "captures" / "a.b_c.pcap"]
    assert ended.capture == ("" if quiet and not keep_all else "captures/a.b_c.pcap")


def test_a_capture_that_is_missing_is_told(tmp_path: Path, recorder: Recorder) -> None:
    made = Captures(tmp_path)
    recorder.trouble = "no space left"
    made.begin("a.b[c]")
    assert [line.text for line in made.end(record("fail")).transcript] == ["no space left"]
    assert made.end(record("pass")).transcript == ()
    (tmp_path / "file").touch()
    other = Captures(tmp_path / "file")
    other.begin("a.b[c]")
    assert "not captured" in other.end(record("fail")).transcript[0].text


def test_what_a_killed_process_left(tmp_path: Path) -> None:
    assert captures.left(tmp_path, CASE) == ""
    capture.directory(tmp_path)
    (tmp_path / FILE).touch()
    assert captures.left(tmp_path, CASE) == FILE


# --- whole runs -------------------------------------------------------------------------------------------


def packets(path: Path) -> int:
    octets, at, count = path.read_bytes(), 24, 0
    while at < len(octets):
        at += 16 + struct.unpack_from("=I", octets, at + 8)[0]
        count += 1
    assert at == len(octets)
    return count


def run(programs, *words: str, network: str = "namespace") -> Any:
    return programs.conformance(
        "run", "--server", "reference", "--network", network, "--report-dir", "report", *words
    )


def named(programs) -> dict[str, str]:
    return {one["id"]: one["capture"] for one in programs.records() if one["type"] == "case"}


@pytest.mark.needs_namespace
def test_a_case_that_does_not_pass_has_its_packets(programs) -> None:
    folder = programs.folder / "report"
    (folder / "captures").mkdir(parents=True)
    (folder / "captures" / "old.pcap").touch()
    done = run(programs, "--case", CASE, "--case", "ip_ranges.no-match", *FAULT, "-n", "2")
    assert done.code == 1, done.text
    names = named(programs)
    assert names.pop(CASE) == FILE
    assert set(names.values()) == {""}
    assert [file.name for file in (folder / "captures").iterdir()] == [Path(FILE).name]
    assert packets(folder / FILE) > 20
    assert FILE in done.out
    (case,) = (
        one
        for one in ElementTree.parse(folder / "junit.xml").getroot().iter("testcase")  # noqa: S314 - ours
        if one.get("name") == CASE
    )
    assert f"packets: {FILE}\n" in str(case.findtext("system-out"))


@pytest.mark.needs_namespace
def test_nothing_is_left_of_a_run_that_passes_unless_it_is_wanted(programs) -> None:
    done = run(programs, "--case", CASE)
    assert (done.code, named(programs)) == (0, {CASE: ""}), done.text
    assert not (programs.folder / "report" / "captures").exists()
    done = run(programs, "--case", CASE, "--keep-captures")
    assert (done.code, named(programs)) == (0, {CASE: FILE}), done.text
    assert packets(programs.folder / "report" / FILE) > 20


def test_on_loopback_nothing_is_captured(programs) -> None:
    done = run(programs, "--case", CASE, "--keep-captures", *FAULT, network="loopback")
    assert (done.code, named(programs)) == (1, {CASE: ""}), done.text
    assert "no packets were captured" in done.out
    assert not (programs.folder / "report" / "captures").exists()


def test_captures_are_kept_in_a_report_only(programs) -> None:
    done = programs.judge("--keep-captures")
    assert done.code == 2
    assert "add --report-dir" in done.text


def test_the_records_schema_has_it() -> None:
    assert json.loads(record("pass").model_dump_json())["capture"] == ""
