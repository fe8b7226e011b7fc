"""Nothing without the password, over either family."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import pytest

from reference_server.admin.guard import BODY_LENGTH, credentials

if TYPE_CHECKING:
    from tests.reference_server.admin.conftest import Site

pytestmark = pytest.mark.parametrize("site", ["127.0.0.1", "::1"], indirect=True)

ROUTES = [
    ("GET", "/status"),
    ("GET", "/ports"),
    ("POST", "/ports"),
    ("PUT", "/ports/1"),
    ("DELETE", "/ports/1"),
    ("GET", "/ipranges"),
    ("POST", "/ipranges"),
    ("PUT", "/ipranges/1"),
    ("DELETE", "/ipranges/1"),
    ("GET", "/settings"),
    ("PUT", "/settings"),
    ("GET", "/certificates"),
    ("POST", "/certificates"),
    ("DELETE", "/certificates/1"),
    ("GET", "/domains"),
    ("POST", "/domains"),
    ("PUT", "/domains/example.com"),
    ("DELETE", "/domains/example.com"),
    ("GET", "/domains/example.com/accounts"),
    ("POST", "/domains/example.com/accounts"),
    ("DELETE", "/accounts/a@example.com"),
    ("GET", "/queue"),
    ("POST", "/queue/1/retry"),
    ("DELETE", "/queue/1"),
    ("POST", "/server/reinitialize"),
    ("GET", "/openapi.json"),
    ("GET", "/no/such/route"),
]


async def test_without_credentials_every_route_answers_401(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.server.url, trust_env=False) as client:
        for method, path in ROUTES:
            answer = await client.request(method, f"/api/v1{path}", content=b"{broken json")
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert list(answer.json()) == ["error"]
        for path in ("/", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 401
    assert site.recorder.reinitialized == 0


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"Administrator").decode(),
        "Basic " + base64.b64encode(b"Administrator:").decode(),
        "Basic " + base64.b64encode(b"Administrator:let-me-i").decode(),
        "Basic " + base64.b64encode(b"Administrator:let-me-in\n").decode(),
        "Basic " + base64.b64encode(b"administrator:let-me-in").decode(),
        "Basic " + base64.b64encode(b":let-me-in").decode(),
        "Basic " + base64.b64encode(b"Administrator:\xff\xfe").decode(),
        "Bearer " + base64.b64encode(b"Administrator:let-me-in").decode(),
    ],
)
async def test_wrong_credentials_answer_401(site: Site, header: str) -> None:
    async with httpx.AsyncClient(base_url=site.server.url, trust_env=False) as client:
        answer = await client.get("/api/v1/status", headers={"Authorization": header})
    assert answer.status_code == 401


async def test_nothing_is_changed_without_the_password(site: Site) -> None:
    wanted = {"name": "r", "lower": "::1", "upper": "::1"}
    async with httpx.AsyncClient(base_url=site.server.url, trust_env=False) as client:
        for auth in (None, httpx.BasicAuth("Administrator", "wrong")):
            assert (await client.post("/api/v1/ipranges", json=wanted, auth=auth)).status_code == 401
    assert await site.get("/ipranges") == []
    assert site.recorder.told_ranges == []


async def test_the_scheme_is_known_in_any_case(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.server.url, trust_env=False) as client:
        word = base64.b64encode(b"Administrator:let-me-in").decode()
        answer = await client.get("/api/v1/status", headers={"Authorization": f"bAsIc  {word}"})
    assert answer.status_code == 200


async def test_a_password_may_hold_colons_and_any_letters(site: Site) -> None:
    header = b"Basic " + base64.b64encode("Administrator:a:b:ü€".encode())
    assert credentials(header) == ("Administrator", "a:b:ü€")
    assert not await site.operations.check_administrator("Administrator", "a:b:ü€")


async def test_a_body_that_is_too_long_is_refused_and_the_server_lives(site: Site) -> None:
    record = b'{"name": "r", "lower": "::1", "upper": "::1"}'
    kind = {"Content-Type": "application/json"}
    for size in (BODY_LENGTH + 1, 5_000_000):
        code, answer = await site.ask("POST", "/ipranges", content=record.ljust(size), headers=kind)
        assert (code, answer) == (400, {"error": f"body: has more than {BODY_LENGTH} octets"})
    assert await site.get("/ipranges") == []
    assert (await site.ask("POST", "/ipranges", content=record.ljust(BODY_LENGTH), headers=kind))[0] == 201
