"""report.ndjson: written line by line, so that a crash loses nothing."""

from __future__ import annotations

import json

import pytest

from conformance.errors import UsageError
from conformance.report.stream import Stream
from conformance.verdict.model import CaseRecord


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_header_cases_and_footer(make, tmp_path) -> None:
    first, second = make.record("pass"), make.record("fail", "tests.other")
    with Stream(tmp_path / "a" / "report") as stream:
        stream.header({"schema": 1})
        stream.case(first)
        stream.case(second)
        stream.footer({"exit_code": 1})
    header, one, two, footer = lines(stream.path)
    assert (header, footer) == ({"type": "header", "schema": 1}, {"type": "footer", "exit_code": 1})
    assert CaseRecord.model_validate(one) == first
    assert CaseRecord.model_validate(two) == second


def test_each_line_is_there_at_once(make, tmp_path) -> None:
    with Stream(tmp_path) as stream:
        stream.header({"schema": 1})
        assert len(lines(stream.path)) == 1
        stream.case(make.record("pass"))
        assert [line["type"] for line in lines(stream.path)] == ["header", "case"]


def test_a_new_run_begins_a_new_report(tmp_path) -> None:
    for number in range(2):
        with Stream(tmp_path) as stream:
            stream.header({"number": number})
    assert lines(stream.path) == [{"type": "header", "number": 1}]


def test_a_line_is_one_line_whatever_the_server_said(make, tmp_path) -> None:
    odd = "a\nb\r\x00\u2028\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")
    with Stream(tmp_path) as stream:
        stream.case(make.record("fail", reason=odd))
    (line,) = stream.path.read_bytes().decode().strip("\n").split("\n")
    assert json.loads(line)["reason"] == odd


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--report-dir .*choose a folder to write to"):
        Stream(tmp_path / "file" / "report")
