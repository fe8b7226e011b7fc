"""How the scenario format speaks to its users: lists of words, the nearest known word, values as written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the one of ``known`` that ``word`` was probably meant to be, or ''."""
    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(candidate.casefold(), candidate)
    found = difflib.get_close_matches(word.strip().casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[found[0]] if found else ""


def listed(words: Iterable[str], *, last: str = "or") -> str:
    """Return "a, b or c"."""
    given = list(words)
    if len(given) < 2:
        return "".join(given)
    return f"{', '.join(given[:-1])} {last} {given[-1]}"


def expected(known: Iterable[str], word: object, *, limit: int = 20) -> str:
    """Return "expected a, b or c" and, for a word that is nearly one of them, what was probably meant."""
    given = list(known)
    meant = nearest(word, given) if isinstance(word, str) else ""
    hint = f"; did you mean {meant!r}?" if meant else ""
    if len(given) > limit and meant:
        return f"did you mean {meant!r}?"
    return f"expected {listed(given)}{hint}" if given else "expected none"


def shown(value: object) -> str:
    """Return ``value`` as one would write it in YAML, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…{text[-1]}"
