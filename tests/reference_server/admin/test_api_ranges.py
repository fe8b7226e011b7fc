"""IP ranges over HTTP: what is entered reads back, what is wrong is named and leaves no trace."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.settings import IpRange

if TYPE_CHECKING:
    from tests.reference_server.admin.conftest import Site

TOP = ":".join(["ffff"] * 8)
PLAIN = {"name": "r", "lower": "::1", "upper": "::9"}
DEFAULTS = {
    "priority": 0,
    "expires": False,
    "expires_time": "",
    "allow_smtp": True,
    "allow_pop3": True,
    "allow_imap": True,
    "deliver_local_to_local": True,
    "deliver_local_to_remote": False,
    "deliver_remote_to_local": True,
    "deliver_remote_to_remote": False,
    "require_auth_local_to_local": False,
    "require_auth_local_to_remote": True,
    "require_auth_remote_to_local": False,
    "require_auth_remote_to_remote": True,
    "require_tls_for_auth": False,
    "spam_protection": True,
    "virus_protection": True,
}
FLAGS = [name for name, value in DEFAULTS.items() if isinstance(value, bool) and name != "expires"]


@pytest.mark.parametrize("site", ["127.0.0.1", "::1"], indirect=True)
async def test_what_is_left_out_has_the_default_of_the_contract(site: Site) -> None:
    range_id = await site.add("/ipranges", PLAIN)
    assert await site.get("/ipranges") == [{"id": range_id, **PLAIN, **DEFAULTS}]


async def test_every_field_is_kept(site: Site) -> None:
    wanted = {
        **PLAIN,
        **{name: not value for name, value in DEFAULTS.items() if isinstance(value, bool)},
        "priority": -7,
        "expires_time": "2030-01-02 03:04:05",
    }
    range_id = await site.add("/ipranges", wanted)
    assert await site.get("/ipranges") == [{"id": range_id, **wanted}]
    assert (await site.stored()).ranges() == site.operations.ranges()
    (kept,) = site.operations.ranges()
    assert kept.expires_time == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lower", "upper", "read"),
    [
        (" ::1", "::1\t", ("::1", "::1")),
        ("0:0:0:0:0:0:0:0", TOP.upper(), ("::", TOP)),
        (
            "2001:0DB8:0000:0000:0001:0000:0000:0001",
            "2001:db8::1:1:0:0",
            ("2001:db8::1:0:0:1", "2001:db8::1:1:0:0"),
        ),
        ("::0.0.0.1", "::1.2.3.4", ("::1", "::102:304")),
        ("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "8000::", ("7fff:" + TOP[5:], "8000::")),
        ("\n0.0.0.0 ", " 255.255.255.255", ("0.0.0.0", "255.255.255.255")),
        ("::ffff:0:0", "::ffff:255.255.255.255", ("::ffff:0.0.0.0", "::ffff:255.255.255.255")),
    ],
)
async def test_addresses_read_back_as_rfc_5952(
    site: Site, lower: str, upper: str, read: tuple[str, str]
) -> None:
    await site.add("/ipranges", {"name": "r", "lower": lower, "upper": upper})
    (record,) = await site.get("/ipranges")
    expected = tuple(ip_address(text).compressed for text in read)
    assert (record["lower"], record["upper"]) == expected
    (kept,) = (await site.stored()).ranges()
    assert (kept.lower, kept.upper) == tuple(ip_address(text) for text in read)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("lower", {"lower": "not-an-address"}),
    ("lower", {"lower": ""}),
    ("lower", {"lower": "1"}),
    ("lower", {"lower": "192.0.2"}),
    ("lower", {"lower": "192.0.2.256"}),
    ("lower", {"lower": "192.0.2.01"}),
    ("lower", {"lower": "::1/128"}),
    ("lower", {"lower": "[::1]"}),
    ("lower", {"lower": "fe80::1%eth0"}),
    ("lower", {"lower": 1}),
    ("lower", {"lower": None}),
    ("lower", {"lower": ["::1"]}),
    ("lower", {"lower": "\x00::1"}),
    ("upper", {"upper": "::g"}),
    ("upper", {"upper": "1:2:3:4:5:6:7:8:9"}),
    ("upper", {"upper": "192.0.2.1"}),  # the other family
    ("lower", {"lower": "::a"}),  # above upper
    ("lower", {"lower": "8000::", "upper": "7fff::"}),
    ("lower", {"lower": "192.0.2.9", "upper": "192.0.2.8"}),
    ("lower", {"lower": "::9:0:0:0:0", "upper": "::8:ffff:ffff:ffff:ffff"}),
    ("name", {"name": ""}),
    ("name", {"name": "  \t"}),
    ("name", {"name": "x" * 101}),
    ("name", {"name": None}),
    ("name", {"name": 7}),
    ("name", {"name": "a\r\nb"}),
    ("name", {"name": "a\x00"}),
    ("priority", {"priority": "10"}),
    ("priority", {"priority": 1.5}),
    ("priority", {"priority": True}),
    ("priority", {"priority": 2**31}),
    ("priority", {"priority": -(10**30)}),
    ("priority", {"priority": None}),
    ("expires", {"expires": "yes"}),
    ("expires", {"expires": 1}),
    ("expires_time", {"expires": True}),
    ("expires_time", {"expires": True, "expires_time": ""}),
    ("expires_time", {"expires": True, "expires_time": None}),
    ("expires_time", {"expires_time": "tomorrow"}),
    ("expires_time", {"expires_time": "2030-13-02 03:04:05"}),
    ("expires_time", {"expires_time": "2030-02-30 03:04:05"}),
    ("expires_time", {"expires_time": "2030-01-02 03:04:05+02:00"}),
    ("expires_time", {"expires_time": 1893456000}),
    *[(flag, {flag: wrong}) for flag in FLAGS for wrong in (1, "true", None)],
    ("colour", {"colour": "red"}),
    ("id", {"id": 1}),
    ("Lower", {"Lower": "::1"}),
]


async def test_every_wrong_input_names_its_field_and_stores_nothing(site: Site) -> None:
    kept_id = await site.add("/ipranges", {**PLAIN, "name": "kept"})
    before = await site.get("/ipranges")
    told = len(site.recorder.told_ranges)
    for field, change in WRONG:
        code, answer = await site.ask("POST", "/ipranges", {**PLAIN, **change})
        assert (code, list(answer)) == (400, ["error"]), change
        assert answer["error"].startswith(f"{field}: "), (change, answer)
        code, answer = await site.ask("PUT", f"/ipranges/{kept_id}", change)
        assert (code, list(answer)) == (400, ["error"]), change
        assert answer["error"].startswith(f"{field}: "), (change, answer)
    assert await site.get("/ipranges") == before
    assert (await site.stored()).ranges() == site.operations.ranges()
    assert len(site.recorder.told_ranges) == told


@pytest.mark.parametrize("missing", ["name", "lower", "upper"])
async def test_what_is_missing_is_named(site: Site, missing: str) -> None:
    body = {name: value for name, value in PLAIN.items() if name != missing}
    code, answer = await site.ask("POST", "/ipranges", body)
    assert (code, answer) == (400, {"error": f"{missing}: is missing"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"7",
        b"\xff\xfe",
        b'{"name": "r", "lower": "::1", "upper": "::1",}',
        b"[" * 50_000,
        b'{"priority": ' + b"9" * 5000 + b"}",
        b'{"name": NaN}',
    ],
)
async def test_a_body_that_is_no_record_is_a_400(site: Site, content: bytes) -> None:
    code, answer = await site.ask(
        "POST", "/ipranges", content=content, headers={"Content-Type": "application/json"}
    )
    assert (code, list(answer)) == (400, ["error"])
    assert len(answer["error"]) > len("body: ")
    assert await site.get("/ipranges") == []


async def test_odd_text_is_echoed_without_harm(site: Site) -> None:
    for content in (b'{"\\ud800": 1}', b'{"name": "\\ud800", "lower": "::1", "upper": "::1"}'):
        code, answer = await site.ask(
            "POST", "/ipranges", content=content, headers={"Content-Type": "application/json"}
        )
        assert (code, list(answer)) == (400, ["error"])
    code, answer = await site.ask("POST", "/ipranges", {**PLAIN, "lower": "x" * 60_000})
    assert code == 400
    assert len(answer["error"]) <= 500


async def test_a_body_of_another_type_is_refused(site: Site) -> None:
    """A page of another site can make a browser send such a body, credentials included."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        code, answer = await site.ask(
            "POST",
            "/ipranges",
            content=b'{"name": "r", "lower": "::1", "upper": "::1"}',
            headers={"Content-Type": kind},
        )
        assert code == 400
        assert "application/json" in answer["error"]
    assert await site.get("/ipranges") == []


