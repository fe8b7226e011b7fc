"""The records of the HTTP contract, as pydantic models: what is taken, what is answered, and OpenAPI.

They check types and unknown fields; meaning is checked by `checks`, for every caller of `Operations`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reference_server.addresses import address_text
from reference_server.settings import Certificate, Domain, IpRange, Port, ServerSettings
from reference_server.storage.configuration import plain
from reference_server.storage.queue import Queued

ProtocolName = Literal["smtp", "pop3", "imap"]
Security = Literal["none", "tls", "starttls_optional", "starttls_required"]

_ADDRESS = "IPv4 or IPv6, in any form; white space around it is ignored"
_EXPIRES = "UTC, 2030-01-02 03:04:05; a date alone is its midnight; empty for none"


class Body(BaseModel):
    """What a request brings: exact types, and no field that the contract does not know."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def fields(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        return self.model_dump(exclude_unset=True)


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class Change(Body):
    """A body with any subset of its fields: what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)


class PortBody(Body):
    """A TCP/IP port, whole. It opens when the server restarts."""

    protocol: ProtocolName
    address: str = Field(default="0.0.0.0", description=_ADDRESS)
    port: int = Field(description="0 to 65535; 0: any free number, to be read in /status")
    connection_security: Security = "none"
    certificate_id: int | None = Field(default=0, description="0: none")


class PortRecord(PortBody):
    """A TCP/IP port."""

    id: int


class RangeFlags(BaseModel):
    """What clients of an IP range may do; "local" is an account or domain of this server."""

    allow_smtp: bool = True
    allow_pop3: bool = True
    allow_imap: bool = True
    deliver_local_to_local: bool = True
    deliver_local_to_remote: bool = False
    deliver_remote_to_local: bool = True
    deliver_remote_to_remote: bool = False
    require_auth_local_to_local: bool = False
    require_auth_local_to_remote: bool = True
    require_auth_remote_to_local: bool = False
    require_auth_remote_to_remote: bool = True
    require_tls_for_auth: bool = False
    spam_protection: bool = Field(default=True, description="Stored; this server has none")
    virus_protection: bool = Field(default=True, description="Stored; this server has none")


class RangeBody(RangeFlags, Body):
    """An IP range: clients from lower to upper, both included. It holds for the next connection."""

    name: str = Field(description="1 to 100 characters, unique")
    lower: str = Field(description=_ADDRESS)
    upper: str = Field(description=_ADDRESS)
    priority: int = Field(default=0, description="A higher number wins")
    expires: bool = False
    expires_time: str | None = Field(default="", description=_EXPIRES)


class RangeChange(RangeFlags, Change):
    """Some fields of an IP range."""

    name: str = Field(default="", description="1 to 100 characters, unique")
    lower: str = Field(default="", description=_ADDRESS)
    upper: str = Field(default="", description=_ADDRESS)
    priority: int = Field(default=0, description="A higher number wins")
    expires: bool = False
    expires_time: str | None = Field(default="", description=_EXPIRES)


class RangeRecord(RangeBody):
    """An IP range."""

    id: int


class SettingsRecord(Change):
    """The settings; they hold at once. Some have no effect yet, and are stored."""

    host_name: str = ""
    smtp_relayer: str = Field(default="", description="Host name, IPv4 or IPv6 address; several: a|b|c")
    smtp_relayer_port: int = Field(default=0, description="0 means 25")
    smtp_relayer_connection_security: Security = "none"
    smtp_relayer_requires_authentication: bool = False
    smtp_relayer_username: str = ""
    smtp_delivery_bind_to_ip: str = Field(default="", description=f"{_ADDRESS}; empty: the system chooses")
    smtp_no_of_tries: int = 0
    smtp_minutes_between_try: int = 0
    ipv6_preferred: bool = Field(default=False, description="AAAA before A")
    max_smtp_connections: int = Field(default=0, description="Sessions at one time; 0: no limit")
    max_pop3_connections: int = Field(default=0, description="Sessions at one time; 0: no limit")
    max_imap_connections: int = Field(default=0, description="Sessions at one time; 0: no limit")
    max_message_size_kb: int = Field(default=0, description="0: no limit of one's own")
    auto_ban_on_logon_failure: bool = False
    max_invalid_logon_attempts: int = 0
    minutes_before_reset: int = 0
    minutes_to_ban: int = 0
    welcome_smtp: str = ""
    welcome_pop3: str = ""
    welcome_imap: str = ""
    allow_smtp_auth_plain: bool = False
    verify_remote_ssl_certificate: bool = False
    dns_server: str = Field(default="", description="192.0.2.1:53 or [::1]:53; empty: the system's")


class SettingsChange(SettingsRecord):
    """Some settings."""

    smtp_relayer_password: str = Field(default="", json_schema_extra={"writeOnly": True})


class CertificateBody(Body):
    """A certificate chain and its key: absolute paths of unencrypted PEM files, read at the restart."""

    name: str = Field(description="1 to 100 characters, unique")
    certificate_file: str
    private_key_file: str


class CertificateRecord(CertificateBody):
    """A certificate."""

    id: int


class DomainBody(Body):
    """A local domain; mail for an inactive one is refused."""

    name: str
    active: bool = True


class DomainChange(Change):
    """Some fields of a domain; its accounts follow its name."""

    name: str = ""
    active: bool = True


class DomainRecord(DomainBody):
    """A local domain."""

    id: int


class AccountBody(Body):
    """An account of a local domain."""

    address: str
    password: str = Field(json_schema_extra={"writeOnly": True})


class AccountRecord(Body):
    """An account of a local domain."""

    id: int
    address: str


class QueuedRecord(Body):
    """A message that waits for its next try."""

    model_config = ConfigDict(validate_by_name=True)

    id: int
    sender: str = Field(alias="from")
    recipients: list[str]
    next_try: str = Field(description="UTC, 2030-01-02 03:04:05")


class ListenerRecord(Body):
    """What became of one port at the last start or reinitialize."""

    port_id: int
    protocol: ProtocolName
    address: str
    port: int = Field(description="The number that it really listens on")
    open: bool
    error: str


class StatusRecord(Body):
    """What the server says of itself."""

    version: str
    state: str = Field(description="starting, running, reinitializing or stopping")
    processedMessages: int  # noqa: N815 - the contract's name
    sessions: dict[str, int] = Field(description="Open sessions by protocol")
    ipv6_available: bool = Field(description="Asked once, when the server started")
    generation: int = Field(description="1 after the start, one more after each reinitialize")
    listeners: list[ListenerRecord]


class Created(Body):
    """The id of the new record."""

    id: int


class Done(Body):
    """Nothing more to say."""


class ErrorAnswer(Body):
    """What is wrong: the field's name, and why."""

    error: str


