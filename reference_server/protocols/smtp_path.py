"""Paths of MAIL and RCPT (RFC 5321 section 4.1.2) and the names of EHLO (section 4.1.3). Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from reference_server import limits

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
_LOCAL_PART = rf"(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_LITERAL = r"\[[\x21-\x5a\x5e-\x7e]+\]"
_ROUTE = rf"@{_DOMAIN}(?:,@{_DOMAIN})*:"
_PATH = re.compile(
    rf"<(?:{_ROUTE})?(?P<local>{_LOCAL_PART})(?:@(?P<domain>{_DOMAIN}|{_LITERAL}))?>(?P<rest>(?: .*)?)"
)
_NULL = re.compile(r"<>(?P<rest>(?: .*)?)")
_NAME = re.compile(r"[\x21-\x7e]+")

NULL_SENDER = "<>"
"""How the null reverse-path is written where an empty text would mean "none yet"."""


def parse_path(text: str) -> tuple[str, str] | None:
    """Return the mailbox of ``text``, a path in angle brackets, and what follows it; None if it is none.

    A source route is accepted and ignored (RFC 5321 section 4.1.1.3, appendix C). The null path gives
    `NULL_SENDER`. A mailbox without domain (``<postmaster>``, section 4.5.1) is returned as it is.
    """
    null = _NULL.fullmatch(text)
    if null:
        return NULL_SENDER, null["rest"].strip()
    match = _PATH.fullmatch(text)
    if match is None:
        return None
    local, domain = match["local"], match["domain"]
    if len(local) > limits.SMTP_LOCAL_PART or len(domain or "") > limits.SMTP_DOMAIN:
        return None
    if len(text) - len(match["rest"]) > limits.SMTP_PATH:
        return None
    if domain is not None and domain.startswith("[") and not is_literal(domain):
        return None
    address = local if domain is None else f"{_plain(local)}@{domain.rstrip('.')}"
    return address, match["rest"].strip()


def is_name(text: str) -> bool:
    """Say whether a client may call itself ``text`` in EHLO: a name in any spelling, or a right literal.

    Names are not checked against DNS or grammar: RFC 5321 section 4.1.4 forbids to refuse mail for it.
    """
    if text.startswith("["):
        return is_literal(text)
    return _NAME.fullmatch(text) is not None and len(text) <= limits.SMTP_DOMAIN


def is_literal(text: str) -> bool:
    """Say if ``text`` is an address literal: ``[192.0.2.1]``, ``[IPv6:::1]`` (RFC 5321 section 4.1.3)."""
    inner = text[1:-1]
    try:
        if text[-1:] != "]":
            return False
        if inner[:5].lower() == "ipv6:":
            return "%" not in inner and IPv6Address(inner[5:]) is not None
        return IPv4Address(inner) is not None
    except ValueError:
        return False


def domain_of(address: str) -> str:
    """Return the domain of a mailbox, lower case; empty when it has none."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


def _plain(local_part: str) -> str:
    """Return a quoted local part without needless quotes: both forms name one mailbox (section 4.1.2)."""
    if not local_part.startswith('"'):
        return local_part
    content = re.sub(r"\\(.)", r"\1", local_part[1:-1])
    return content if re.fullmatch(rf"{_ATOM}(?:\.{_ATOM})*", content) else local_part
