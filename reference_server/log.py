"""Structured logs on standard error: text for people, or one JSON object a line. No I/O but that stream.

`configure` once; `Log` is what the rest calls. Passwords and mail are never given to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, Protocol, TextIO

LogFormat = Literal["text", "json"]


class Log(Protocol):
    """What is needed of a logger: an event's name, and what belongs to it."""

    def info(self, event: str, /, **fields: Any) -> Any: ...
    def warning(self, event: str, /, **fields: Any) -> Any: ...
    def error(self, event: str, /, **fields: Any) -> Any: ...


def configure(log_format: LogFormat, stream: TextIO | None = None) -> Log:
    """Return the log, on ``stream`` (standard error); what libraries log goes the same way."""
    structlog = _structlog()
    render = _json_line if log_format == "json" else _text_line
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper("iso"), render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(sys.stderr if stream is None else stream),
        cache_logger_on_first_use=False,
    )
    log: Log = structlog.get_logger()
    # A bound logger of its own: the lazy one looks its configuration up for every event.
    log = log.bind()  # type: ignore[attr-defined]
    logging.basicConfig(handlers=[_Bridge(log)], level=logging.WARNING, force=True)
    return log


def _structlog() -> Any:
    """Import structlog without rich and Twisted, which it would import for what we do not use: 0.1 s."""
    absent = [name for name in ("rich", "twisted") if name not in sys.modules]
    try:
        for name in absent:
            sys.modules[name] = None  # type: ignore[assignment]  # import raises ImportError
        import structlog
    finally:
        for name in absent:
            del sys.modules[name]
    return structlog


class _Lines:
    """The stream. Trouble with it (a closed pipe, a full disk) must not stop the mail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    log = debug = info = warning = error = critical = exception = msg


class _Bridge(logging.Handler):
    """Takes what libraries say into the same log, an event each."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[1] is not None:
                fields["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
            say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
            say("log", **fields)
        except Exception:  # noqa: BLE001 - logging's own way with what cannot be logged
            self.handleError(record)


def _json_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    ordered = {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event")}
    return json.dumps({**ordered, **event}, ensure_ascii=False, default=str)


def _text_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    time, level, name = event.pop("timestamp"), event.pop("level"), event.pop("event")
    exception = event.pop("exception", None)
    line = f"{time[:19]}Z {level:<7} {name:<20} {_pairs(event)}".rstrip()
    return line if exception is None else f"{line}\n{exception.rstrip()}"


def _pairs(fields: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_plain(value)}" for key, value in fields.items() if value is not None)


def _plain(value: Any) -> str:
    """Return the value, quoted when it could be taken for something else (a second line, say)."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)
