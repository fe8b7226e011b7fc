"""One run of the torture: everything started, killed as planned, drained, and accounted for."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torture import hop, judge
from torture.hop import Hop
from torture.judge import Run, Verdict
from torture.plan import Kill, Plan
from torture.site import ServerFaultError, Site
from torture.submit import Ledger, Submitter

PATIENCE = 5.0
"""Seconds that a kill waits for its events; then it comes without them."""
DRAIN = 120.0
"""Seconds for the queue to become empty after the last kill."""
_STILL = 2.0
"""Seconds without any change of the queue after which what waits is tried again."""


class TimeIsUpError(RuntimeError):
    """The run took longer than it may."""


@dataclass(slots=True)
class Summary:
    """What is printed."""

    seed: int
    messages: int
    planned: int
    """Kills that the plan has."""
    kills: int = 0
    acknowledged: int = 0
    attempts: int = 0
    kills_while_starting: int = 0
    kills_while_sending: int = 0
    """With a connection to the smart host open."""
    kills_without_events: int = 0
    """Nothing had happened for `PATIENCE`."""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    """What the server did besides: it ended by itself, refused a message, left some in its queue."""
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def good(self) -> bool:
        whole = self.kills == self.planned and self.acknowledged == self.messages
        return whole and self.verdict.good and not self.faults

    def as_record(self) -> dict[str, Any]:
        return {**asdict(self), "good": self.good}


class Storm:
    """One run. ``progress`` is told of the summary whenever something was counted."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        fault: str | None,
        limit: float,
        progress: Callable[[Summary], None] = lambda _summary: None,
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._began = time.monotonic()
        self._deadline = self._began + limit
        self._never = threading.Event()
        self.summary = Summary(plan.seed, len(plan.items), len(plan.kills))
        self._ledger = Ledger(plan)
        self._hop = Hop(self._ledger.dot)
        self._site = Site(folder, fault)
        self._submitters = [Submitter(number, self._site, self._ledger) for number in range(plan.submitters)]

    def run(self) -> Summary:
        """Do it all; nothing is left behind."""
        self._hop.open()
        try:
            self._site.prepare(self._hop.port)
            self._hop.settle()
            for submitter in self._submitters:
                submitter.start()
            for number, kill in enumerate(self._plan.kills):
                self._ledger.release(number)
                self._one_life(kill)
            self._last_life()
        except (ServerFaultError, TimeIsUpError, TimeoutError) as error:
            self.summary.faults.append(str(error))
            self._site.close()
            self._judge()
        finally:
            self._site.close()
            self._end_submitters()
            self._hop.close()
        return self.summary

    def _one_life(self, kill: Kill) -> None:
        """Start a process, and kill it when the plan says."""
        process = self._site.start()
        if kill.events is None:
            self._never.wait(kill.wait)
            if not process.has_listened:
                self.summary.kills_while_starting += 1
        else:
            self._site.listening()
            wanted = self._ledger.events + kill.events
            if not self._ledger.wait_for(lambda: self._ledger.events >= wanted, PATIENCE):
                self.summary.kills_without_events += 1
            self._never.wait(kill.wait)
        self.summary.kills_while_sending += self._hop.busy
        process.kill()
        self.summary.kills += 1
        self._hop.settle()
        self._count()

    def _last_life(self) -> None:
        """Let everything that is left be submitted and sent, and look what arrived."""
        self._ledger.release(len(self._plan.kills))
        self._site.start()
        self._site.listening()
        while self._ledger.acknowledged < len(self._plan.items) and not self._ledger.over:
            self._ledger.wait_for(lambda: self._ledger.acknowledged == len(self._plan.items), 0.2)
            self._count()
        self._drain()
        copies = hop.stored(self._site.pop3_port(), self._plan.items)
        self._site.process.stop()
        self._hop.settle()
        self._judge(*copies)

    def _drain(self) -> None:
        end = time.monotonic() + DRAIN
        before: list[int] = []
        changed = time.monotonic()
        while waiting := [each["id"] for each in self._site.queue()]:
            self._count()
            now = time.monotonic()
            if now > end:
                self.summary.faults.append(f"{len(waiting)} messages were still queued after {DRAIN:.0f} s")
                return
            if waiting != before:
                before, changed = waiting, now
            elif now - changed > _STILL:
                self._site.retry(waiting)
                changed = now
            self._never.wait(0.1)

    def _judge(self, in_boxes: list[judge.Copy] | None = None, strangers: list[str] | None = None) -> None:
        self._end_submitters()
        relayed, unknown = self._hop.copies(self._plan.items)
        doubtful = hop.ambiguous(relayed)
        runs = [Run(each.number, each.killed_at, each.delivered - doubtful) for each in self._site.processes]
        if doubtful:
            # Without them the log cannot say which message it means: part of the evidence is missing.
            self.summary.faults.append(f"{len(doubtful)} trace ids are those of several messages")
        self.summary.verdict = judge.judge(
            self._ledger.attempts, relayed, in_boxes or [], runs, [*unknown, *(strangers or ())]
        )
        self.summary.faults += self._ledger.refused
        self.summary.faults += [line for each in self._site.processes for line in each.errors]
        self._count()

    def _end_submitters(self) -> None:
        self._ledger.end()
        for submitter in self._submitters:
            if submitter.ident is not None:
                submitter.join()

    def _count(self) -> None:
        self.summary.acknowledged = self._ledger.acknowledged
        self.summary.attempts = len(self._ledger.attempts)
        self.summary.seconds = time.monotonic() - self._began
        self._progress(self.summary)
        if time.monotonic() > self._deadline:
            self._deadline = float("inf")
            raise TimeIsUpError(f"the run was given up after {self.summary.seconds:.0f} s")


def run(
    plan: Plan,
    *,
    fault: str | None = None,
    limit: float = 3600.0,
    progress: Callable[[Summary], None] = lambda _summary: None,
) -> Summary:
    """Run a plan in a directory of its own, which is deleted afterwards. ``limit`` in seconds."""
    with tempfile.TemporaryDirectory(prefix="sixpost-torture-") as folder:
        return Storm(plan, Path(folder), fault=fault, limit=limit, progress=progress).run()