async def test_any_subset_can_be_changed(site: Site) -> None:
    range_id = await site.add("/ipranges", PLAIN)
    record = {"id": range_id, **PLAIN, **DEFAULTS}
    for change in (
        {"priority": 50},
        {"upper": "::20"},
        {"allow_pop3": False},
        {"expires": True, "expires_time": "2030-01-02"},
        {"expires_time": "2031-06-07T08:09:10"},
        {"expires": False},
        {"lower": "192.0.2.1", "upper": "192.0.2.2"},
        {"name": "other"},
        {},
    ):
        record |= change
        if record["expires_time"]:
            record["expires_time"] = record["expires_time"].replace("T", " ")
            record["expires_time"] += " 00:00:00" * (len(record["expires_time"]) == 10)
        assert await site.ask("PUT", f"/ipranges/{range_id}", change) == (200, record)
        assert await site.get("/ipranges") == [record]
    assert (await site.stored()).ranges() == site.operations.ranges()


async def test_a_bound_that_no_longer_fits_the_other_is_named(site: Site) -> None:
    range_id = await site.add("/ipranges", PLAIN)
    for change, field in (
        ({"upper": "::"}, "upper"),
        ({"lower": "::a"}, "lower"),
        ({"lower": "192.0.2.1"}, "lower"),
        ({"upper": "192.0.2.1"}, "upper"),
    ):
        code, answer = await site.ask("PUT", f"/ipranges/{range_id}", change)
        assert code == 400
        assert answer["error"].startswith(f"{field}: ")


