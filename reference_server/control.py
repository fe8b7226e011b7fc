"""What the administration may ask of the running server, and what the server says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

from reference_server.settings import IpRange, Port, ServerSettings


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """What became of one configured port at the last start or reinitialize."""

    port: Port
    number: int
    """The number that it really listens on; the configured one when it did not open."""
    open: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The answer of ``/status``."""

    version: str
    state: str
    """``starting``, ``running``, ``reinitializing`` or ``stopping``."""
    generation: int
    """How often the services were started: 1 after the start, one more after each reinitialize."""
    processed_messages: int
    sessions: dict[str, int]
    """Open sessions: smtp, pop3, imap."""
    ipv6_available: bool
    listeners: Sequence[ListenerStatus] = ()


class ServerControl(Interface):
    """The running server, as `admin.operations` sees it (implemented by `server.Server`)."""

    def status(self) -> ServerStatus: ...

    async def ranges_changed(self, ranges: Sequence[IpRange]) -> None:
        """Take over all IP ranges; when this returns, they hold for the next connection."""

    def settings_changed(self, settings: ServerSettings) -> None:
        """Take over the settings; they hold at once."""

    def queue_changed(self) -> None:
        """Look at the queue soon."""

    def request_reinitialize(self) -> None:
        """Stop and start every service in the same process, soon: the caller answers first."""