def port_record(port: Port) -> dict[str, object]:
    """Return a port as the contract has it."""
    return {
        "id": port.id,
        "protocol": port.protocol.value,
        "address": address_text(port.address),
        "port": port.port,
        "connection_security": port.connection_security.value,
        "certificate_id": port.certificate_id or 0,
    }


_FLAGS = tuple(RangeFlags.model_fields)


def range_record(ip_range: IpRange) -> dict[str, object]:
    """Return an IP range as the contract has it."""
    time = ip_range.expires_time
    return {
        "id": ip_range.id,
        "name": ip_range.name,
        "lower": address_text(ip_range.lower),
        "upper": address_text(ip_range.upper),
        "priority": ip_range.priority,
        "expires": ip_range.expires,
        "expires_time": "" if time is None else time.replace(tzinfo=None).isoformat(" ", "seconds"),
        **{flag: getattr(ip_range, flag) for flag in _FLAGS},
    }


def queued_record(message: Queued) -> dict[str, object]:
    """Return a waiting message as the contract has it."""
    return {
        "id": message.id,
        "from": message.sender,
        "recipients": list(message.recipients),
        "next_try": message.next_try.replace(tzinfo=None).isoformat(" ", "seconds"),
    }


_SETTINGS = tuple(SettingsRecord.model_fields)


def settings_record(settings: ServerSettings) -> dict[str, object]:
    """Return the settings as the contract has them: without the password."""
    return {name: plain(getattr(settings, name)) for name in _SETTINGS}


def certificate_record(certificate: Certificate) -> dict[str, object]:
    """Return a certificate as the contract has it."""
    return {
        "id": certificate.id,
        "name": certificate.name,
        "certificate_file": certificate.certificate_file,
        "private_key_file": certificate.private_key_file,
    }


def domain_record(domain: Domain) -> dict[str, object]:
    """Return a domain as the contract has it."""
    return {"id": domain.id, "name": domain.name, "active": domain.active}