async def test_a_name_is_there_once(site: Site) -> None:
    first = await site.add("/ipranges", PLAIN)
    code, answer = await site.ask("POST", "/ipranges", {**PLAIN, "name": " r "})
    assert (code, list(answer)) == (409, ["error"])
    assert answer["error"].startswith("name: ")
    second = await site.add("/ipranges", {**PLAIN, "name": "s"})
    assert (await site.ask("PUT", f"/ipranges/{second}", {"name": "r"}))[0] == 409
    assert (await site.ask("PUT", f"/ipranges/{first}", {"name": "r"}))[0] == 200
    assert (await site.ask("PUT", f"/ipranges/{first}", {"name": "t"}))[0] == 200
    assert (await site.ask("PUT", f"/ipranges/{second}", {"name": "r"}))[0] == 200
    assert (await site.ask("DELETE", f"/ipranges/{second}"))[0] == 200
    await site.add("/ipranges", PLAIN)
    assert [record["name"] for record in await site.get("/ipranges")] == ["t", "r"]


async def test_what_is_not_there_is_a_404(site: Site) -> None:
    range_id = await site.add("/ipranges", PLAIN)
    assert await site.ask("DELETE", f"/ipranges/{range_id}") == (200, {})
    for wrong in (range_id, 0, -1, 10**30, "abc", "1.5", "%20"):
        for method, body in (("PUT", {"priority": 1}), ("DELETE", None)):
            code, answer = await site.ask(method, f"/ipranges/{wrong}", body)
            assert (code, list(answer)) == (404, ["error"]), (method, wrong)
    assert await site.get("/ipranges") == []
    assert await site.add("/ipranges", PLAIN) > range_id


async def test_the_server_has_taken_a_change_over_when_it_is_answered(site: Site) -> None:
    range_id = await site.add("/ipranges", PLAIN)
    assert site.recorder.told_ranges[-1] == site.operations.ranges()
    assert len(site.recorder.told_ranges) == 1
    await site.ask("PUT", f"/ipranges/{range_id}", {"priority": 5})
    assert site.recorder.told_ranges[-1][0].priority == 5
    await site.ask("DELETE", f"/ipranges/{range_id}")
    assert site.recorder.told_ranges[-1] == ()


async def test_changes_at_one_time_are_all_kept_and_announced_in_order(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    announced: list[int] = []

    async def slowly(ranges: tuple[IpRange, ...]) -> None:
        await gate.wait()
        announced.append(len(ranges))

    stored = asyncio.Event()
    put = site.operations._put_range

    def noticed(ip_range: IpRange) -> int:
        version = put(ip_range)
        if len(site.operations.ranges()) == 20:
            stored.set()
        return version

    site.recorder.ranges_changed = slowly  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(site.operations, "_put_range", noticed)
    bodies = [{**PLAIN, "name": f"r{number}"} for number in range(20)]
    adding = [asyncio.ensure_future(site.add("/ipranges", body)) for body in bodies]
    # The first waits for the server; the others are stored meanwhile, and share the next announcement.
    await asyncio.wait_for(stored.wait(), 60)
    assert not any(task.done() for task in adding)
    gate.set()
    assert len(set(await asyncio.gather(*adding))) == 20
    assert announced == [1, 20]


async def test_two_of_a_name_at_one_time_make_one(site: Site) -> None:
    results = await asyncio.gather(*(site.ask("POST", "/ipranges", PLAIN) for _ in range(8)))
    assert sorted(code for code, _answer in results) == [201] + [409] * 7
    assert len(await site.get("/ipranges")) == 1


async def test_ranges_survive_a_restart(site: Site) -> None:
    await site.add("/ipranges", {"name": "page", "lower": "::", "upper": TOP, "priority": 10})
    await site.add("/ipranges", {"name": "old", "lower": "0.0.0.0", "upper": "255.255.255.255"})
    kept = site.operations.ranges()
    again = await site.stored()
    assert again.ranges() == kept
    assert replace(kept[0], id=0) == replace(again.ranges()[0], id=0)
