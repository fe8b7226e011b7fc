"""From an admitted client to its protocol; each protocol's modules are imported when first needed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from reference_server.protocols.conversation import Conversation
from reference_server.session import Services, Session
from reference_server.settings import Protocol


def preload(protocols: Iterable[Protocol]) -> None:
    """Import what ``protocols`` need (tens of milliseconds), so that no first client waits for it."""
    for protocol in protocols:
        import_module(_MODULES[protocol])


def open_session(session: Session, services: Services) -> Conversation:
    """Return the protocol for an admitted client: an `asyncio.Protocol` with `SessionProtocol.shutdown`.

    Give it to the loop (``connect_accepted_socket``), with the port's TLS context when
    ``session.implicit_tls``. It calls ``services.finished`` exactly once if its ``connection_made`` was
    called; when a TLS handshake fails before that, the caller has to.
    """
    if session.port.protocol is Protocol.SMTP:
        from reference_server.protocols.smtp import SmtpSession

        return SmtpSession(session, services)
    if session.port.protocol is Protocol.POP3:
        from reference_server.protocols.pop3 import Pop3Session

        return Pop3Session(session, services)
    from reference_server.protocols.imap.session import ImapSession

    return ImapSession(session, services)


_MODULES = {
    Protocol.SMTP: "reference_server.protocols.smtp",
    Protocol.POP3: "reference_server.protocols.pop3",
    Protocol.IMAP: "reference_server.protocols.imap.session",
}
