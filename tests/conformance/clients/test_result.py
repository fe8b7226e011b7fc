"""Results in words."""

from __future__ import annotations

import pytest

from conformance.clients.outcome import Observation, Outcome
from conformance.clients.result import FetchResult, LoginResult, SendResult, answer_at_connect


@pytest.mark.parametrize(
    ("received", "answer"),
    [
        (b"", ("", "reset: gone")),
        (b"554-not\r\n554 you\r\n", ("554", "you (gone)")),
        (b"-ERR not you\r\n", ("-ERR", "not you (gone)")),
        (b"* BYE not you\r\n", ("BYE", "not you (gone)")),
    ],
)
def test_a_connection_that_came_to_nothing(received: bytes, answer: tuple[str, str]) -> None:
    seen = Observation(Outcome.RESET, "::1", "[::1]:25", received=received, detail="gone")
    assert answer_at_connect(seen) == answer


def test_words() -> None:
    assert str(SendResult(True, "data", "250", "stored")) == "accepted at data: 250 stored"
    assert str(LoginResult(False, "auth", "-ERR", "no")) == "refused at auth: -ERR no"
    assert str(FetchResult(False, "fetch")) == "refused at fetch"
    assert FetchResult(True, "fetch", newest="grün".encode()).contains("grün")
