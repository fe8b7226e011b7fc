from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.protocols.imap.fetch import Content, parse_items, section_octets
from reference_server.protocols.imap.message import body_structure, envelope, find_part, parse
from reference_server.protocols.imap.syntax import Arguments

MULTIPART = (
    b"From: =?utf-8?q?Ann_=C3=89?= <ann@example.test>, (comment) bob@example.test\r\n"
    b'To: "Quoted \\"Name\\"" <x@remote.test>\r\n'
    b"Subject: caf\xc3\xa9\r\n"
    b" folded\r\n"
    b"Date: Sun, 1 Feb 2026 12:30:00 +0000\r\n"
    b"Message-ID: <1@x>\r\n"
    b'Content-Type: multipart/mixed; boundary="b1"\r\n'
    b"\r\n"
    b"preamble\r\n"
    b"--b1\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"\r\n"
    b"one\r\ntwo\r\n"
    b"\r\n--b1\r\n"
    b"Content-Type: message/rfc822\r\n"
    b"\r\n"
    b"Subject: inner\r\n"
    b"Content-Type: multipart/alternative; boundary=b2\r\n"
    b"\r\n"
    b"--b2\r\n\r\ninner one\r\n--b2\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b2--\r\n"
    b"\r\n--b1\r\n"
    b"Content-Type: application/pdf; name=x.pdf\r\n"
    b"Content-Disposition: attachment; filename*=utf-8''%C3%A9.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"AAAA\r\n--b1--\r\nepilogue\r\n"
)


def section(text: str, octets: bytes = MULTIPART) -> bytes | None:
    (item,) = parse_items(Arguments(f"BODY[{text}]".encode()))
    assert item.section is not None
    return section_octets(Content(octets), item.section)


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("", MULTIPART),
        ("HEADER", MULTIPART.split(b"preamble")[0]),
        ("TEXT", b"preamble" + MULTIPART.split(b"preamble")[1]),
        (
            "HEADER.FIELDS (date MESSAGE-ID X-No)",
            b"Date: Sun, 1 Feb 2026 12:30:00 +0000\r\nMessage-ID: <1@x>\r\n\r\n",
        ),
        ("HEADER.FIELDS (SUBJECT)", b"Subject: caf\xc3\xa9\r\n folded\r\n\r\n"),
        ("1", b"one\r\ntwo\r\n"),
        ("1.MIME", b"Content-Type: text/plain; charset=utf-8\r\n\r\n"),
        ("1.1", None),
        ("1.HEADER", None),
        ("2.HEADER", b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n"),
        ("2.HEADER.FIELDS (Subject)", b"Subject: inner\r\n\r\n"),
        ("2.1", b"inner one"),
        ("2.2", b"<p>"),
        ("2.2.MIME", b"Content-Type: text/html\r\n\r\n"),
        ("2.3", None),
        ("3", b"AAAA"),
        ("4", None),
    ],
)
def test_sections(name: str, octets: bytes | None) -> None:
    assert section(name) == octets


def test_header_fields_not() -> None:
    rest = section("HEADER.FIELDS.NOT (From To Subject Date Message-ID)")
    assert rest == b'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n'


def test_partial() -> None:
    (item,) = parse_items(Arguments(b"BODY.PEEK[1]<1.5>"))
    assert item.section is not None
    assert section_octets(Content(MULTIPART), item.section) == b"ne\r\nt"
    assert item.section.label == b"BODY[1]<1>"
    (item,) = parse_items(Arguments(b"BODY[1]<500.5>"))
    assert item.section is not None
    assert section_octets(Content(MULTIPART), item.section) == b""


def test_the_body_of_a_simple_message_is_part_1() -> None:
    assert section("1", b"Subject: x\r\n\r\nbody") == b"body"
    assert section("1.MIME", b"Subject: x\r\n\r\nbody") == b"Subject: x\r\n\r\n"
    assert section("2", b"Subject: x\r\n\r\nbody") is None


def test_envelope() -> None:
    assert envelope(parse(MULTIPART)) == (
        b'("Sun, 1 Feb 2026 12:30:00 +0000" {12}\r\ncaf\xc3\xa9 folded '
        b'(("=?utf-8?q?Ann_=C3=89?=" NIL "ann" "example.test")("comment" NIL "bob" "example.test")) '
        b'(("=?utf-8?q?Ann_=C3=89?=" NIL "ann" "example.test")("comment" NIL "bob" "example.test")) '
        b'(("=?utf-8?q?Ann_=C3=89?=" NIL "ann" "example.test")("comment" NIL "bob" "example.test")) '
        b'(("Quoted \\"Name\\"" NIL "x" "remote.test")) NIL NIL NIL "<1@x>")'
    )
    assert envelope(parse(b"\r\nbody")) == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"


def test_body_structure() -> None:
    structure = body_structure(parse(MULTIPART), extended=True)
    assert structure == (
        b'(("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 10 2 NIL NIL NIL NIL)'
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 133 '
        b'(NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 9 1 NIL NIL NIL NIL)'
        b'("TEXT" "HTML" NIL NIL NIL "7BIT" 3 1 NIL NIL NIL NIL) '
        b'"ALTERNATIVE" ("BOUNDARY" "b2") NIL NIL NIL) 11 NIL NIL NIL NIL)'
        b'("APPLICATION" "PDF" ("NAME" "x.pdf") NIL NIL "BASE64" 4 NIL '
        b'("attachment" ("FILENAME" {6}\r\n\xc3\xa9.pdf)) NIL NIL) '
        b'"MIXED" ("BOUNDARY" "b1") NIL NIL NIL)'
    )
    plain = body_structure(parse(b"A: b\r\n\r\nbody"), extended=False)
    assert plain == b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 4 1)'


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\r\n",
        b"no header at all",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnever there",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nunfinished",
        b"Content-Type: \xff\xfe; boundary=\xff\r\n\r\n",
        b"Content-Type: text/plain; name*=x'y\r\nContent-Disposition: ;;=\r\n\r\n",
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA",
        b'From: <<<@@@,,;:\r\nTo: "\r\nSubject:\r\n\r\n',
    ],
)
def test_whatever_comes_has_a_structure(octets: bytes) -> None:
    part = parse(octets)
    assert body_structure(part, extended=True).startswith(b"(")
    assert envelope(part).startswith(b"(")


PIECES = (
    b"--b1",
    b"--b1--",
    b"\r\n",
    b"x",
    b"Content-Type: ",
    b"message/rfc822",
    b"multipart/mixed; boundary=b1",
    b"\xff",
    b":",
)


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_nothing_breaks_the_parser(pieces: list[bytes]) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n" + b"".join(pieces)
    part = parse(octets)
    assert body_structure(part, extended=True)
    assert envelope(part)
    find_part(part, (1, 1, 1))


def test_depth_and_number_of_parts_are_limited() -> None:
    deep = b"x"
    for _ in range(100):
        deep = b"Content-Type: message/rfc822\r\n\r\n" + deep
    assert body_structure(parse(deep), extended=True).count(b"RFC822") == 20
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 50_000
    assert len(parse(many).parts) <= 1000
