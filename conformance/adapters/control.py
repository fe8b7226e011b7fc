"""The control socket of the reference server: lines of JSON over a Unix socket move its clock forward."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from datetime import datetime
from pathlib import Path

from conformance.errors import AdapterError
from conformance.network import supervisor

LIMIT = 60.0
"""Seconds for one answer: what became due is looked at first."""


class ControlSocket:
    """A place for the socket, and the client of it. `close` must be called."""

    def __init__(self) -> None:
        # A short name: the path of a Unix socket has 107 octets at most (unix(7)). Below the folder of
        # the run, which goes with the run, however that ends.
        root = os.environ.get(supervisor.TEMPORARY)
        prefix = "sixpost-" if root is None else ""
        self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        self.path = self._folder / "control"

    def advance(self, seconds: float) -> datetime:
        """Move the clock forward (0: not at all); return the server's time. Raises AdapterError."""
        answer = self._ask({"advance": seconds})
        if answer.get("ok") is not True:
            raise AdapterError(f"the clock of the server was not moved: {answer.get('error')}")
        return datetime.fromisoformat(str(answer["now"]))

    def _ask(self, order: dict[str, object]) -> dict[str, object]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.ExitStack() as stack:
                sock.settimeout(LIMIT)
                sock.connect(str(self.path))
                lines = stack.enter_context(sock.makefile("rb"))
                sock.sendall(json.dumps(order).encode() + b"\n")
                answer = json.loads(lines.readline())
        except (OSError, ValueError) as error:
            raise AdapterError(f"the control socket of the server does not answer: {error}") from error
        return answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        """Remove the place. Idempotent."""
        shutil.rmtree(self._folder, ignore_errors=True)
