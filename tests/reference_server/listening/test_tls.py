from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from reference_server.listening.tls import server_context
from reference_server.settings import Certificate


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    issued = trustme.CA().issue_cert("::1", "localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return chain, key


def test_tls_1_2_and_above(files: tuple[Path, Path]) -> None:
    context = server_context(Certificate(1, "mine", str(files[0]), str(files[1])))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_a_missing_file_is_named(files: tuple[Path, Path]) -> None:
    with pytest.raises(OSError, match=r"certificate 'mine' \(.*chain.pem, /nowhere/key.pem\)"):
        server_context(Certificate(1, "mine", str(files[0]), "/nowhere/key.pem"))


def test_a_key_of_another_certificate(files: tuple[Path, Path]) -> None:
    other = trustme.CA().issue_cert("localhost")
    files[1].write_bytes(other.private_key_pem.bytes())
    with pytest.raises(OSError, match=r"certificate 'mine'.*"):
        server_context(Certificate(1, "mine", str(files[0]), str(files[1])))


def test_an_encrypted_key_does_not_ask_the_terminal(files: tuple[Path, Path]) -> None:
    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(OSError, match="the private key is encrypted"):
        server_context(Certificate(1, "mine", str(files[0]), str(files[1])))
