"""Domains and accounts over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.reference_server.admin.conftest import Site


async def test_domains(site: Site) -> None:
    first = await site.add("/domains", {"name": "Example.COM."})
    second = await site.add("/domains", {"name": "b.example", "active": False})
    assert await site.get("/domains") == [
        {"id": first, "name": "example.com", "active": True},
        {"id": second, "name": "b.example", "active": False},
    ]
    assert site.operations.accounts.is_local_domain("EXAMPLE.com")
    assert (await site.ask("POST", "/domains", {"name": "EXAMPLE.com"}))[0] == 409
    assert (await site.ask("PUT", "/domains/example.com", {"name": "B.example"}))[0] == 409
    record = {"id": first, "name": "example.com", "active": False}
    assert await site.ask("PUT", "/domains/EXAMPLE.com", {"active": False}) == (200, record)
    record["name"] = "c.example"
    assert await site.ask("PUT", "/domains/example.com", {"name": "c.example"}) == (200, record)
    assert (await site.stored()).accounts.domains() == site.operations.accounts.domains()
    for method, body in (("PUT", {"active": True}), ("DELETE", None)):
        assert (await site.ask(method, "/domains/example.com", body))[0] == 404
    assert await site.ask("DELETE", "/domains/c.example") == (200, {})
    assert [domain["id"] for domain in await site.get("/domains")] == [second]
    assert (await site.stored()).accounts.domains() == site.operations.accounts.domains()


async def test_wrong_domains_are_refused(site: Site) -> None:
    await site.add("/domains", {"name": "kept.example"})
    cases: list[tuple[str, Any]] = [
        *[
            ("name", {"name": wrong})
            for wrong in ("", " ", "a b", "a@b", "a/b", "-a", "192.0.2.1", "[::1]", "x." * 127 + "x", 5, None)
        ],
        ("active", {"active": "yes"}),
        ("active", {"active": None}),
        ("bogus", {"bogus": 1}),
    ]
    await site.refused("POST", "/domains", cases, {"name": "new.example"})
    await site.refused("PUT", "/domains/kept.example", cases, {})
    assert await site.ask("POST", "/domains", {}) == (400, {"error": "name: is missing"})
    assert [domain["name"] for domain in await site.get("/domains")] == ["kept.example"]


async def test_accounts(site: Site) -> None:
    await site.add("/domains", {"name": "example.com"})
    body = {"address": " Ann@EXAMPLE.com", "password": " se cret "}
    account_id = await site.add("/domains/Example.com/accounts", body)
    assert await site.get("/domains/example.com/accounts") == [
        {"id": account_id, "address": "ann@example.com"}
    ]
    accounts = site.operations.accounts
    assert await accounts.authenticate("ann@example.com", " se cret ") is not None
    assert await accounts.authenticate("ann@example.com", "se cret") is None
    again = (await site.stored()).accounts
    assert await again.authenticate("ANN@example.com", " se cret ") is not None
    assert (await site.ask("POST", "/domains/example.com/accounts", body))[0] == 409
    assert await site.ask("DELETE", "/accounts/ANN@Example.com") == (200, {})
    assert (await site.ask("DELETE", "/accounts/ann@example.com"))[0] == 404
    assert await site.get("/domains/example.com/accounts") == []
    assert accounts.find("ann@example.com") is None
    assert (await site.stored()).accounts.find("ann@example.com") is None


async def test_a_new_password_takes_the_place_of_the_old_one(site: Site) -> None:
    await site.add("/domains", {"name": "example.com"})
    accounts = site.operations.accounts
    for password in ("first", "second"):
        await site.add("/domains/example.com/accounts", {"address": "a@example.com", "password": password})
        found = [await accounts.authenticate("a@example.com", each) for each in ("first", "second") * 2]
        assert [each is not None for each in found] == [password == each for each in ("first", "second") * 2]
        await site.ask("DELETE", "/accounts/a@example.com")
        assert await accounts.authenticate("a@example.com", password) is None


async def test_odd_but_right_account_names(site: Site) -> None:
    await site.add("/domains", {"name": "example.com"})
    for local_part in ("a+b", "o'neil", "a/b", "x" * 64, "a.b.c", "{~}"):
        address = f"{local_part}@example.com"
        await site.add("/domains/example.com/accounts", {"address": address, "password": "x"})
        assert await site.ask("DELETE", f"/accounts/{address.replace('/', '%2F')}") == (200, {})


async def test_wrong_accounts_are_refused(site: Site) -> None:
    await site.add("/domains", {"name": "example.com"})
    cases: list[tuple[str, Any]] = [
        *[
            ("address", {"address": wrong})
            for wrong in (
                "",
                "a",
                "@example.com",
                "a@",
                "a@example.org",
                "a@b@example.com",
                "a b@example.com",
                ".a@example.com",
                "a.@example.com",
                "a..b@example.com",
                "ü@example.com",
                "x" * 65 + "@example.com",
                "a\r\n@example.com",
                7,
                None,
            )
        ],
        *[("password", {"password": wrong}) for wrong in ("", "a\0b", "x" * 513, 7, None)],
        ("bogus", {"bogus": 1}),
    ]
    base = {"address": "a@example.com", "password": "x"}
    await site.refused("POST", "/domains/example.com/accounts", cases, base)
    for missing in base:
        body = {name: value for name, value in base.items() if name != missing}
        answer = await site.ask("POST", "/domains/example.com/accounts", body)
        assert answer == (400, {"error": f"{missing}: is missing"})
    for method, body in (("GET", None), ("POST", base)):
        assert (await site.ask(method, "/domains/nobody.example/accounts", body))[0] == 404
    assert await site.get("/domains/example.com/accounts") == []


async def test_deleting_a_domain_deletes_its_accounts(site: Site) -> None:
    for name in ("a.example", "b.example"):
        await site.add("/domains", {"name": name})
        await site.add(f"/domains/{name}/accounts", {"address": f"x@{name}", "password": "x"})
    await site.ask("DELETE", "/domains/a.example")
    for accounts in (site.operations.accounts, (await site.stored()).accounts):
        assert accounts.find("x@a.example") is None
        assert accounts.find("x@b.example") is not None
