"""Configuration values: ports, IP ranges, certificates, accounts, settings. Frozen, validated, no I/O.

Whoever builds one from foreign text goes through `admin.checks`, which raises `InvalidField` naming the
field; a value that exists is valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reference_server.addresses import IPAddress


class InvalidField(ValueError):  # noqa: N818 - it names what is wrong, and is an error of the user's
    """A field of the configuration is wrong: ``field`` names it, ``message`` says why and what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Protocol(StrEnum):
    """What a TCP/IP port speaks."""

    SMTP = "smtp"
    POP3 = "pop3"
    IMAP = "imap"


class ConnectionSecurity(StrEnum):
    """TLS on a TCP/IP port."""

    NONE = "none"
    TLS = "tls"
    STARTTLS_OPTIONAL = "starttls_optional"
    STARTTLS_REQUIRED = "starttls_required"


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP/IP port. ``port`` 0 asks the system for a free number (an extension of the contract)."""

    id: int
    protocol: Protocol
    address: IPAddress
    port: int
    connection_security: ConnectionSecurity = ConnectionSecurity.NONE
    certificate_id: int | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its key, as PEM files."""

    id: int
    name: str
    certificate_file: str
    private_key_file: str


@dataclass(frozen=True, slots=True)
class IpRange:
    """Clients from ``lower`` to ``upper``, both inclusive and of one family, and what they may do.

    The defaults of the flags are those of the HTTP contract. ``expires_time`` is aware, in UTC.
    """

    id: int
    name: str
    priority: int
    lower: IPAddress
    upper: IPAddress
    expires: bool = False
    expires_time: datetime | None = None
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
    spam_protection: bool = True
    virus_protection: bool = True

    def allows(self, protocol: Protocol) -> bool:
        """Say whether a client of this range may use ``protocol``."""
        return {
            Protocol.SMTP: self.allow_smtp,
            Protocol.POP3: self.allow_pop3,
            Protocol.IMAP: self.allow_imap,
        }[protocol]

    def expired(self, now: datetime) -> bool:
        """Say whether the range no longer matches at ``now`` (aware)."""
        return self.expires and self.expires_time is not None and now >= self.expires_time


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything below ``/settings``; names and meaning are those of the HTTP contract. All live at once."""

    host_name: str = "localhost"
    smtp_relayer: str = ""
    smtp_relayer_port: int = 25
    smtp_relayer_connection_security: ConnectionSecurity = ConnectionSecurity.NONE
    smtp_relayer_requires_authentication: bool = False
    smtp_relayer_username: str = ""
    smtp_relayer_password: str = ""
    smtp_delivery_bind_to_ip: str = ""
    smtp_no_of_tries: int = 4
    smtp_minutes_between_try: int = 60
    ipv6_preferred: bool = False
    max_smtp_connections: int = 0
    max_pop3_connections: int = 0
    max_imap_connections: int = 0
    max_message_size_kb: int = 20480
    auto_ban_on_logon_failure: bool = True
    max_invalid_logon_attempts: int = 3
    minutes_before_reset: int = 30
    minutes_to_ban: int = 60
    welcome_smtp: str = ""
    welcome_pop3: str = ""
    welcome_imap: str = ""
    allow_smtp_auth_plain: bool = True
    verify_remote_ssl_certificate: bool = True
    dns_server: str = ""

    def connection_limit(self, protocol: Protocol) -> int:
        """Return the number of sessions of ``protocol`` at one time; 0 = no limit."""
        return {
            Protocol.SMTP: self.max_smtp_connections,
            Protocol.POP3: self.max_pop3_connections,
            Protocol.IMAP: self.max_imap_connections,
        }[protocol]


@dataclass(frozen=True, slots=True)
class Domain:
    """A local domain; mail for an inactive one is refused."""

    id: int
    name: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class Account:
    """A local mailbox. ``address`` is lower case; the password is stored hashed and is not here."""

    id: int
    address: str
