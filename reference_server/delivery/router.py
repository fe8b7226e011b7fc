"""May this recipient have mail from this client? Pure: decided at RCPT, returned with its reason.

The order is that of the documented server: first whether the range allows the direction (550), then whether
it wants authentication (530), then whether a local recipient exists (550).
"""

from __future__ import annotations

from dataclasses import dataclass

from reference_server.settings import IpRange


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is known of a transaction when a recipient is decided."""

    sender_local: bool
    """The sender's domain is one of ours; the null sender's is not."""
    recipient_local: bool
    """The recipient's domain is one of ours."""
    recipient_known: bool
    """The recipient is an account; meaningless for a remote one."""
    authenticated: bool


@dataclass(frozen=True, slots=True)
class Accept:
    """The recipient is accepted: stored here (``local``) or to be sent to another server."""

    local: bool


@dataclass(frozen=True, slots=True)
class Reject:
    """The recipient is refused with ``code`` and ``text`` (enhanced status code first, RFC 3463)."""

    code: int
    text: str

    @property
    def reply(self) -> str:
        """Return the reply line."""
        return f"{self.code} {self.text}"


Decision = Accept | Reject


def decide(ip_range: IpRange, envelope: Envelope) -> Decision:
    """Decide one recipient for a client of ``ip_range``."""
    allowed, needs_authentication = _permission(ip_range, envelope)
    sender = "local" if envelope.sender_local else "remote"
    recipient = "local" if envelope.recipient_local else "remote"
    if not allowed:
        return Reject(
            550, f"5.7.1 Delivery from {sender} sender to {recipient} recipient is not allowed for you"
        )
    if needs_authentication and not envelope.authenticated:
        # RFC 4954 section 6
        return Reject(530, "5.7.0 Authentication required")
    if envelope.recipient_local and not envelope.recipient_known:
        # RFC 3463 section 3.2
        return Reject(550, "5.1.1 No such user here")
    return Accept(local=envelope.recipient_local)


def _permission(ip_range: IpRange, envelope: Envelope) -> tuple[bool, bool]:
    """Return whether the direction is allowed, and whether it needs authentication."""
    match envelope.sender_local, envelope.recipient_local:
        case True, True:
            return ip_range.deliver_local_to_local, ip_range.require_auth_local_to_local
        case True, False:
            return ip_range.deliver_local_to_remote, ip_range.require_auth_local_to_remote
        case False, True:
            return ip_range.deliver_remote_to_local, ip_range.require_auth_remote_to_local
        case _:
            return ip_range.deliver_remote_to_remote, ip_range.require_auth_remote_to_remote
