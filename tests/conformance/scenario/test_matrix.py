"""The matrix: combinations, and variables filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.scenario.document import Mapping, read_mapping
from conformance.scenario.matrix import Instance, expand


def tree(folder: Path, text: str) -> Mapping:
    file = folder / "document.yaml"
    file.write_text(text, encoding="utf-8")
    return read_mapping(file)


def expanded(folder: Path, text: str) -> list[Instance]:
    instances, mistakes = expand(tree(folder, text))
    assert mistakes == []
    return instances


def mistakes(folder: Path, text: str) -> list[str]:
    return [f"{m.position.line}:{m.position.column}: {m.message}" for m in expand(tree(folder, text))[1]]


def test_without_a_matrix_there_is_one_instance(tmp_path: Path) -> None:
    (instance,) = expanded(tmp_path, "a: [1, {b: c}]\n")
    assert instance.data == {"a": (1, {"b": "c"})}
    assert instance.label == ""


def test_every_combination_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = expanded(tmp_path, "matrix: {x: [b, a], y: [1, true]}\nuse: [$x, $y]\n")
    assert [instance.label for instance in found] == ["b-1", "b-true", "a-1", "a-true"]
    assert [instance.data["use"] for instance in found] == [("b", 1), ("b", True), ("a", 1), ("a", True)]


def test_combinations_as_they_are_written(tmp_path: Path) -> None:
    found = expanded(
        tmp_path, 'matrix:\n  - {p: smtp, a: "::1"}\n  - {a: "127.0.0.1", p: imap}\nuse: [$p, $a]\n'
    )
    assert [instance.label for instance in found] == ["smtp-::1", "imap-127.0.0.1"]
    assert [instance.parameters for instance in found] == [
        {"p": "smtp", "a": "::1"},
        {"p": "imap", "a": "127.0.0.1"},
    ]


def test_a_label_names_a_written_combination_and_needs_no_use(tmp_path: Path) -> None:
    found = expanded(
        tmp_path, "matrix:\n  - {label: first, p: smtp}\n  - {label: second, p: imap}\nuse: $p\n"
    )
    assert [instance.label for instance in found] == ["first", "second"]
    # In a product it is a variable like others.
    (message,) = mistakes(tmp_path, "matrix: {label: [a]}\n")
    assert "'label' is used nowhere" in message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("$n", 5),
        ("${n}", 5),
        ('"$n"', 5),
        ("$t", True),
        ("x$n", "x5"),
        ("${n}x", "5x"),
        ("$n-${t}-$s", "5-true-text"),
        ("$$n", "$n"),
        ("$$", "$"),
        ("a$$$n", "a$5"),
        ("5$", "5$"),
        ("$5", "$5"),
        ("$l", ("a", 1)),
    ],
)
def test_a_variable_alone_keeps_its_type_and_is_text_in_a_text(
    tmp_path: Path, written: str, value: object
) -> None:
    text = f"matrix: {{n: [5], t: [true], s: [text], l: [[a, 1]]}}\nall: [$n, $t, $s, $l]\nuse: {written}\n"
    (instance,) = expanded(tmp_path, text)
    assert instance.data["use"] == value
    assert type(instance.data["use"]) is type(value)


def test_a_list_is_named_by_its_words(tmp_path: Path) -> None:
    found = expanded(tmp_path, "matrix: {allow: [[smtp, imap], []]}\nuse: $allow\n")
    assert [instance.data["use"] for instance in found] == [("smtp", "imap"), ()]
    assert [instance.label for instance in found] == ["smtp+imap", "empty"]
    assert [instance.parameters for instance in found] == [{"allow": "smtp+imap"}, {"allow": ""}]


def test_keys_hold_variables_as_well(tmp_path: Path) -> None:
    found = expanded(tmp_path, "matrix: {p: [smtp, imap]}\nlimits: {$p: 1}\nvalues: {allow_$p: false}\n")
    assert [instance.data["limits"] for instance in found] == [{"smtp": 1}, {"imap": 1}]
    assert [instance.data["values"] for instance in found] == [{"allow_smtp": False}, {"allow_imap": False}]
    assert ("values", "allow_imap") in found[1].positions


def test_the_matrix_itself_is_no_part_of_the_data(tmp_path: Path) -> None:
    (instance,) = expanded(tmp_path, "matrix: {x: [$y]}\nuse: $x\n")
    assert instance.data == {"use": "$y"}


def test_a_value_of_the_matrix_knows_where_it_stands(tmp_path: Path) -> None:
    found = expanded(tmp_path, "matrix: {x: [a, b]}\nuse: $x\nother: -$x-\n")
    assert found[1].origins["use",].line == 1
    assert found[1].origins["use",].column == 17
    assert found[1].positions["use",].line == 2
    assert ("other",) not in found[1].origins


@pytest.mark.parametrize("place", ["title", "why"])
def test_a_variable_that_is_only_talked_about_varies_nothing(tmp_path: Path, place: str) -> None:
    (message,) = mistakes(tmp_path, f"matrix: {{x: [a]}}\n{place}: about $x\n")
    assert message == "1:10: the variable 'x' is used nowhere; write $x where it belongs, or remove it"


def test_every_unknown_variable_is_reported_once(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "matrix: {x: [a, b]}\nuse: $x\none: $y\ntwo: a-${z}\n")
    assert [message.partition(";")[0] for message in found] == [
        "3:6: unknown variable '$y'",
        "4:6: unknown variable '$z'",
    ]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("{}", "1:9: the matrix is empty; leave it out, or give it a variable"),
        ("[]", "1:9: expected a mapping of lists"),
        ("[smtp]", "1:10: expected a combination"),
        ("{x: []}", "1:13: expected a list of values for 'x'"),
        ("{x-y: [1]}", "1:10: 'x-y' is no name for a variable"),
        ("{x: [a-b, a], y: [c, b-c]}", "1:19: two combinations give the same name [a-b-c]"),
        ('{x: [1, "1"]}', "1:17: two combinations give the same name [1]"),
        ("{x: [null]}", "1:14: a matrix value is a text"),
    ],
)
def test_what_is_no_matrix(tmp_path: Path, matrix: str, message: str) -> None:
    found = mistakes(tmp_path, f"matrix: {matrix}\nuse: [$x, $y]\n")
    assert any(line.startswith(message) for line in found), found


def test_a_matrix_has_a_limit(tmp_path: Path) -> None:
    axis = ", ".join(map(str, range(100)))
    assert len(expanded(tmp_path, f"matrix: {{x: [{axis}], y: [1, 2]}}\nuse: [$x, $y]\n")) == 200
    found = mistakes(tmp_path, f"matrix: {{x: [{axis}], y: [{axis}]}}\nuse: [$x, $y]\n")
    assert found == ["1:9: the matrix gives more than 1000 cases"]
