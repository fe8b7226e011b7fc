"""The reference server as a real process, on loopback, with its log as events."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

PASSWORD = "let-me-in"
LIMIT = 60.0
"""Seconds for whatever is waited for: generous, the machine may be loaded."""


class ServerProcess:
    """A running ``python -m reference_server``; to be ended with `close`."""

    def __init__(self, data_dir: Path, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.events: list[dict[str, Any]] = []
        argv = [sys.executable, "-m", "reference_server", "--data-dir", str(data_dir), "--bare"]
        argv += ["--cheap-password-hashes", "--admin-port", "0", "--log-format", "json", *arguments]
        self.process = subprocess.Popen(
            [*prefix, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "REFERENCE_SERVER_ADMIN_PASSWORD": PASSWORD},
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.base_url = ""

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def until(self, name: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Return the first event of that name that is ``wanted``, also one that was there before."""
        for event in self.named(name):
            if wanted(event):
                return event
        while (line := self._lines.get(timeout=LIMIT)) is not None:
            event = json.loads(line)
            self.events.append(event)
            if event["event"] == name and wanted(event):
                return event
        raise AssertionError(f"the server ended without {name}: {self.events}")

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if not self.base_url:
            self.base_url = self.until("administration.ready")["url"]
        url = f"{self.base_url}/api/v1{path}"
        answer = httpx.request(method, url, json=body, auth=("Administrator", PASSWORD), timeout=LIMIT)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def add_range(self, name: str, lower: str, upper: str, **fields: Any) -> int:
        return int(
            self.call("POST", "/ipranges", {"name": name, "lower": lower, "upper": upper, **fields})["id"]
        )

    def add_port(self, protocol: str, address: str, port: int = 0) -> int:
        return int(
            self.call("POST", "/ports", {"protocol": protocol, "address": address, "port": port})["id"]
        )

    def reinitialize(self) -> dict[int, dict[str, Any]]:
        """Return the listeners, by the id of their port."""
        wanted = self.call("GET", "/status")["generation"] + 1
        self.call("POST", "/server/reinitialize")
        self.until("listeners.ready", lambda event: event["generation"] == wanted)
        return {each["port_id"]: each for each in self.call("GET", "/status")["listeners"]}

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and standard output."""
        code = self.process.wait(timeout=LIMIT)
        self._reader.join(LIMIT)
        while (line := self._lines.get(timeout=LIMIT)) is not None:
            self.events.append(json.loads(line))
        assert self.process.stdout is not None
        return code, self.process.stdout.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=LIMIT)
        self._reader.join(LIMIT)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


class Client:
    """A client of one connection, blocking, that reads lines."""

    def __init__(self, address: str, port: int) -> None:
        self.socket = socket.create_connection((address, port), timeout=LIMIT)
        self._file = self.socket.makefile("rb")

    def line(self) -> bytes:
        return self._file.readline()

    def say(self, words: bytes) -> None:
        self.socket.sendall(words)

    def talk(self, line: bytes) -> bytes:
        """Say one line, and return the last line of the answer (SMTP)."""
        self.say(line + b"\r\n")
        while True:
            answer = self.line()
            if answer[3:4] != b"-":
                return answer

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


StartServer = Callable[..., ServerProcess]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers on one data directory; those that are left at the end are killed."""
    started: list[ServerProcess] = []

    def start(*arguments: str, prefix: Sequence[str] = ()) -> ServerProcess:
        started.append(ServerProcess(tmp_path / "data", *arguments, prefix=prefix))
        return started[-1]

    yield start
    for server in started:
        server.close()
