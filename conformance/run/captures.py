"""The captures of a run: begun with each case, kept when it did not pass, named in its record."""

from __future__ import annotations

from pathlib import Path

from conformance.network import capture
from conformance.verdict.model import CaseRecord, TranscriptLine, Verdict

_QUIET = frozenset({Verdict.PASS, Verdict.INFO, Verdict.UNSUPPORTED, Verdict.SKIPPED})


class Captures:
    """Records the packets of one case after the other, into the folder of the report."""

    def __init__(self, report: Path, *, keep_all: bool = False) -> None:
        """``keep_all``: those of cases that passed, too."""
        self._report = report
        self._keep_all = keep_all
        self._recorder = capture.Recorder()

    def begin(self, case: str) -> None:
        """Record the network that this thread is in. Raises MachineError outside one of our own."""
        try:
            folder = capture.directory(self._report)
        except OSError as error:
            self._recorder.trouble = f"packets are not captured: {error}"
            return
        self._recorder.begin(folder / capture.file_name(case))

    def end(self, record: CaseRecord) -> CaseRecord:
        """End the recording of a case; return its record with the file, if that is kept."""
        keep = self._keep_all or record.verdict not in _QUIET
        path = self._recorder.end(keep)
        if path is not None:
            return record.model_copy(update={"capture": path.relative_to(self._report).as_posix()})
        if keep and self._recorder.trouble:
            line = TranscriptLine(at=record.seconds, who="harness", kind="note", text=self._recorder.trouble)
            return record.model_copy(update={"transcript": (*record.transcript, line)})
        return record

    def close(self) -> None:
        """End the process that writes. Idempotent."""
        self._recorder.close()


def left(report: Path, case: str) -> str:
    """Return the file, relative to ``report``, that a killed process left of a case; "" without one."""
    name = f"{capture.DIRECTORY}/{capture.file_name(case)}"
    return name if (report / name).is_file() else ""
