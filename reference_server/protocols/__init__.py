"""What is said once a client is inside: SMTP, POP3, IMAP.

`listening` alone calls `open_session` and `preload`. Modules here decide nothing about addresses and open no
socket: they speak over the transport that they are given. The pure parts (`smtp_path`, `smtp_data`,
`imap.syntax`, `imap.message`, `imap.search`) do no I/O; `conversation` owns the transport.
"""

from __future__ import annotations

from reference_server.protocols.open import open_session, preload

__all__ = ["open_session", "preload"]
