"""One listening socket for one TCP/IP port. An IPv6 socket is IPv6-only, whatever the system says."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from dataclasses import dataclass

from reference_server import limits
from reference_server.settings import Port


@dataclass(frozen=True, slots=True)
class Listener:
    """An open port: its socket, the number that it really has, and its TLS context if it offers TLS."""

    port: Port
    socket: socket.socket
    number: int
    tls: ssl.SSLContext | None = None


class CannotOpen(OSError):  # noqa: N818
    """The port cannot be opened; the text says why, in the system's words and, where known, what to do."""


_HINTS = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this host does not have the address",
    errno.EAFNOSUPPORT: "this system does not have IPv6",
    errno.EACCES: "numbers below 1024 need privileges",
}


def open_listener(port: Port, tls: ssl.SSLContext | None) -> Listener:
    """Bind and listen. Raises CannotOpen."""
    family = socket.AF_INET6 if port.address.version == 6 else socket.AF_INET
    try:
        opened = make_socket(family)
    except OSError as error:
        raise CannotOpen(_reason(error)) from error
    try:
        opened.setblocking(False)
        # A restart finds connections of the last run in TIME_WAIT; on Linux this lets no second listener in.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((str(port.address), port.port))
        opened.listen(limits.LISTEN_BACKLOG)
        return Listener(port, opened, opened.getsockname()[1], tls)
    except OSError as error:
        opened.close()
        raise CannotOpen(_reason(error)) from error


def make_socket(family: int) -> socket.socket:
    """Return a stream socket; one of IPv6 takes no IPv4 clients (RFC 3493 section 5.3)."""
    made = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    hint = _HINTS.get(error.errno or 0)
    return f"{text} ({hint})" if hint else text
