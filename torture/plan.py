"""What a seed decides: the messages, and when the server is killed. Pure.

The same seed gives the same plan; which instruction a kill hits is the machine's affair, as ever.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SENDER = "sender@elsewhere.test"
LOCAL_DOMAIN = "here.test"
ACCOUNTS = tuple(f"{name}@{LOCAL_DOMAIN}" for name in ("anna", "bert", "cleo"))
NUMBER_FIELD = "X-Torture-Attempt"
MOST_REMOTE = 5
"""Recipients elsewhere of one message."""
MOST_LINES = 60
MOST_WAIT = 0.03
"""Seconds from the event that a kill waits for to the kill."""
MOST_START = 0.9
"""Seconds from the start of a process to a kill that waits for nothing; most processes are up by then."""


@dataclass(frozen=True, slots=True)
class Item:
    """One message that somebody wants delivered, in as many attempts as it takes."""

    number: int
    host: str
    """Where the client connects to: ``::1`` or ``127.0.0.1``."""
    remote: tuple[str, ...]
    local: tuple[str, ...]
    body: bytes
    keeps_connection: bool
    """The client sends its next message over the same connection."""

    @property
    def recipients(self) -> tuple[str, ...]:
        return self.remote + self.local

    def content(self, attempt: str) -> bytes:
        """Return the message as it is submitted, and has to arrive after the Received fields."""
        header = f"{NUMBER_FIELD}: {attempt}\r\nFrom: <{SENDER}>\r\nSubject: {self.number}\r\n\r\n"
        return header.encode() + self.body


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process is killed."""

    events: int | None
    """After so many acknowledgements and final dots since it listens; None: counted from its start."""
    wait: float
    """And so many seconds more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does."""

    seed: int
    items: tuple[Item, ...]
    kills: tuple[Kill, ...]
    submitters: int

    def released(self, kills: int) -> int:
        """Return how many messages may be submitted after so many kills: the load lasts to the last one."""
        if kills >= len(self.kills):
            return len(self.items)
        return min(len(self.items), (kills + 2) * len(self.items) // (len(self.kills) + 1))


def make(seed: int, messages: int, kills: int, submitters: int) -> Plan:
    """Return the plan of ``seed``."""
    dice = random.Random(seed)
    items = tuple(_item(dice, number) for number in range(messages))
    each = max(1, messages // max(1, kills))
    return Plan(seed, items, tuple(_kill(dice, each) for _ in range(kills)), submitters)


def _item(dice: random.Random, number: int) -> Item:
    kind = dice.random()
    remote: Sequence[str] = ()
    local: Sequence[str] = ()
    if kind < 0.9:
        count = 1 if dice.random() < 0.6 else dice.randint(2, MOST_REMOTE)
        remote = [f"to-{number}-{one}@{dice.choice(('far', 'farther'))}.test" for one in range(count)]
    if kind >= 0.8:
        local = dice.sample(ACCOUNTS, dice.randint(1, len(ACCOUNTS)))
    lines = [_line(dice) for _ in range(dice.randint(1, MOST_LINES))]
    return Item(
        number,
        dice.choice(("::1", "127.0.0.1")),
        tuple(remote),
        tuple(local),
        b"".join(line + b"\r\n" for line in lines),
        dice.random() < 0.5,
    )


def _line(dice: random.Random) -> bytes:
    """Return a line of text, some with the dots that SMTP treats specially."""
    return (
        dice.choice((b"", b".", b"..", b"text ", b"text "))
        + dice.randbytes(dice.randint(0, 35)).hex().encode()
    )


def _kill(dice: random.Random, each: int) -> Kill:
    if dice.random() < 0.15:
        return Kill(None, dice.uniform(0, MOST_START))
    return Kill(dice.randint(0, each), dice.uniform(0, MOST_WAIT))
