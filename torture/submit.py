"""Clients that submit the messages of a plan, several at a time, and remember what they were told."""

from __future__ import annotations

import contextlib
import smtplib
import threading
from collections.abc import Callable

from torture.judge import Attempt
from torture.plan import SENDER, Item, Plan
from torture.site import LIMIT, Site

_LOOK = 1.0
"""Seconds after which a client that waits for the server looks whether everything is over."""


class Ledger:
    """What was attempted and promised; for several threads."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._next = 0
        self._released = 0
        self._over = False
        self._changed = threading.Condition()
        self.attempts: list[Attempt] = []
        self.refused: list[str] = []
        """Replies that no kill explains."""
        self.acknowledged = 0
        self.events = 0
        """Acknowledgements and final dots."""

    def release(self, kills: int) -> None:
        """Let the messages be submitted that the plan allows after so many kills."""
        with self._changed:
            self._released = self._plan.released(kills)
            self._changed.notify_all()

    def take(self) -> Item | None:
        """Wait for the next message to submit; None: there is none any more."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._over or self._next < max(self._released, 0) or self._all_taken
            )
            if self._over or self._all_taken:
                return None
            self._next += 1
            return self._plan.items[self._next - 1]

    @property
    def _all_taken(self) -> bool:
        return self._next >= len(self._plan.items)

    def note(self, attempt: Attempt) -> None:
        """Keep what became of an attempt."""
        with self._changed:
            self.attempts.append(attempt)
            self.acknowledged += attempt.acknowledged
            self.events += attempt.acknowledged
            self._changed.notify_all()

    def refuse(self, text: str) -> None:
        """Keep a reply that should not have come; it ends everything."""
        with self._changed:
            self.refused.append(text)
            self._over = True
            self._changed.notify_all()

    def dot(self) -> None:
        """The smart host has taken a message."""
        with self._changed:
            self.events += 1
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[], bool], limit: float) -> bool:
        """Wait until something is ``wanted`` of this ledger; say whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self._over or wanted(), limit) and not self._over

    def end(self) -> None:
        """Let nobody begin with anything."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        return self._over


class Submitter(threading.Thread):
    """One client. It goes on with a message until the server has acknowledged it."""

    def __init__(self, number: int, site: Site, ledger: Ledger) -> None:
        super().__init__(name=f"submitter {number}", daemon=True)
        self._site = site
        self._ledger = ledger
        self._session: smtplib.SMTP | None = None
        self._partner: tuple[int, str] | None = None
        """Which process, and at which address, the session is with."""

    def run(self) -> None:
        try:
            while (item := self._ledger.take()) is not None:
                tries = 0
                while not self._ledger.over:
                    attempt = self._attempt(item, f"{item.number}.{tries + 1}")
                    if attempt is None:
                        continue
                    tries += 1
                    self._ledger.note(attempt)
                    if attempt.acknowledged:
                        break
        except Exception as error:  # noqa: BLE001 - a thread must not end in silence
            self._ledger.refuse(f"{self.name}: {error!r}")
        finally:
            self._leave()

    def _attempt(self, item: Item, key: str) -> Attempt | None:
        """Submit once; None when no transaction could begin."""
        session = self._connected(item)
        if session is None:
            return None
        acknowledged = False
        try:
            session.sendmail(SENDER, item.recipients, item.content(key))
            acknowledged = True
        except (smtplib.SMTPServerDisconnected, OSError):
            self._leave()  # SMTPException is an OSError: those that are replies are told apart
        except smtplib.SMTPException as error:
            self._ledger.refuse(f"{key}: {error!r}")
        if not item.keeps_connection:
            self._leave(politely=acknowledged)
        return Attempt(key, item.remote, item.local, acknowledged)

    def _connected(self, item: Item) -> smtplib.SMTP | None:
        door = self._site.door(item.host, _LOOK)
        if door is None:
            return None
        process, port = door
        if self._session is not None and self._partner == (process.number, item.host):
            return self._session
        self._leave()
        try:
            self._session = smtplib.SMTP(item.host, port, timeout=LIMIT)
            self._session.ehlo_or_helo_if_needed()
        except (smtplib.SMTPServerDisconnected, OSError):
            self._leave()
            return None
        self._partner = (process.number, item.host)
        return self._session

    def _leave(self, *, politely: bool = False) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                if politely:
                    session.quit()
            session.close()
