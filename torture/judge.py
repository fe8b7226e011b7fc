"""From what was promised and what arrived to the verdict. Pure."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to submit a message."""

    key: str
    """As in its header: the message's number, and which attempt it is."""
    remote: tuple[str, ...]
    local: tuple[str, ...]
    acknowledged: bool
    """The client read the 250 after the final dot."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What arrived for one recipient, at the smart host or in a mailbox."""

    key: str
    recipient: str
    intact: bool
    """Every octet is as it was submitted."""
    run: int = 0
    """Which process of the server brought it: they are counted from 1."""
    at: float = 0.0
    """When the smart host had its final dot."""
    trace_id: str = ""
    """As in the server's Received field, and in its log."""
    cut: bool = False
    """The server's connection ended without a goodbye."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process of the server."""

    number: int
    killed_at: float | None
    """None: it was stopped in order."""
    delivered: Collection[str] = ()
    """Trace ids of the messages that it had committed as delivered: it said so in its log."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of everything."""

    lost: tuple[str, ...] = ()
    """Acknowledged, and not there: attempt and recipient."""
    damaged: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    """Arrived, and nobody had sent it there: a report of failure, say."""
    explained: tuple[str, ...] = ()
    """Came again, and the smart host's record says why."""
    unexplained: tuple[str, ...] = ()
    unacknowledged_arrived: int = 0
    """Attempts without a 250 whose message came nevertheless, as it may."""
    longest_gap: float = 0.0
    """Seconds at most from a final dot that was not committed to the kill."""
    by_reason: dict[str, int] = field(default_factory=dict)
    """Why duplicates are unexplained."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.damaged or self.strange or self.unexplained)


def judge(
    attempts: Sequence[Attempt],
    relayed: Sequence[Copy],
    stored: Sequence[Copy],
    runs: Sequence[Run],
    strangers: Sequence[str] = (),
) -> Verdict:
    """Account for every attempt: its copies at the smart host, and in the mailboxes."""
    wanted_remote = {(each.key, one) for each in attempts for one in each.remote}
    wanted_local = {(each.key, one) for each in attempts for one in each.local}
    at_host, in_box = _by_recipient(relayed), _by_recipient(stored)
    promised = [each for each in attempts if each.acknowledged]
    lost = [
        f"{each.key} for {one}"
        for each in promised
        for recipients, there in ((each.remote, at_host), (each.local, in_box))
        for one in recipients
        if (each.key, one) not in there
    ]
    strange = [
        f"{key} for {one}"
        for key, one in [*(at_host.keys() - wanted_remote), *(in_box.keys() - wanted_local)]
    ]
    explained, reasons, gaps = [], [], [0.0]
    known = {run.number: run for run in runs}
    for (key, recipient), copies in at_host.items():
        for first, again in itertools.pairwise(copies):
            run = known[first.run]
            reason = unexplained(first, again, run)
            text = f"{key} for {recipient}"
            if reason:
                reasons.append((text, reason))
            else:
                explained.append(text)
                gaps.append((run.killed_at or first.at) - first.at)
    # A mailbox is filled in one transaction with everything else: there is no excuse.
    twice = [
        (f"{key} for {one}", "in a mailbox") for (key, one), copies in in_box.items() for _ in copies[1:]
    ]
    arrived = {key for key, _ in (*at_host, *in_box)}
    by_reason: dict[str, int] = defaultdict(int)
    for _, reason in (*reasons, *twice):
        by_reason[reason] += 1
    return Verdict(
        lost=tuple(lost),
        damaged=tuple(f"{each.key} for {each.recipient}" for each in (*relayed, *stored) if not each.intact),
        strange=(*strange, *strangers),
        explained=tuple(explained),
        unexplained=tuple(f"{text}: {reason}" for text, reason in (*reasons, *twice)),
        unacknowledged_arrived=sum(each.key in arrived for each in attempts if not each.acknowledged),
        longest_gap=max(gaps),
        by_reason=dict(by_reason),
    )


def unexplained(first: Copy, again: Copy, run: Run) -> str:
    """Return why the second copy should not have come; "" when the first one explains it.

    The smart host had the final dot of the first one (else it is no copy), the connection was cut by the
    kill, and until then the process had not committed that it was delivered.
    """
    if run.killed_at is None:
        return "the process that sent the first copy was not killed"
    if again.run <= first.run:
        return "one process sent both"
    if not first.cut:
        return "the connection of the first copy ended in order"
    if first.trace_id in run.delivered:
        return "the first copy had been committed as delivered"
    return ""


def _by_recipient(copies: Sequence[Copy]) -> dict[tuple[str, str], list[Copy]]:
    found: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    for copy in sorted(copies, key=lambda one: (one.run, one.at)):
        found[copy.key, copy.recipient].append(copy)
    return found
