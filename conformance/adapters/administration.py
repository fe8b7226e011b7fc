"""A client of the HTTP administration contract, which hMailServer 6.3 and the reference server speak."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from conformance.adapters.base import (
    AccountSpec,
    AdminAnswer,
    AdminRequest,
    Configuration,
    Direction,
    LimitsSpec,
    PortSpec,
    Queue,
    RangeSpec,
    Waiting,
)
from conformance.addresses import with_port
from conformance.errors import AdapterError, AdapterUnsupported

USER = "Administrator"
LIMIT = 60.0
"""Seconds for one call: generous, the machine may be loaded."""

ALL_DIRECTIONS: tuple[Direction, ...] = (
    "local_to_local",
    "local_to_remote",
    "remote_to_local",
    "remote_to_remote",
)
EVERYBODY = (
    RangeSpec(name="Everybody IPv4", lower="0.0.0.0", upper="255.255.255.255", require_auth=()),
    RangeSpec(name="Everybody IPv6", lower="::", upper=":".join(["ffff"] * 8), require_auth=()),
)
"""What ``ip_ranges: null`` stands for: all clients of both families, every delivery, no authentication."""

Record = dict[str, Any]
_ABSENT_ID = 2**31 - 1
"""An id that no record has: the server itself is to say that a record is absent."""


def ranges_of(configuration: Configuration) -> tuple[RangeSpec, ...]:
    """Return the IP ranges that ``configuration`` means, beside the shipped ones where they are."""
    if configuration.ip_ranges is not None:
        return configuration.ip_ranges
    return () if configuration.default else EVERYBODY


def port_record(port: PortSpec) -> Record:
    """Return a port as the contract has it; the address goes as it was written."""
    return {
        "protocol": port.protocol,
        "address": port.address,
        "port": port.number,
        "connection_security": port.security,
    }


def range_record(spec: RangeSpec) -> Record:
    """Return an IP range as the contract has it, with every flag; the bounds go as they were written."""
    record: Record = {
        "name": spec.name,
        "lower": spec.lower,
        "upper": spec.upper,
        "priority": spec.priority,
        "require_tls_for_auth": spec.require_tls_for_auth,
        "spam_protection": spec.spam_protection,
        "virus_protection": spec.virus_protection,
        "expires": spec.expires is not None,
    }
    if spec.expires is not None:
        record["expires_time"] = spec.expires
    for protocol in ("smtp", "pop3", "imap"):
        record[f"allow_{protocol}"] = protocol in spec.allow
    for direction in ALL_DIRECTIONS:
        record[f"deliver_{direction}"] = direction in spec.deliver
        record[f"require_auth_{direction}"] = direction in spec.require_auth
    return record


def limits_record(limits: LimitsSpec) -> Record:
    """Return the connection limits as settings of the contract."""
    return {
        "max_smtp_connections": limits.smtp,
        "max_pop3_connections": limits.pop3,
        "max_imap_connections": limits.imap,
    }


NOBODY = "127.0.0.1:1"
"""A resolver that is not there: a server under test asks nobody whom the case does not name."""


def outgoing_record(configuration: Configuration) -> Record:
    """Return everything about outgoing mail as settings of the contract."""
    relay, delivery, dns = configuration.relay, configuration.delivery, configuration.dns
    return {
        "smtp_relayer": "" if relay is None else relay.to,
        "smtp_relayer_port": 0 if relay is None else relay.port,
        "smtp_relayer_connection_security": "none" if relay is None else relay.security,
        "smtp_relayer_requires_authentication": relay is not None and relay.user != "",
        "smtp_relayer_username": "" if relay is None else relay.user,
        "smtp_relayer_password": "" if relay is None else relay.password,
        "smtp_delivery_bind_to_ip": delivery.bind,
        "smtp_no_of_tries": delivery.tries,
        "smtp_minutes_between_try": delivery.minutes_between_tries,
        "ipv6_preferred": delivery.ipv6_preferred,
        "verify_remote_ssl_certificate": delivery.verify,
        "dns_server": NOBODY if dns is None else with_port(dns.address, dns.port),
    }


class Administration:
    """One administration socket.

    Every method may raise AdapterError: there was no answer, or one that breaks the contract.
    """

    def __init__(self, url: str, password: str) -> None:
        """``url`` is scheme, host and port."""
        self._password = password
        self._client = httpx.Client(
            base_url=f"{url}/api/v1",
            timeout=LIMIT,
            trust_env=False,
            # Plain HTTP over loopback: a context that trusts nobody saves loading the system's certificates.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: Record | None = None) -> Any:
        """Do one call that must succeed, as the administrator; return the parsed answer."""
        answer = self._request(method, path, body, self._password)
        if answer.status_code >= 400:
            raise AdapterError(
                f"the administration refused {method} {path}: {answer.status_code} {_words(answer)}"
            )
        return answer.json() if answer.content else None

    def records(self, path: str) -> list[Record]:
        """Return the records of a collection."""
        found = self.call("GET", path)
        if not isinstance(found, list):
            raise AdapterError(f"the administration gave no list for GET {path}: {found!r}")
        return found

    def _request(self, method: str, path: str, body: Record | None, password: str | None) -> httpx.Response:
        auth = None if password is None else httpx.BasicAuth(USER, password)
        try:
            return self._client.request(method, path, json=body, auth=auth)
        except httpx.HTTPError as error:
            raise AdapterError(f"the administration did not answer {method} {path}: {error}") from error

    # --- the whole configuration ----------------------------------------------------------------------

    def clear(self, settings: Mapping[str, Any]) -> None:
        """Delete all mail, every account, domain, range, port and certificate; set ``settings``."""
        # First the way out: nothing new is sent while the rest goes.
        self.delete_queue()
        for domain in self.records("/domains"):
            self.call("DELETE", f"/domains/{domain['name']}")
        for collection in ("/ipranges", "/ports", "/certificates"):
            for record in self.records(collection):
                self.call("DELETE", f"{collection}/{record['id']}")
        self.call("PUT", "/settings", dict(settings))

    def add_port(self, port: PortSpec) -> int:
        """Add a port; return its id."""
        return int(self.call("POST", "/ports", port_record(port))["id"])

    def add_range(self, spec: RangeSpec) -> None:
        self.call("POST", "/ipranges", range_record(spec))

    def add_accounts(self, accounts: Iterable[AccountSpec]) -> None:
        """Add accounts, and their domains where they are missing."""
        known = {str(domain["name"]).lower() for domain in self.records("/domains")}
        for account in accounts:
            domain = account.address.rpartition("@")[2].lower()
            if domain not in known:
                self.call("POST", "/domains", {"name": domain, "active": True})
                known.add(domain)
            body: Record = {"address": account.address, "password": account.password}
            self.call("POST", f"/domains/{domain}/accounts", body)

    def queue(self, now: datetime) -> Queue:
        """Return what waits, by the server's clock."""
        return Queue(messages=tuple(_waiting(record, now) for record in self.records("/queue")))

    def retry_queue(self) -> None:
        """Try everything that waits now. What was delivered meanwhile is no error."""
        self._for_each("/queue", lambda path: self._request("POST", f"{path}/retry", None, self._password))

    def delete_queue(self) -> None:
        """Take out everything that waits."""
        self._for_each("/queue", lambda path: self._request("DELETE", path, None, self._password))

    def _for_each(self, collection: str, do: Callable[[str], httpx.Response]) -> None:
        for record in self.records(collection):
            answer = do(f"{collection}/{record['id']}")
            if answer.status_code >= 400 and answer.status_code != 404:
                raise AdapterError(f"the administration refused: {answer.status_code} {_words(answer)}")

    def change_ranges(self, old: Iterable[RangeSpec], new: Iterable[RangeSpec]) -> None:
        """Do what leads from ``old`` to ``new``; what neither names stays."""
        before = {spec.name: spec for spec in old}
        after = {spec.name: spec for spec in new}
        ids = {str(record["name"]): record["id"] for record in self.records("/ipranges")}
        for name in before.keys() - after.keys():
            self.call("DELETE", f"/ipranges/{ids[name]}")
        for name, spec in after.items():
            if name not in before:
                self.add_range(spec)
            elif spec != before[name]:
                self.call("PUT", f"/ipranges/{ids[name]}", range_record(spec))

    def change_accounts(self, old: Iterable[AccountSpec], new: Iterable[AccountSpec]) -> None:
        """Delete and add accounts; one with another password is made anew."""
        before, after = set(old), set(new)
        for account in before - after:
            self.call("DELETE", f"/accounts/{account.address}")
        self.add_accounts(sorted(after - before, key=lambda account: account.address))

    # --- single records, as an administrator types them -----------------------------------------------

    def admin(self, request: AdminRequest, port_ids: Mapping[str, int]) -> AdminAnswer:
        """Do ``request``; ``port_ids`` are the ports' ids by the scenario's names."""
        password = {"right": self._password, "wrong": self._password + "-wrong", "none": None}[
            request.password
        ]
        if request.kind == "settings":
            return self._settings(request, password)
        collection = "/ipranges" if request.kind == "ip_range" else "/ports"
        if request.operation == "add":
            return _answer(self._request("POST", collection, dict(request.values), password))
        if request.operation == "read":
            answer = self._request("GET", collection, None, password)
            return (
                _answer(answer) if answer.status_code >= 400 else self._pick(request, answer.json(), port_ids)
            )
        record = self._find(request, self.records(collection), port_ids)
        path = f"{collection}/{_ABSENT_ID if record is None else record['id']}"
        if request.operation == "delete":
            return _answer(self._request("DELETE", path, None, password))
        body = dict(request.values)
        if request.kind == "port":
            # The whole record is expected: what was not typed stays as it was in the dialog.
            body = {**{key: value for key, value in (record or {}).items() if key != "id"}, **body}
        return _answer(self._request("PUT", path, body, password))

    def _settings(self, request: AdminRequest, password: str | None) -> AdminAnswer:
        if request.operation == "read":
            return _answer(self._request("GET", "/settings", None, password))
        if request.operation == "change":
            return _answer(self._request("PUT", "/settings", dict(request.values), password))
        raise AdapterUnsupported(
            "administration", f"settings can be read and changed; there is nothing to {request.operation}"
        )

    def _pick(self, request: AdminRequest, records: list[Record], port_ids: Mapping[str, int]) -> AdminAnswer:
        record = self._find(request, records, port_ids)
        if record is None:
            return AdminAnswer(outcome="absent", message=f"no {request.kind} {request.name!r}")
        return AdminAnswer(outcome="accepted", values=_scalars(record))

    def _find(
        self, request: AdminRequest, records: Iterable[Record], port_ids: Mapping[str, int]
    ) -> Record | None:
        key = "id" if request.kind == "port" else "name"
        wanted = port_ids.get(request.name) if request.kind == "port" else request.name
        return next((record for record in records if record.get(key) == wanted), None)


def _waiting(record: Record, now: datetime) -> Waiting:
    next_try = datetime.fromisoformat(str(record["next_try"])).replace(tzinfo=UTC)
    return Waiting(
        id=str(record["id"]),
        mail_from=str(record["from"]),
        rcpt_to=tuple(record["recipients"]),
        due=next_try <= now,
    )


def _answer(response: httpx.Response) -> AdminAnswer:
    code = response.status_code
    if code < 300:
        body = response.json() if response.content else {}
        return AdminAnswer(outcome="accepted", values=_scalars(body) if isinstance(body, dict) else {})
    if code in (401, 403):
        return AdminAnswer(outcome="unauthorized", message=_words(response))
    if code == 404:
        return AdminAnswer(outcome="absent", message=_words(response))
    if code in (400, 409):
        return AdminAnswer(outcome="refused", message=_words(response))
    raise AdapterError(
        f"the administration answered {code}, which its contract does not know: {_words(response)}"
    )


def _words(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:500]
    return str(body["error"]) if isinstance(body, dict) and "error" in body else response.text[:500]


def _scalars(record: Mapping[str, Any]) -> dict[str, str | int | bool | None]:
    return {
        key: value for key, value in record.items() if value is None or isinstance(value, str | int | bool)
    }
