"""``junit.xml`` for CI systems, from the records alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from conformance.verdict.model import CaseRecord, Verdict

_FAILED = {Verdict.FAIL}
_BROKEN = {Verdict.ERROR, Verdict.INCONCLUSIVE}
_NOT_RUN = {Verdict.SKIPPED, Verdict.UNSUPPORTED}
# What XML 1.0 section 2.2 does not allow, even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, records: Sequence[CaseRecord], server: str) -> None:
    """Write the file. Warnings are passed cases with the word in their output: JUnit knows no warnings."""
    suite = TestSuite(_clean(f"sixpost {server}"))
    suite.add_testcases([_case(record) for record in records])
    xml = JUnitXml()
    xml.add_testsuite(suite)
    xml.write(str(path), pretty=True)


def _case(record: CaseRecord) -> TestCase:
    case = TestCase(record.id, record.scenario.rpartition(".")[0], record.seconds)
    message = _clean(record.reason)
    if record.verdict in _FAILED:
        case.result = [Failure(message, str(record.verdict))]
    elif record.verdict in _BROKEN:
        case.result = [Error(message, str(record.verdict))]
    elif record.verdict in _NOT_RUN:
        case.result = [Skipped(message, str(record.verdict))]
    packets = [f"packets: {record.capture}"] if record.capture else []
    if record.verdict not in (Verdict.PASS, Verdict.INFO, *_NOT_RUN):
        lines = [f"{line.at:.3f} {line.who} {line.kind}: {line.text}" for line in record.transcript]
        head = [f"{record.verdict}: {record.reason}", record.replay, *packets]
        case.system_out = _clean("\n".join([*head, *lines]))
    elif packets:
        case.system_out = _clean(packets[0])
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
