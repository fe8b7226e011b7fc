"""``report.ndjson``: a header, one record a case, a footer. Each line is written and flushed at once.

A crash loses nothing that was already reported: a file without a footer is a run that did not end.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from conformance.errors import UsageError
from conformance.verdict.model import CaseRecord


class Stream:
    """Writes the report; use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.path = directory / "report.ndjson"
            self._file: TextIO = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"--report-dir {directory}: {error.strerror}; choose a folder to write to"
            ) from error

    def header(self, header: dict[str, Any]) -> None:
        """Write what is known before the first case."""
        self._write({"type": "header", **header})

    def case(self, record: CaseRecord) -> None:
        """Write one case."""
        self._write(record.model_dump(mode="json"))

    def footer(self, summary: dict[str, Any]) -> None:
        """Write the summary: the run came to its end."""
        self._write({"type": "footer", **summary})

    def _write(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
