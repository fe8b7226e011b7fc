"""Reading YAML with positions."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from conformance.errors import ScenarioError
from conformance.scenario.case import Position
from conformance.scenario.document import Mapping, Scalar, Sequence, plain, read_mapping


def read(folder: Path, text: str | bytes) -> Mapping:
    file = folder / "document.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_mapping(file)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("off", "off"),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0o17", 15),
        ("0xfe", 254),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2030-01-02", "2030-01-02"),
        ("2030-01-02 03:04:05", "2030-01-02 03:04:05"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("$protocol", "$protocol"),
        ("=", "="),
    ],
)
def test_plain_values_follow_the_core_schema(tmp_path: Path, written: str, value: object) -> None:
    found = plain(read(tmp_path, f"key: {written}\n"))
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


def test_a_version_directive_changes_nothing(tmp_path: Path) -> None:
    assert plain(read(tmp_path, "%YAML 1.1\n---\nkey: yes\n")) == {"key": "yes"}


def test_every_part_knows_its_place(tmp_path: Path) -> None:
    root = read(tmp_path, "one: 1\ntwo:\n  - a\n  - {b: c}\n")
    assert root.position == Position(1, 1)
    two = root.get("two")
    assert two is not None
    assert two.position == Position(2, 1)
    assert isinstance(two.value, Sequence)
    assert two.value.position == Position(3, 3)
    first, second = two.value.items
    assert first == Scalar("a", Position(3, 5))
    assert isinstance(second, Mapping)
    assert second.entries[0].position == Position(4, 6)
    assert second.entries[0].value == Scalar("c", Position(4, 9))
    assert root.get("three") is None


def test_a_byte_order_mark_and_line_ends_of_windows_do_not_matter(tmp_path: Path) -> None:
    assert plain(read(tmp_path, b"\xef\xbb\xbfkey: [1, 2]\r\nother: x\r\n")) == {"key": [1, 2], "other": "x"}


def test_an_anchor_name_may_be_used_again(tmp_path: Path) -> None:
    assert plain(read(tmp_path, "a: &x 1\nb: *x\nc: &x 2\nd: *x\n")) == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_all_duplicate_keys_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(tmp_path, "a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n")
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(2, 11), (3, 1), (4, 1)]


def test_values_may_be_many_but_not_without_limit(tmp_path: Path) -> None:
    assert len(read(tmp_path, "a: [" + "1, " * 19_000 + "1]").entries) == 1
    with pytest.raises(ScenarioError, match="more than 20000 values"):
        read(tmp_path, "a: [" + "1, " * 20_000 + "1]")


@pytest.mark.parametrize("depth", [41, 3_000])
def test_nesting_has_a_limit(tmp_path: Path, depth: int) -> None:
    with pytest.raises(ScenarioError, match="nested more than 40 deep"):
        read(tmp_path, "a: " + "[" * depth + "]" * depth)
