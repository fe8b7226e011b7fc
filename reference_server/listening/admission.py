"""The decision at the door: may this client come in? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from reference_server.addresses import IPAddress
from reference_server.listening.ip_ranges import RangeTable
from reference_server.settings import IpRange, Protocol, ServerSettings

NO_MATCHING_RANGE = "no matching range"
NOT_ALLOWED = "range does not allow {protocol}"
LIMIT_REACHED = "limit of {limit} {protocol} sessions reached"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The client comes in, and keeps ``ip_range`` as long as its session lasts."""

    ip_range: IpRange


@dataclass(frozen=True, slots=True)
class Refused:
    """The client is to be disconnected without a byte; ``reason`` is for the log."""

    reason: str
    ip_range: IpRange | None = None
    """The range that holds for the client, if one does."""


Decision = Admitted | Refused


def decide(
    peer: IPAddress,
    protocol: Protocol,
    table: RangeTable,
    open_sessions: Mapping[Protocol, int],
    settings: ServerSettings,
    now: datetime,
) -> Decision:
    """Decide about a client at ``peer`` that connected to a port of ``protocol`` at ``now`` (aware).

    ``open_sessions`` counts the sessions of each protocol, this client not among them. A limit of 0 is none.
    """
    ip_range = table.find(peer, now)
    if ip_range is None:
        return Refused(NO_MATCHING_RANGE)
    if not ip_range.allows(protocol):
        return Refused(NOT_ALLOWED.format(protocol=protocol), ip_range)
    limit = settings.connection_limit(protocol)
    if limit and open_sessions.get(protocol, 0) >= limit:
        return Refused(LIMIT_REACHED.format(limit=limit, protocol=protocol), ip_range)
    return Admitted(ip_range)
