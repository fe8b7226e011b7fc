"""Ports, settings, certificates, domains, accounts, queue, server and the description, over HTTP."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from reference_server.settings import ConnectionSecurity

if TYPE_CHECKING:
    from tests.reference_server.admin.conftest import Site

PORT = {"protocol": "smtp", "port": 2525}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a certificate, as fields of the contract."""
    folder = tmp_path_factory.mktemp("pem")
    made = trustme.CA().issue_cert("::1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return {"certificate_file": str(chain), "private_key_file": str(key)}


async def refused(site: Site, method: str, path: str, cases: list[tuple[str, Any]], base: Any) -> None:
    """Each case, laid over ``base``, is a 400 that names the field."""
    for field, change in cases:
        code, answer = await site.ask(method, path, {**base, **change})
        assert (code, list(answer)) == (400, ["error"]), (change, answer)
        assert answer["error"].startswith(f"{field}: "), (change, answer)


# --- status ---


async def test_status(site: Site) -> None:
    assert await site.get("/status") == {
        "version": "0.1.0",
        "state": "running",
        "processedMessages": 17,
        "sessions": {"smtp": 3, "pop3": 0, "imap": 1},
        "ipv6_available": True,
        "generation": 1,
        "listeners": [
            {"port_id": 7, "protocol": "smtp", "address": "::1", "port": 40025, "open": True, "error": ""},
            {
                "port_id": 8,
                "protocol": "imap",
                "address": "2001:db8::1",
                "port": 143,
                "open": False,
                "error": "not here",
            },
        ],
    }


# --- ports ---


async def test_ports_are_kept(site: Site) -> None:
    first = await site.add("/ports", PORT)
    second = await site.add("/ports", {"protocol": "imap", "address": " 2001:DB8:0::1 ", "port": 0})
    none = {"connection_security": "none", "certificate_id": 0}
    assert await site.get("/ports") == [
        {"id": first, **PORT, "address": "0.0.0.0", **none},
        {"id": second, "protocol": "imap", "address": "2001:db8::1", "port": 0, **none},
    ]
    changed = {"protocol": "pop3", "port": 110, "address": "::"}
    record = {"id": first, **changed, **none}
    assert await site.ask("PUT", f"/ports/{first}", changed) == (200, record)
    assert (await site.get("/ports"))[0] == record
    assert (await site.stored()).ports() == site.operations.ports()
    assert await site.ask("DELETE", f"/ports/{first}") == (200, {})
    assert [port["id"] for port in await site.get("/ports")] == [second]
    assert (await site.stored()).ports() == site.operations.ports()


async def test_a_record_that_was_read_can_be_sent_back(site: Site) -> None:
    port_id = await site.add("/ports", PORT)
    (record,) = await site.get("/ports")
    body = {name: value for name, value in record.items() if name != "id"}
    assert await site.ask("PUT", f"/ports/{port_id}", body) == (200, record)


async def test_wrong_ports_are_refused(site: Site) -> None:
    kept = await site.add("/ports", {**PORT, "port": 1})
    before = await site.get("/ports")
    cases: list[tuple[str, Any]] = [
        ("protocol", {"protocol": "ftp"}),
        ("protocol", {"protocol": "SMTP"}),
        ("protocol", {"protocol": None}),
        ("address", {"address": "localhost"}),
        ("address", {"address": ""}),
        ("address", {"address": "fe80::1%lo"}),
        ("address", {"address": None}),
        ("port", {"port": -1}),
        ("port", {"port": 65536}),
        ("port", {"port": "25"}),
        ("port", {"port": 25.0}),
        ("port", {"port": True}),
        ("port", {"port": None}),
        ("connection_security", {"connection_security": "ssl"}),
        ("certificate_id", {"certificate_id": 77}),
        ("certificate_id", {"certificate_id": -1}),
        ("certificate_id", {"certificate_id": "1"}),
        ("certificate_id", {"connection_security": "tls"}),
        ("certificate_id", {"connection_security": "starttls_optional", "certificate_id": 0}),
        ("certificate_id", {"connection_security": "starttls_required", "certificate_id": None}),
        ("bogus", {"bogus": 1}),
    ]
    await refused(site, "POST", "/ports", cases, PORT)
    await refused(site, "PUT", f"/ports/{kept}", cases, PORT)
    for missing in PORT:
        body = {name: value for name, value in PORT.items() if name != missing}
        for method, path in (("POST", "/ports"), ("PUT", f"/ports/{kept}")):
            assert await site.ask(method, path, body) == (400, {"error": f"{missing}: is missing"})
    assert await site.get("/ports") == before
    assert (await site.stored()).ports() == site.operations.ports()


async def test_an_address_and_number_is_there_once(site: Site) -> None:
    first = await site.add("/ports", {**PORT, "address": "::1"})
    other = await site.add("/ports", {**PORT, "address": "::"})
    await site.add("/ports", PORT)  # 0.0.0.0
    for spelled in ("0:0:0:0:0:0:0:1", "::0.0.0.1"):
        code, answer = await site.ask(
            "POST", "/ports", {"protocol": "imap", "address": spelled, "port": 2525}
        )
        assert (code, list(answer)) == (409, ["error"])
    assert (await site.ask("PUT", f"/ports/{other}", {**PORT, "address": "::1"}))[0] == 409
    assert (await site.ask("PUT", f"/ports/{first}", {**PORT, "address": "::1"}))[0] == 200
    for _ in range(2):  # any free number is another one each time
        await site.add("/ports", {**PORT, "address": "::1", "port": 0})


async def test_ports_that_are_not_there(site: Site) -> None:
    for port_id in (1, 10**20, "x"):
        assert (await site.ask("PUT", f"/ports/{port_id}", PORT))[0] == 404
        assert (await site.ask("DELETE", f"/ports/{port_id}"))[0] == 404


# --- certificates ---


async def test_certificates(site: Site, pem: dict[str, str]) -> None:
    made = await site.add("/certificates", {"name": "c", **pem})
    assert await site.get("/certificates") == [{"id": made, "name": "c", **pem}]
    assert (await site.ask("POST", "/certificates", {"name": "c", **pem}))[0] == 409
    assert (await site.stored()).certificates() == site.operations.certificates()
    for security in ("tls", "starttls_optional", "starttls_required"):
        body = {**PORT, "port": 0, "connection_security": security, "certificate_id": made}
        port_id = await site.add("/ports", body)
        record = {"id": port_id, "address": "0.0.0.0", **body}
        assert (await site.get("/ports"))[-1] == record
    code, answer = await site.ask("DELETE", f"/certificates/{made}")
    assert (code, list(answer)) == (409, ["error"])
    for port in await site.get("/ports"):
        await site.ask("DELETE", f"/ports/{port['id']}")
    assert await site.ask("DELETE", f"/certificates/{made}") == (200, {})
    assert (await site.ask("DELETE", f"/certificates/{made}"))[0] == 404
    assert await site.get("/certificates") == []


async def test_wrong_certificates_are_refused(site: Site, pem: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no PEM")
    other = trustme.CA().issue_cert("::1")
    (tmp_path / "other.pem").write_bytes(other.private_key_pem.bytes())
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_text(_encrypted_key())
    cases: list[tuple[str, Any]] = [
        ("name", {"name": ""}),
        ("name", {"name": "x" * 101}),
        ("certificate_file", {"certificate_file": "chain.pem"}),
        ("certificate_file", {"certificate_file": str(tmp_path / "absent")}),
        ("certificate_file", {"certificate_file": str(tmp_path)}),
        ("certificate_file", {"certificate_file": str(tmp_path / "text")}),
        ("certificate_file", {"certificate_file": 7}),
        ("private_key_file", {"private_key_file": ""}),
        ("private_key_file", {"private_key_file": str(tmp_path / "absent")}),
        ("certificate_file", {"private_key_file": str(tmp_path / "other.pem")}),
        ("certificate_file", {"private_key_file": str(encrypted)}),
        ("bogus", {"bogus": 1}),
    ]
    await refused(site, "POST", "/certificates", cases, {"name": "c", **pem})
    for missing in ("name", *pem):
        body = {name: value for name, value in {"name": "c", **pem}.items() if name != missing}
        assert await site.ask("POST", "/certificates", body) == (400, {"error": f"{missing}: is missing"})
    assert await site.get("/certificates") == []


def _encrypted_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        .decode()
    )


# --- settings ---

CHANGES: list[tuple[str, Any, Any]] = [
    ("host_name", " mx1.Example.com ", "mx1.Example.com"),
    ("smtp_relayer", "relay.example.com", "relay.example.com"),
    ("smtp_relayer", " a.example | 192.0.2.1|2001:DB8:0:0::1 ", "a.example|192.0.2.1|2001:db8::1"),
    ("smtp_relayer", "[2001:0db8::0001]", "2001:db8::1"),
    ("smtp_relayer", "[IPv6:2001:db8::2]", "2001:db8::2"),
    ("smtp_relayer", "::FFFF:192.0.2.1", IPv6Address("::ffff:c000:201").compressed),
    ("smtp_relayer", "::192.0.2.33", "::c000:221"),
    ("smtp_relayer", "relay_1.example.", "relay_1.example."),
    ("smtp_relayer", "", ""),
    ("smtp_relayer_port", 65535, 65535),
    ("smtp_relayer_port", 0, 0),
    ("smtp_relayer_connection_security", "starttls_required", "starttls_required"),
    ("smtp_relayer_requires_authentication", True, True),
    ("smtp_relayer_username", "us er", "us er"),
    ("smtp_delivery_bind_to_ip", " 2001:DB8::0:1", "2001:db8::1"),
    ("smtp_delivery_bind_to_ip", "192.0.2.9", "192.0.2.9"),
    ("smtp_delivery_bind_to_ip", " ", ""),
    ("smtp_no_of_tries", 9, 9),
    ("smtp_minutes_between_try", 1, 1),
    ("ipv6_preferred", True, True),
    ("max_smtp_connections", 5, 5),
    ("max_pop3_connections", 6, 6),
    ("max_imap_connections", 7, 7),
    ("max_message_size_kb", 2**31 - 1, 2**31 - 1),
    ("auto_ban_on_logon_failure", False, False),
    ("max_invalid_logon_attempts", 11, 11),
    ("minutes_before_reset", 12, 12),
    ("minutes_to_ban", 13, 13),
    ("welcome_smtp", "ünser Server", "ünser Server"),
    ("welcome_pop3", "p", "p"),
    ("welcome_imap", "i", "i"),
    ("allow_smtp_auth_plain", False, False),
    ("verify_remote_ssl_certificate", False, False),
    ("dns_server", "127.0.0.1:5353", "127.0.0.1:5353"),
    ("dns_server", "[0::1]:53", "[::1]:53"),
    ("dns_server", " 0::1 ", "::1"),
    ("dns_server", "192.0.2.1", "192.0.2.1"),
    ("dns_server", "", ""),
]


async def test_every_setting_is_kept_and_told(site: Site) -> None:
    expected = await site.get("/settings")
    assert {name for name, _entered, _read in CHANGES} == set(expected)
    for name, entered, read in CHANGES:
        expected[name] = read
        assert await site.ask("PUT", "/settings", {name: entered}) == (200, expected)
        assert await site.get("/settings") == expected
        assert getattr(site.recorder.told_settings[-1], name) == read
    assert (await site.stored()).settings() == site.operations.settings()
    assert site.operations.settings().smtp_relayer_connection_security is ConnectionSecurity.STARTTLS_REQUIRED


async def test_the_relay_password_is_kept_and_never_shown(site: Site) -> None:
    code, answer = await site.ask("PUT", "/settings", {"smtp_relayer_password": "geheim: ß"})
    assert code == 200
    assert "smtp_relayer_password" not in answer
    assert "smtp_relayer_password" not in await site.get("/settings")
    assert (await site.stored()).settings().smtp_relayer_password == "geheim: ß"
    assert site.recorder.told_settings[-1].smtp_relayer_password == "geheim: ß"


async def test_wrong_settings_are_refused_whole(site: Site) -> None:
    before = await site.get("/settings")
    cases: list[tuple[str, Any]] = [
        ("host_name", {"host_name": ""}),
        ("host_name", {"host_name": "a b"}),
        ("host_name", {"host_name": "a\r\n250 b"}),
        *[
            ("smtp_relayer", {"smtp_relayer": wrong})
            for wrong in (
                "not a host",
                "a|",
                "|a",
                "a||b",
                "host:25",
                "[::1]:25",
                "[::1",
                "192.0.2.256",
                "1.2.3",
                "12345",
                "2001:db8::g",
                "fe80::1%eth0",
                "-a.example",
                "a-.example",
                "a..b",
                "x" * 64 + ".example",
                "bücher.example",
                "http://relay.example",
                "user@relay.example",
                7,
                None,
            )
        ],
        ("smtp_relayer_port", {"smtp_relayer_port": 65536}),
        ("smtp_relayer_port", {"smtp_relayer_port": "25"}),
        ("smtp_relayer_connection_security", {"smtp_relayer_connection_security": "ssl"}),
        ("smtp_relayer_password", {"smtp_relayer_password": "a\0"}),
        ("smtp_relayer_password", {"smtp_relayer_password": "x" * 513}),
        ("smtp_delivery_bind_to_ip", {"smtp_delivery_bind_to_ip": "localhost"}),
        ("smtp_delivery_bind_to_ip", {"smtp_delivery_bind_to_ip": "::1%lo"}),
        ("smtp_delivery_bind_to_ip", {"smtp_delivery_bind_to_ip": "[::1]"}),
        ("max_smtp_connections", {"max_smtp_connections": -1}),
        ("max_smtp_connections", {"max_smtp_connections": 2**31}),
        ("max_smtp_connections", {"max_smtp_connections": 1.0}),
        ("ipv6_preferred", {"ipv6_preferred": 1}),
        ("welcome_smtp", {"welcome_smtp": "hello\r\n221 bye"}),
        ("welcome_imap", {"welcome_imap": "a\u2028b"}),
        ("welcome_pop3", {"welcome_pop3": "x" * 1001}),
        ("dns_server", {"dns_server": "::1:99999"}),
        ("dns_server", {"dns_server": "dns.example:53"}),
        ("dns_server", {"dns_server": "127.0.0.1:0"}),
        ("dns_server", {"dns_server": "[127.0.0.1]:53"}),
        ("dns_server", {"dns_server": "127.0.0.1:５３"}),
        ("bogus", {"bogus": 1}),
    ]
    # The right one beside the wrong one is not taken either.
    cases = [case for case in cases if case[1] != {"dns_server": "::1:99999"}] + [
        ("dns_server", {"dns_server": "::1:99999"})
    ]
    await refused(site, "PUT", "/settings", cases, {"minutes_to_ban": 999})
    assert await site.get("/settings") == before
    assert (await site.stored()).settings() == site.operations.settings()
    assert site.recorder.told_settings == []


# --- domains and accounts ---


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
    await refused(site, "POST", "/domains", cases, {"name": "new.example"})
    await refused(site, "PUT", "/domains/kept.example", cases, {})
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
    await refused(site, "POST", "/domains/example.com/accounts", cases, base)
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


# --- queue, server, the rest ---


async def test_the_queue_is_empty(site: Site) -> None:
    assert await site.get("/queue") == []
    for method, path in (("POST", "/queue/1/retry"), ("DELETE", "/queue/1"), ("DELETE", "/queue/x")):
        code, answer = await site.ask(method, path)
        assert (code, list(answer)) == (404, ["error"])


async def test_reinitialize_answers_first(site: Site) -> None:
    asked = asyncio.Event()
    site.recorder.request_reinitialize = asked.set  # type: ignore[method-assign]
    assert await site.ask("POST", "/server/reinitialize") == (200, {})
    await asyncio.wait_for(asked.wait(), 30)


async def test_unknown_routes_and_methods_answer_in_json(site: Site) -> None:
    for method, path, expected in (
        ("GET", "/nothing", 404),
        ("PATCH", "/ports", 405),
        ("GET", "/ipranges/1", 405),
        ("DELETE", "/settings", 405),
    ):
        code, answer = await site.ask(method, path)
        assert (code, list(answer)) == (expected, ["error"])


async def test_a_bug_is_a_500_that_tells_no_secrets(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(site.recorder, "status", broken)
    code, answer = await site.ask("GET", "/status")
    assert (code, list(answer)) == (500, ["error"])
    assert "42" not in answer["error"]
    assert "the secret is 42" in caplog.text


async def test_the_description_tells_every_answer(site: Site) -> None:
    schema = await site.get("/openapi.json")
    found = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            found[method.upper(), path.removeprefix("/api/v1")] = sorted(operation["responses"])
    change, one, add = (
        ["200", "400", "401", "404", "409"],
        ["200", "401", "404"],
        ["201", "400", "401", "409"],
    )
    assert found == {
        ("GET", "/status"): ["200", "401"],
        ("GET", "/ports"): ["200", "401"],
        ("POST", "/ports"): add,
        ("PUT", "/ports/{port_id}"): change,
        ("DELETE", "/ports/{port_id}"): one,
        ("GET", "/ipranges"): ["200", "401"],
        ("POST", "/ipranges"): add,
        ("PUT", "/ipranges/{range_id}"): change,
        ("DELETE", "/ipranges/{range_id}"): one,
        ("GET", "/settings"): ["200", "401"],
        ("PUT", "/settings"): ["200", "400", "401"],
        ("GET", "/certificates"): ["200", "401"],
        ("POST", "/certificates"): add,
        ("DELETE", "/certificates/{certificate_id}"): ["200", "401", "404", "409"],
        ("GET", "/domains"): ["200", "401"],
        ("POST", "/domains"): add,
        ("PUT", "/domains/{domain}"): change,
        ("DELETE", "/domains/{domain}"): one,
        ("GET", "/domains/{domain}/accounts"): one,
        ("POST", "/domains/{domain}/accounts"): ["201", "400", "401", "404", "409"],
        ("DELETE", "/accounts/{address}"): one,
        ("GET", "/queue"): ["200", "401"],
        ("POST", "/queue/{message_id}/retry"): one,
        ("DELETE", "/queue/{message_id}"): one,
        ("POST", "/server/reinitialize"): ["200", "401"],
    }
    text = str(schema)
    assert "HTTPValidationError" not in text
    assert "'security': [{'administrator': []}]" in text
    assert "default" not in str(schema["components"]["schemas"]["RangeChange"]["properties"])
    assert schema["components"]["schemas"]["RangeBody"]["required"] == ["name", "lower", "upper"]
