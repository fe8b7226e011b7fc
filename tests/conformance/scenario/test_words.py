"""How the format speaks to its users."""

from __future__ import annotations

import pytest

from conformance.scenario.words import expected, listed, nearest, shown


@pytest.mark.parametrize(
    ("word", "meant"),
    [("protokol", "protocol"), ("SMTP", "smtp"), (" prot0col ", "protocol"), ("xyz", ""), ("", "")],
)
def test_the_nearest_word(word: str, meant: str) -> None:
    assert nearest(word, ["smtp", "protocol", "address"]) == meant


def test_lists_of_words() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b or c"
    assert listed(["a", "b"], last="and") == "a and b"


def test_what_was_expected() -> None:
    assert expected(["smtp", "imap"], "smpt") == "expected smtp or imap; did you mean 'smtp'?"
    assert expected(["smtp", "imap"], 5) == "expected smtp or imap"
    assert expected([], "x") == "expected none"
    assert expected([f"word{n}" for n in range(30)], "word7") == "did you mean 'word7'?"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (5, "5"),
        ("x", "'x'"),
        ({}, "a mapping"),
        ((), "a list"),
        ("x" * 100, "'" + "x" * 55 + "…'"),
    ],
)
def test_values_as_they_are_written(value: object, text: str) -> None:
    assert shown(value) == text
