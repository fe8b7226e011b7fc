"""TLS of a listener: one context per certificate. Reads files; opens no socket."""

from __future__ import annotations

import ssl

from reference_server.settings import Certificate


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """Return the context that serves ``certificate``: TLS 1.2 and above (RFC 8996, RFC 8314 section 4.1).

    Raises OSError, its message naming the file, when the chain or the key cannot be read or do not belong
    together (`ssl.SSLError` is an OSError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # An encrypted key must not ask for its password on the terminal of a server.
        context.load_cert_chain(
            certificate.certificate_file, certificate.private_key_file, password=_no_password
        )
    except (OSError, ValueError) as error:
        raise OSError(
            f"certificate {certificate.name!r} ({certificate.certificate_file}, "
            f"{certificate.private_key_file}): {error}"
        ) from error
    return context


def _no_password() -> str:
    raise ValueError("the private key is encrypted; give a key without a password")
