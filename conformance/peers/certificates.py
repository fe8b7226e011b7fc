"""Certificates of smart hosts, and the authority that the server under test is told to trust."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable
from pathlib import Path


class Authority:
    """A certificate authority of this process; another one, which nobody knows, signs what is untrusted."""

    def __init__(self) -> None:
        # Takes a while to load, and only cases with TLS need it.
        import trustme

        self._ours = trustme.CA()
        self._unknown = trustme.CA()
        self._context = functools.cache(self._make)

    def write(self, path: Path) -> None:
        """Write the certificate that is to be trusted, as PEM."""
        path.write_bytes(self._ours.cert_pem.bytes())

    def trusting(self) -> ssl.SSLContext:
        """Return the settings of a client that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ours.configure_trust(context)
        return context

    def server(self, names: Iterable[str], *, untrusted: bool = False) -> ssl.SSLContext:
        """Return the settings of a server whose certificate names host names and addresses (RFC 6125)."""
        return self._context(tuple(names), untrusted)

    def _make(self, names: tuple[str, ...], untrusted: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (self._unknown if untrusted else self._ours).issue_cert(*names).configure_cert(context)
        return context


@functools.cache
def authority() -> Authority:
    """Return the one of this process: making keys is slow, and one is trusted for the whole run."""
    return Authority()
