"""The log: one event a line, whatever is in it, and nothing that stops the server."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from reference_server.log import configure


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_is_one_object_a_line() -> None:
    out = io.StringIO()
    log = configure("json", out)
    log.info("session.refused", peer="::1", port=25, range=None, reason="no\nmatching é")
    log.error("listener.failed", error="x")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert list(first) == ["timestamp", "level", "event", "peer", "port", "range", "reason"]
    assert (first["level"], first["event"], first["port"], first["range"]) == (
        "info",
        "session.refused",
        25,
        None,
    )
    assert first["reason"] == "no\nmatching é"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first["timestamp"])
    assert second["level"] == "error"


def test_text_is_one_line_an_event_and_values_cannot_pretend() -> None:
    out = io.StringIO()
    configure("text", out).info("session.finished", peer="::1", reason='a "b"\nc', range=None, empty="", n=3)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ info    session\.finished     "
        r'peer=::1 reason="a \\"b\\"\\nc" empty="" n=3\n',
        out.getvalue(),
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_libraries_say_is_an_event_too(log_format: str) -> None:
    out = io.StringIO()
    configure("json" if log_format == "json" else "text", out)
    try:
        int("inside")
    except ValueError:
        logging.getLogger("some.library").exception("went wrong: %s", "badly")
    logging.getLogger("some.library").info("is not worth it")
    text = out.getvalue()
    assert "ValueError: invalid literal" in text
    if log_format == "json":
        event = json.loads(text)
        assert (event["event"], event["logger"], event["message"]) == (
            "log",
            "some.library",
            "went wrong: badly",
        )
        assert event["level"] == "error"
    else:
        assert 'logger=some.library message="went wrong: badly"' in text.splitlines()[0]


def test_a_stream_that_fails_stops_nobody() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    configure("json", Full()).info("session.accepted")
    closed = io.StringIO()
    closed.close()
    configure("text", closed).error("listener.failed")
