"""The smart host of the torture, and the mailboxes: everything that arrived, as `judge.Copy`."""

from __future__ import annotations

import poplib
import re
import socket
from collections.abc import Callable, Sequence

from conformance.addresses import LOOPBACK_V6, parse
from conformance.clients.record import Kind
from conformance.peers import sockets
from conformance.peers.recording import Recording, Visit
from conformance.peers.smart_host import SmartHost
from torture.judge import Copy
from torture.plan import ACCOUNTS, NUMBER_FIELD, Item
from torture.site import HOSTS, LIMIT, PASSWORD

_FIELD = re.compile(rb"^" + NUMBER_FIELD.encode() + rb": ((\d+)\.\d+)\r\n", re.MULTILINE)
_ID = re.compile(rb"\bid ([\w.]+)")


class Hop:
    """The recording smart host. To be closed."""

    def __init__(self, dot: Callable[[], None]) -> None:
        """``dot`` is called for every message that it takes."""
        self._dot = dot
        self._recording = Recording()
        addresses = [parse(host) for host in HOSTS]
        self.port = sockets.claim(tuple(addresses))
        self._host = SmartHost("smart host", addresses, self.port, self._recording, record=self._say)
        self._ends: list[int] = []
        """After each process: the number of the last connection that it may have made."""

    def open(self) -> None:
        self._host.open()

    def close(self) -> None:
        self._host.close()

    @property
    def busy(self) -> bool:
        """Whether a transaction is under way now, as far as the smart host knows."""
        return any(not one.ended and one.reached in ("mail", "rcpt", "data", "end") for one in self._recent())

    def _recent(self) -> Sequence[Visit]:
        """Return the connections of the process that lives, or has just ended."""
        return self._recording.visits[self._ends[-1] if self._ends else 0 :]

    def settle(self) -> None:
        """Read what the process that has ended left in its connections, before the next one makes some.

        A connection of our own is accepted after all of its; then each of them comes to its end.
        """
        before = self._ends[-1] if self._ends else 0
        with socket.create_connection((str(LOOPBACK_V6), self.port), timeout=LIMIT) as probe:
            probe.recv(1)
            own = probe.getsockname()[1]
            probe.sendall(b"QUIT\r\n")

            def over(visits: Sequence[Visit]) -> bool:
                recent = visits[before:]
                return all(one.ended for one in recent) and any(one.source_port == own for one in recent)

            if not self._recording.wait_for(over, LIMIT):
                raise TimeoutError("the smart host does not come to the end of its connections")
        self._ends.append(len(self._recording.visits))

    def copies(self, items: Sequence[Item]) -> tuple[list[Copy], list[str]]:
        """Return what it took, and what nobody of ours had sent."""
        found: list[Copy] = []
        strangers: list[str] = []
        for delivery in self._recording.deliveries:
            message, visit = delivery.message, delivery.visit
            if not message.taken:
                continue
            known = _identify(message.content, items)
            if known is None:
                strangers.append(f"from <{message.mail_from}> for {', '.join(message.rcpt_to)}")
                continue
            key, intact = known
            trace = _ID.search(message.content)
            run = 1 + sum(end < visit.number for end in self._ends)
            found += [
                Copy(
                    key,
                    recipient,
                    intact,
                    run,
                    message.at,
                    trace[1].decode() if trace else "",
                    visit.ended == "client",
                )
                for recipient in message.rcpt_to
            ]
        return found, strangers

    def _say(self, _who: str, kind: Kind, text: str) -> None:
        if kind == "sent" and text.endswith("taken"):
            self._dot()


def stored(port: int, items: Sequence[Item]) -> tuple[list[Copy], list[str]]:
    """Return what is in the mailboxes, and what nobody of ours had sent."""
    found: list[Copy] = []
    strangers: list[str] = []
    for account in ACCOUNTS:
        box = poplib.POP3(HOSTS[0], port, timeout=LIMIT)
        try:
            box.user(account)
            box.pass_(PASSWORD)
            for number in range(1, box.stat()[0] + 1):
                content = b"".join(line + b"\r\n" for line in box.retr(number)[1])
                known = _identify(content, items)
                if known is None:
                    strangers.append(f"in the mailbox of {account}")
                else:
                    found.append(Copy(known[0], account, known[1]))
        finally:
            box.quit()
    return found, strangers


def _identify(content: bytes, items: Sequence[Item]) -> tuple[str, bool] | None:
    """Return which attempt a text is of, and whether it is whole."""
    field = _FIELD.search(content)
    if field is None or int(field[2]) >= len(items):
        return None
    key = field[1].decode()
    return key, content.endswith(b"\r\n" + items[int(field[2])].content(key))


def ambiguous(copies: Sequence[Copy]) -> set[str]:
    """Return the trace ids that stand in more than one attempt's messages: they prove nothing."""
    owners: dict[str, str] = {}
    return {copy.trace_id for copy in copies if owners.setdefault(copy.trace_id, copy.key) != copy.key}
