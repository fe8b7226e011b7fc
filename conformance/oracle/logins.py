"""What comes of a login, from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from conformance.adapters.base import Configuration
from conformance.addresses import Address
from conformance.oracle.connections import expected_connection


@dataclass(frozen=True, slots=True)
class ExpectedLogin:
    """At stage ``connect`` the client was not served."""

    outcome: Literal["accepted", "refused", "undefined"]
    stage: Literal["connect", "auth"]
    reason: str

    def agrees(self, *, accepted: bool, stage: str) -> bool:
        """Say whether a client's result is what is expected."""
        if self.outcome == "undefined":
            return True
        return accepted == (self.outcome == "accepted") and stage == self.stage


def expected_login(
    configuration: Configuration,
    port: str,
    source: Address,
    user: str,
    password: str,
    now: datetime,
    *,
    tls: bool = False,
    at: Address | None = None,
) -> ExpectedLogin:
    """Say whether a login succeeds, by any of the three protocols; ``tls``: the session is encrypted.

    An account's address is compared without regard to case, its password exactly.
    """
    connection = expected_connection(configuration, port, source, at=at, now=now)
    if connection.outcome in ("refused", "closed"):
        return ExpectedLogin("refused", "connect", connection.reason)
    needs_tls = {spec.require_tls_for_auth for spec in connection.ranges}
    if connection.outcome == "undefined" or (len(needs_tls) > 1 and not tls):
        return ExpectedLogin("undefined", "auth", "ranges of equal priority disagree")
    if needs_tls == {True} and not tls:
        names = ", ".join(spec.name for spec in connection.ranges)
        return ExpectedLogin("refused", "auth", f"the range {names} requires TLS for authentication")
    for account in configuration.accounts:
        if account.address.lower() == user.lower():
            if account.password == password:
                return ExpectedLogin("accepted", "auth", "the password is right")
            return ExpectedLogin("refused", "auth", "the password is wrong")
    return ExpectedLogin("refused", "auth", "there is no such account")
