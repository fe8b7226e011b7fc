"""From what an administrator typed to valid configuration values. Pure.

Each function takes fields by their names of the HTTP contract and raises `InvalidField` naming the first
one that is wrong, and why. White space around is ignored; addresses lose their spelling: what is kept is
the address (RFC 5952 text in the settings).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reference_server.addresses import IPAddress, address_text, parse_address, with_port
from reference_server.settings import (
    Certificate,
    ConnectionSecurity,
    InvalidField,
    IpRange,
    Port,
    Protocol,
    ServerSettings,
)
from reference_server.storage.schema import RANGE_FLAGS

Fields = Mapping[str, object]

NAME_LENGTH = 100
"""Characters of a name (the HTTP contract's limit for ranges)."""
TEXT_LENGTH = 1000
"""Characters of any other text: a greeting line or a list of relay hosts fits well."""
PATH_LENGTH = 4096
PASSWORD_LENGTH = 512
INTEGER = 2**31 - 1
"""What an integer column holds on every database."""
LOCAL_PART_LENGTH = 64  # RFC 5321 section 4.5.3.1.1
DOMAIN_LENGTH = 253  # RFC 1035 section 2.3.4: 255 octets with the length bytes

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+\Z")  # RFC 5322 section 3.2.3
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")


def text(field: str, value: object, *, longest: int = TEXT_LENGTH, empty: bool = True) -> str:
    """Return a text without white space around it, and without control characters in it.

    A line break in a greeting, say, would be a reply of its own.
    """
    if not isinstance(value, str):
        raise InvalidField(field, "must be text")
    stripped = value.strip()
    if not stripped and not empty:
        raise InvalidField(field, "must not be empty")
    if len(stripped) > longest:
        raise InvalidField(field, f"has {len(stripped)} characters; at most {longest} are allowed")
    if found := _CONTROL.search(stripped):
        raise InvalidField(field, f"contains the character U+{ord(found.group()):04X}; write plain text")
    return stripped


def flag(field: str, value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise InvalidField(field, "must be true or false")
    return value


def number(field: str, value: object, lowest: int, highest: int) -> int:
    """Return an integer from ``lowest`` to ``highest``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidField(field, "must be an integer")
    if not lowest <= value <= highest:
        raise InvalidField(field, f"must be from {lowest} to {highest}")
    return value


def address(field: str, value: object) -> IPAddress:
    """Return an IPv4 or IPv6 address, written in any form."""
    try:
        return parse_address(text(field, value))
    except InvalidField:
        raise
    except ValueError as error:
        raise InvalidField(field, str(error)) from None


def moment(field: str, value: object) -> datetime | None:
    """Return a time of UTC, written ``2030-01-02 03:04:05`` (a date alone: its midnight); None for empty."""
    written = "" if value is None else text(field, value)
    if not written:
        return None
    for form in _TIME_FORMATS:
        try:
            return datetime.strptime(written, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise InvalidField(field, f"{written[:40]!r} is no time; write it as 2030-01-02 03:04:05, in UTC")


def choice(field: str, value: object, allowed: Collection[str]) -> str:
    """Return one of the words ``allowed``."""
    if not isinstance(value, str) or value not in allowed:
        raise InvalidField(field, f"must be one of {', '.join(allowed)}")
    return value


def host_name(field: str, value: object, *, empty: bool = False) -> str:
    """Return a host name: letters, digits and hyphens between dots; the last label is no number."""
    name = text(field, value, longest=DOMAIN_LENGTH, empty=empty)
    labels = name.removesuffix(".").split(".")
    if name and (not all(_LABEL.match(label) for label in labels) or labels[-1].isdigit()):
        raise InvalidField(
            field,
            f"{name[:80]!r} is no host name and no IP address; "
            "write a name such as mail.example.com (one with other letters in its xn-- form)",
        )
    return name


def domain_name(field: str, value: object) -> str:
    """Return the name of a mail domain, in lower case."""
    return host_name(field, value).removesuffix(".").lower()


def account_address(field: str, value: object, domain: str) -> str:
    """Return the mail address of an account of ``domain``, in lower case."""
    whole = text(field, value).lower()
    local_part, at, host = whole.rpartition("@")
    if not at or not all(_ATOM.match(atom) for atom in local_part.split(".")):
        raise InvalidField(field, f"{whole[:80]!r} is no mail address; write one such as user@{domain}")
    if len(local_part) > LOCAL_PART_LENGTH:
        raise InvalidField(field, f"has more than {LOCAL_PART_LENGTH} characters before the @")
    if host != domain:
        raise InvalidField(field, f"{whole[:80]!r} is outside the domain {domain}")
    return whole


def password(field: str, value: object) -> str:
    """Return a password: any characters but NUL, which no mail protocol can carry."""
    if not isinstance(value, str):
        raise InvalidField(field, "must be text")
    if not value:
        raise InvalidField(field, "must not be empty")
    if len(value) > PASSWORD_LENGTH:
        raise InvalidField(field, f"has more than {PASSWORD_LENGTH} characters")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidField(field, "contains a character that cannot be sent")
    return value


def relay_hosts(field: str, value: object) -> str:
    """Return the relay hosts, separated by ``|``: host names and IP addresses; empty = none."""
    written = text(field, value)
    return "|".join(_relay_host(field, part) for part in written.split("|")) if written else ""


def _relay_host(field: str, part: str) -> str:
    host = part.strip()
    if not host:
        raise InvalidField(field, "a host is missing beside a |")
    if ":" in host or "[" in host:
        inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            return address_text(parse_address(re.sub("^ipv6:", "", inner, flags=re.IGNORECASE)))
        except ValueError:
            raise InvalidField(
                field,
                f"{host[:80]!r} is no host name and no IP address; a port number goes into smtp_relayer_port",
            ) from None
    try:
        return address_text(parse_address(host))
    except ValueError:
        return host_name(field, host)


def optional_address(field: str, value: object) -> str:
    """Return the text of an IPv4 or IPv6 address, or nothing."""
    written = text(field, value)
    return address_text(address(field, written)) if written else ""


def resolver(field: str, value: object) -> str:
    """Return the address of a DNS server, with its port if one is given: ``192.0.2.1:53``, ``[::1]:53``."""
    written = text(field, value)
    if not written:
        return ""
    try:
        return address_text(parse_address(written))
    except ValueError:
        host, colon, digits = written.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        server = parse_address(host[1:-1] if bracketed else host)
    except ValueError:
        server = None
    if server is None or not colon or bracketed != (server.version == 6) or not _is_port(digits):
        raise InvalidField(field, f"{written[:80]!r} is no address with port; write 192.0.2.1:53 or [::1]:53")
    return with_port(server, int(digits))


def _is_port(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65535


def port(fields: Fields, certificates: Collection[int], port_id: int = 0) -> Port:
    """Return the port of a whole record; ``certificates`` are the ids that there are."""
    _known(fields, ("protocol", "address", "port", "connection_security", "certificate_id"))
    _present(fields, ("protocol", "port"))
    words = [protocol.value for protocol in Protocol]
    securities = [security.value for security in ConnectionSecurity]
    security = ConnectionSecurity(
        choice("connection_security", fields.get("connection_security", "none"), securities)
    )
    certificate = number("certificate_id", fields.get("certificate_id") or 0, 0, INTEGER)
    if certificate and certificate not in certificates:
        raise InvalidField("certificate_id", f"there is no certificate {certificate}")
    if security is not ConnectionSecurity.NONE and not certificate:
        raise InvalidField("certificate_id", f"{security.value} needs a certificate; add one and name its id")
    return Port(
        id=port_id,
        protocol=Protocol(choice("protocol", fields["protocol"], words)),
        address=address("address", fields.get("address", "0.0.0.0")),
        port=number("port", fields["port"], 0, 65535),
        connection_security=security,
        certificate_id=certificate or None,
    )


_RANGE_FIELDS: dict[str, Callable[[str, object], object]] = {
    "name": lambda field, value: text(field, value, longest=NAME_LENGTH, empty=False),
    "priority": lambda field, value: number(field, value, -INTEGER, INTEGER),
    "lower": address,
    "upper": address,
    "expires": flag,
    "expires_time": moment,
    **dict.fromkeys(RANGE_FLAGS, flag),
}


def ip_range(fields: Fields, base: IpRange | None = None) -> IpRange:
    """Return an IP range: a new one, or ``base`` with some fields changed."""
    _known(fields, _RANGE_FIELDS)
    if base is None:
        _present(fields, ("name", "lower", "upper"))
    values: dict[str, Any] = {name: _RANGE_FIELDS[name](name, value) for name, value in fields.items()}
    made = IpRange(**{"id": 0, "priority": 0, **values}) if base is None else replace(base, **values)
    if made.lower.version != made.upper.version:
        raise InvalidField(
            "upper" if "upper" in fields else "lower",
            f"lower ({made.lower}) and upper ({made.upper}) must be of one family, both IPv4 or both IPv6",
        )
    if int(made.lower) > int(made.upper):
        raise InvalidField(
            "lower" if "lower" in fields else "upper",
            f"lower ({made.lower}) is above upper ({made.upper}); exchange them",
        )
    if made.expires and made.expires_time is None:
        raise InvalidField(
            "expires_time", "is needed when the range expires; write 2030-01-02 03:04:05 (UTC)"
        )
    return made


def certificate(fields: Fields) -> Certificate:
    """Return a new certificate; whether the files can be used is for `Operations` to try."""
    names = ("name", "certificate_file", "private_key_file")
    _known(fields, names)
    _present(fields, names)
    return Certificate(
        id=0,
        name=text("name", fields["name"], longest=NAME_LENGTH, empty=False),
        certificate_file=_file("certificate_file", fields["certificate_file"]),
        private_key_file=_file("private_key_file", fields["private_key_file"]),
    )


def _file(field: str, value: object) -> str:
    path = text(field, value, longest=PATH_LENGTH, empty=False)
    if not Path(path).is_absolute():
        raise InvalidField(
            field, "must be an absolute path: the server may be started from another directory"
        )
    return path


def _count(highest: int, lowest: int = 0) -> Callable[[str, object], int]:
    return lambda field, value: number(field, value, lowest, highest)


_SECURITIES = [security.value for security in ConnectionSecurity]
_SETTINGS: dict[str, Callable[[str, object], object]] = {
    "host_name": host_name,
    "smtp_relayer": relay_hosts,
    "smtp_relayer_port": _count(65535),
    "smtp_relayer_connection_security": lambda field, value: ConnectionSecurity(
        choice(field, value, _SECURITIES)
    ),
    "smtp_relayer_requires_authentication": flag,
    "smtp_relayer_username": text,
    "smtp_relayer_password": lambda field, value: "" if value == "" else password(field, value),
    "smtp_delivery_bind_to_ip": optional_address,
    "smtp_no_of_tries": _count(INTEGER),
    "smtp_minutes_between_try": _count(INTEGER),
    "ipv6_preferred": flag,
    "max_smtp_connections": _count(INTEGER),
    "max_pop3_connections": _count(INTEGER),
    "max_imap_connections": _count(INTEGER),
    "max_message_size_kb": _count(INTEGER),
    "auto_ban_on_logon_failure": flag,
    "max_invalid_logon_attempts": _count(INTEGER),
    "minutes_before_reset": _count(INTEGER),
    "minutes_to_ban": _count(INTEGER),
    "welcome_smtp": text,
    "welcome_pop3": text,
    "welcome_imap": text,
    "allow_smtp_auth_plain": flag,
    "verify_remote_ssl_certificate": flag,
    "dns_server": resolver,
}
assert set(_SETTINGS) == {field.name for field in fields_of(ServerSettings)}


def settings(fields: Fields) -> dict[str, Any]:
    """Return some settings as `ServerSettings` has them."""
    _known(fields, _SETTINGS)
    return {name: _SETTINGS[name](name, value) for name, value in fields.items()}


def _known(fields: Fields, known: Collection[str]) -> None:
    for name in fields:
        if name not in known:
            raise InvalidField(name, f"is no field of this record; it has {', '.join(known)}")


def _present(fields: Fields, needed: Collection[str]) -> None:
    for name in needed:
        if name not in fields:
            raise InvalidField(name, "is missing")
