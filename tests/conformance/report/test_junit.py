"""junit.xml, as CI systems read it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from conformance.report import junit

WORDS = ["pass", "fail", "warn", "info", "unsupported", "skipped", "inconclusive", "error"]


@pytest.fixture
def suite(make, tmp_path):
    file = tmp_path / "junit.xml"
    junit.write(file, [make.record(word, f"tests.{word}") for word in WORDS], "mine")
    root = ElementTree.parse(file).getroot()  # noqa: S314 - our own file
    return root if root.tag == "testsuite" else root.find("testsuite")


def test_the_counts(suite) -> None:
    assert suite.get("name") == "sixpost mine"
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 8, "failures": 1, "errors": 2, "skipped": 2}
    assert float(suite.get("time")) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("word", "element"),
    [
        ("pass", None),
        ("info", None),
        ("warn", None),
        ("fail", "failure"),
        ("inconclusive", "error"),
        ("error", "error"),
        ("unsupported", "skipped"),
        ("skipped", "skipped"),
    ],
)
def test_each_verdict(suite, word, element) -> None:
    (case,) = (one for one in suite.iter("testcase") if one.get("name") == f"tests.{word}[smtp]")
    assert case.get("classname") == "tests"
    found = {child.tag for child in case} & {"failure", "error", "skipped"}
    assert found == ({element} if element else set())
    if element:
        assert case.find(element).get("message") == f"the reason of {word}"
        assert case.find(element).get("type") == word


def test_what_is_no_plain_pass_has_its_transcript(suite) -> None:
    texts = {case.get("name"): case.findtext("system-out") for case in suite.iter("testcase")}
    for word in ("fail", "warn", "error", "inconclusive"):
        text = texts[f"tests.{word}[smtp]"]
        assert text.startswith(f"{word}: the reason of {word}\nconformance run --case x\n")
        assert "0.250 client[::1]:4711 received: 250 grüß Gott <&>�" in text
    assert texts["tests.pass[smtp]"] is None


def test_octets_that_xml_does_not_know(make, tmp_path) -> None:
    file = tmp_path / "junit.xml"
    junit.write(file, [make.record("fail", reason="a\x00b\x1b[31m\ufffe\n")], "mine\x00")
    ElementTree.parse(file)  # noqa: S314 - our own file


def test_no_case_at_all(tmp_path) -> None:
    file = tmp_path / "junit.xml"
    junit.write(file, [], "mine")
    assert ElementTree.parse(file).getroot() is not None  # noqa: S314 - our own file


def test_the_packets_are_named(make, tmp_path) -> None:
    file = tmp_path / "junit.xml"
    records = [
        make.record(word, f"tests.{word}", capture=f"captures/{word}.pcap") for word in ("pass", "fail")
    ]
    junit.write(file, records, "mine")
    texts = [one.text for one in ElementTree.parse(file).getroot().iter("system-out")]  # noqa: S314 - ours
    assert texts[0] == "packets: captures/pass.pcap"
    assert "\npackets: captures/fail.pcap\n" in str(texts[1])
