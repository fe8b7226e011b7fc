"""Mailbox names: modified UTF-7 (RFC 3501 section 5.1.3), INBOX in any case, the patterns of LIST. Pure."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from reference_server import limits
from reference_server.protocols.imap.syntax import No

DELIMITER = "/"
INBOX = "INBOX"


def decoded(octets: bytes) -> str:
    """Return the name that a client wrote. Raises No when it is not modified UTF-7, or no possible name."""
    try:
        text = octets.decode("ascii")
        name = re.sub(r"&([A-Za-z0-9+,]*)-", _shifted, text)
    except (UnicodeDecodeError, Base64Error):
        raise No("[CANNOT] mailbox names are written in modified UTF-7") from None
    if len(name) > limits.MAILBOX_NAME:
        raise No("[CANNOT] the mailbox name is too long")
    first, delimiter, rest = name.partition(DELIMITER)
    return INBOX + delimiter + rest if first.upper() == INBOX else name


def _shifted(found: re.Match[str]) -> str:
    if not found[1]:
        return "&"
    base64 = found[1].replace(",", "/")
    return b64decode(base64 + "=" * (-len(base64) % 4), validate=True).decode("utf-16-be")


def encoded(name: str) -> bytes:
    """Return ``name`` as it goes to a client, in modified UTF-7."""

    def shift(found: re.Match[str]) -> str:
        base64 = b64encode(found[0].encode("utf-16-be")).decode("ascii").rstrip("=")
        return f"&{base64.replace('/', ',')}-"

    return re.sub(r"[^\x20-\x7e]+", shift, name.replace("&", "&-")).encode("ascii")


def new_name(octets: bytes) -> str:
    """Return the name of a mailbox to be made. Raises No when it cannot be one."""
    name = decoded(octets).removesuffix(DELIMITER)
    parts = name.split(DELIMITER)
    if not all(parts) or re.search(r"[\x00-\x1f\x7f%*]", name) or any(part != part.strip() for part in parts):
        raise No("[CANNOT] not a possible mailbox name")
    return name


def parents(name: str) -> list[str]:
    """Return the names above ``name``, the uppermost first."""
    parts = name.split(DELIMITER)
    return [DELIMITER.join(parts[:count]) for count in range(1, len(parts))]


def matcher(reference: str, pattern: str) -> re.Pattern[str]:
    """Return what ``LIST reference pattern`` matches: ``*`` anything, ``%`` anything but the delimiter."""
    whole = reference + pattern
    if whole.split(DELIMITER)[0].upper() == INBOX:
        whole = INBOX + whole[len(INBOX) :]
    # Runs of wildcards mean the same as one, and cost the matcher dearly.
    whole = re.sub(r"[*%]*\*[*%]*", "*", whole)
    whole = re.sub(r"%+", "%", whole)
    parts = {"*": ".*", "%": f"[^{DELIMITER}]*"}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in whole), re.DOTALL)
