from __future__ import annotations

import subprocess
import sys

import pytest

from reference_server.protocols import preload
from reference_server.settings import Protocol

MODULES = """
import sys
import reference_server.protocols as protocols
from reference_server.settings import Protocol
before = set(sys.modules)
protocols.preload({names})
loaded = set(sys.modules) - before
print(sorted(name for name in loaded if name.startswith(("reference_server.protocols.", "aiosmtpd"))))
print("twisted.internet.reactor" in sys.modules, "sqlalchemy" in sys.modules)
"""


def run(names: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", MODULES.format(names=names)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("names", "loaded", "not_loaded"),
    [
        ("[Protocol.SMTP]", "reference_server.protocols.smtp", "reference_server.protocols.imap"),
        ("[Protocol.POP3]", "reference_server.protocols.pop3", "aiosmtpd"),
        ("[Protocol.IMAP]", "reference_server.protocols.imap.session", "aiosmtpd"),
    ],
)
def test_preload_imports_what_is_asked_and_no_more(names: str, loaded: str, not_loaded: str) -> None:
    first, second = run(names)
    assert f"'{loaded}'" in first
    assert f"'{not_loaded}" not in first
    assert second == "False False"


def test_preload_takes_any_collection() -> None:
    preload(set(Protocol))
    preload(())
