"""Status, ports, certificates, queue, server and the description, over HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from reference_server.session import NewMail
from reference_server.storage.mailboxes import SqlMailStore
from reference_server.storage.queue import SqlMailQueue

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
    await site.refused("POST", "/ports", cases, PORT)
    await site.refused("PUT", f"/ports/{kept}", cases, PORT)
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
    await site.refused("POST", "/certificates", cases, {"name": "c", **pem})
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


# --- queue, server, the rest ---


async def test_the_queue_is_empty(site: Site) -> None:
    assert await site.get("/queue") == []
    for method, path in (("POST", "/queue/1/retry"), ("DELETE", "/queue/1"), ("DELETE", "/queue/x")):
        code, answer = await site.ask(method, path)
        assert (code, list(answer)) == (404, ["error"])


async def test_the_queue_shows_retries_and_deletes(site: Site) -> None:
    store = SqlMailQueue(site.database, SqlMailStore(site.database))
    received = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    for sender in ("ann@example.test", ""):
        await store.accept(NewMail(sender, b"x\r\n", 0, received, (), ("joe@far.test", "sue@far.test")))
    waiting = {"recipients": ["joe@far.test", "sue@far.test"], "next_try": "2030-01-02 03:04:05"}
    assert await site.get("/queue") == [
        {"id": 1, "from": "ann@example.test", **waiting},
        {"id": 2, "from": "", **waiting},
    ]
    assert await site.ask("POST", "/queue/1/retry") == (200, {})
    assert site.recorder.queue_changes == 1
    assert (await site.get("/queue"))[0]["next_try"] < "2030"
    assert await site.ask("DELETE", "/queue/1") == (200, {})
    assert [each["id"] for each in await site.get("/queue")] == [2]
    assert (await site.ask("DELETE", "/queue/1"))[0] == 404


async def test_reinitialize_answers_first(site: Site) -> None:
    asked = asyncio.Event()
    site.recorder.request_reinitialize = asked.set  # type: ignore[method-assign]
    assert await site.ask("POST", "/server/reinitialize") == (200, {})
    await asyncio.wait_for(asked.wait(), 30)


async def test_unknown_routes_and_methods_answer_in_json(site: Site) -> None:
    for method, path, expected in (
        ("GET", "/nothing", 404),
        ("GET", "/ports/", 404),
        ("POST", "/domains//accounts", 404),
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
