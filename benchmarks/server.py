"""The reference server that is measured: the default four ports, but on 127.0.0.1, in its own directory."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
PASSWORD = "benchmarks"  # noqa: S105 - of a server that lives for seconds
PROTOCOLS = ("smtp", "smtp", "pop3", "imap")
LIMIT = 60.0
POLL = 0.001


class NeverReadyError(RuntimeError):
    """The server did not answer in time, or has ended."""


class Server:
    """A data directory with its configuration, and the process that runs on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports = [free_port() for _ in PROTOCOLS]
        self._admin_port = free_port()
        self.started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    @contextmanager
    def running(self, *, bare: bool = False) -> Iterator[None]:
        """Start the process; stop it as a system would."""
        argv = [sys.executable, "-m", "reference_server", "--data-dir", str(self._folder / "data")]
        argv += ["--admin-port", str(self._admin_port), *(["--bare"] if bare else [])]
        environment = {**os.environ, "REFERENCE_SERVER_ADMIN_PASSWORD": PASSWORD}
        with (self._folder / "log").open("ab") as log:
            self.started = time.perf_counter()
            process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
        self._process = process
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def prepare(self) -> None:
        """Make the database: the ports, and the default IP range of this computer."""
        with self.running(bare=True):
            self.wait_for_administration()
            for protocol, port in zip(PROTOCOLS, self.ports, strict=True):
                self.call("POST", "/ports", {"protocol": protocol, "address": HOST, "port": port})
            self.call("POST", "/ipranges", {"name": "My computer", "lower": HOST, "upper": HOST})

    def greeting(self, port: int) -> socket.socket:
        """Return a client that was greeted; waits for the listener."""
        while True:
            self._check()
            try:
                client = socket.create_connection((HOST, port), timeout=LIMIT)
            except ConnectionRefusedError:
                time.sleep(POLL)
                continue
            if not client.recv(512):
                raise NeverReadyError(f"port {port} closed without a greeting; see {self._folder / 'log'}")
            return client

    def wait_for_administration(self) -> None:
        """Return when the administration answers with the password."""
        while True:
            self._check()
            try:
                self.call("GET", "/status")
            except ConnectionRefusedError:
                time.sleep(POLL)
                continue
            return

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the administration once, and return its answer."""
        credentials = base64.b64encode(f"Administrator:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(HOST, self._admin_port, timeout=LIMIT)
        try:
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise NeverReadyError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)

    def _check(self) -> None:
        if time.perf_counter() - self.started > LIMIT:
            raise NeverReadyError(f"nothing within {LIMIT:.0f} s; see {self._folder / 'log'}")
        if self._process is not None and self._process.poll() is not None:
            log = (self._folder / "log").read_text(errors="replace")
            raise NeverReadyError(f"the server has ended, exit code {self._process.returncode}:\n{log}")


def free_port(host: str = HOST) -> int:
    """Return a number that is free now. The server has to have it before it runs, so 0 will not do."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
