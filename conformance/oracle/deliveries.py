"""What comes of one recipient of a message, from the configuration: accepted, 550 or 530."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from conformance.adapters.base import Configuration, Direction, RangeSpec
from conformance.addresses import Address
from conformance.oracle.connections import ExpectedConnection, expected_connection

Decision = tuple[str, str]
_ACCEPTED = "250"


@dataclass(frozen=True, slots=True)
class ExpectedDelivery:
    """What the answer to RCPT is; at stage ``connect`` the client did not get that far.

    What happens to an accepted message for a remote recipient after RCPT is not this oracle's question.
    """

    outcome: Literal["accepted", "rejected", "undefined"]
    stage: Literal["connect", "rcpt"]
    code: str
    """``250``, ``550`` or ``530``; "" at stage ``connect``, or when undefined."""
    reason: str
    direction: Direction | None = None

    def agrees(self, *, accepted: bool, stage: str, code: str) -> bool:
        """Say whether a client's result is what is expected.

        A message for a remote recipient that passed RCPT agrees whatever became of it at DATA.
        """
        if self.outcome == "undefined":
            return True
        if self.outcome == "rejected":
            return not accepted and stage == self.stage and code.startswith(self.code)
        remote = self.direction in ("local_to_remote", "remote_to_remote")
        return accepted or (remote and stage == "data")


def local_domains(configuration: Configuration) -> frozenset[str]:
    """Return the domains of this server: those of its accounts, in lower case."""
    return frozenset(_domain(account.address) for account in configuration.accounts)


def direction(configuration: Configuration, mail_from: str, rcpt_to: str) -> Direction:
    """Return where sender and recipient are; the null sender is remote (it has no domain)."""
    domains = local_domains(configuration)
    sender = bool(mail_from) and _domain(mail_from) in domains
    recipient = _domain(rcpt_to) in domains
    if sender:
        return "local_to_local" if recipient else "local_to_remote"
    return "remote_to_local" if recipient else "remote_to_remote"


def expected_delivery(
    configuration: Configuration,
    port: str,
    source: Address,
    mail_from: str,
    rcpt_to: str,
    authenticated: bool,
    now: datetime,
    *,
    at: Address | None = None,
) -> ExpectedDelivery:
    """Say what RCPT answers to one recipient, for a client that is (not) authenticated.

    Whether the client could log in at all is `logins.expected_login`'s question.
    """
    connection = expected_connection(configuration, port, source, at=at, now=now)
    if connection.outcome in ("refused", "closed"):
        return ExpectedDelivery("rejected", "connect", "", connection.reason)
    way = direction(configuration, mail_from, rcpt_to)
    exists = _exists(configuration, rcpt_to)
    if connection.outcome == "undefined":
        return ExpectedDelivery("undefined", "rcpt", "", connection.reason, way)
    decisions = _decisions(connection, way, authenticated, exists)
    if len({code for code, _reason in decisions}) > 1:
        names = ", ".join(spec.name for spec in connection.ranges)
        return ExpectedDelivery(
            "undefined", "rcpt", "", f"the ranges {names} of equal priority disagree", way
        )
    code, reason = decisions[0]
    return ExpectedDelivery("accepted" if code == _ACCEPTED else "rejected", "rcpt", code, reason, way)


def _decisions(
    connection: ExpectedConnection, way: Direction, authenticated: bool, exists: bool
) -> list[Decision]:
    if not connection.ranges:
        return [_without_range(way, exists)]
    return [_by_range(spec, way, authenticated, exists) for spec in connection.ranges]


def _by_range(spec: RangeSpec, way: Direction, authenticated: bool, exists: bool) -> Decision:
    if way not in spec.deliver:
        return "550", f"the range {spec.name} does not allow {way}"
    if way in spec.require_auth and not authenticated:
        return "530", f"the range {spec.name} requires authentication for {way}"
    if not exists:
        return "550", "there is no such account"
    return _ACCEPTED, f"the range {spec.name} allows {way}"


def _without_range(way: Direction, exists: bool) -> Decision:
    if not exists:
        return "550", "there is no such account"
    return _ACCEPTED, f"no ranges are configured: {way} is allowed"


def _exists(configuration: Configuration, rcpt_to: str) -> bool:
    if _domain(rcpt_to) not in local_domains(configuration):
        return True  # not ours to know
    return any(account.address.lower() == rcpt_to.lower() for account in configuration.accounts)


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()
