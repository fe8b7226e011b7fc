"""The server that is killed: its processes, one after the other, on one data directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from torture.plan import ACCOUNTS, LOCAL_DOMAIN

PASSWORD = "of the torture"  # noqa: S105 - of a server that lives for minutes
LIMIT = 60.0
"""Seconds for whatever one process is waited for: generous, the machine may be loaded."""
HOSTS = ("::1", "127.0.0.1")
_OPEN = {"deliver_remote_to_remote": True, "require_auth_remote_to_remote": False}


class ServerFaultError(RuntimeError):
    """The server did not start, or ended by itself; the message says what it said."""


class Process:
    """One process; its log is read by a thread, to the end, also after a kill."""

    def __init__(self, number: int, folder: Path, fault: str | None) -> None:
        program = ["reference_server"] if fault is None else ["conformance.selftest", fault, "--"]
        options = ["--bare", "--admin-port", "0", "--cheap-password-hashes", "--log-format", "json"]
        self.number = number
        self.killed_at: float | None = None
        self.delivered: set[str] = set()
        self.errors: list[str] = []
        self._ended = False
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._news = threading.Condition()
        self._popen = subprocess.Popen(
            [sys.executable, "-m", *program, "--data-dir", str(folder / "data"), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "REFERENCE_SERVER_ADMIN_PASSWORD": PASSWORD},
        )
        self._reader = threading.Thread(target=self._read, name=f"log of run {number}", daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """End it by SIGKILL. Raises ServerFaultError when it had ended by itself."""
        self.killed_at = time.monotonic()
        self._popen.kill()
        self._gone(-signal.SIGKILL)

    def stop(self) -> None:
        """End it as a system does."""
        self._popen.terminate()
        self._gone(0)

    def abandon(self) -> None:
        """End it, whatever it is at. Idempotent."""
        self._popen.kill()
        self._popen.wait()
        self._reader.join(LIMIT)

    def _gone(self, expected: int) -> None:
        code = self._popen.wait(LIMIT)
        self._reader.join(LIMIT)
        if code != expected:
            raise ServerFaultError(f"run {self.number} ended with {code}, not {expected}: {self._said()}")

    def event(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many events of a name. Raises ServerFaultError when it ends, or is too slow."""
        with self._news:
            self._news.wait_for(lambda: self._ended or len(self._events.get(name, ())) >= count, LIMIT)
            found = self._events.get(name, [])
            if len(found) < count:
                raise ServerFaultError(f"run {self.number} did not say {name}: {self._said()}")
            return found

    @property
    def is_over(self) -> bool:
        return self._ended or self.killed_at is not None

    @property
    def has_listened(self) -> bool:
        """Whether it has said that its listeners are open."""
        return "listeners.ready" in self._events

    def _read(self) -> None:
        assert self._popen.stderr is not None
        with self._popen.stderr as log:
            for raw in log:
                line = raw.decode("utf-8", "replace").strip()
                try:
                    event = json.loads(line)
                except ValueError:  # a traceback, or the line that the kill cut
                    event = {"event": "text", "text": line}
                self._keep(event, line)
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _keep(self, event: dict[str, Any], line: str) -> None:
        name = event["event"]
        if name == "queue.delivered":
            self.delivered.add(event["id"])
        elif name == "text" or event.get("level") == "error":
            self.errors.append(line)
        if name in ("listener.open", "listeners.ready", "administration.ready"):
            with self._news:
                self._events.setdefault(name, []).append(event)
                self._news.notify_all()

    def _said(self) -> str:
        return "; ".join(self.errors[-5:]) or "it said nothing of it"


class Site:
    """The data directory, and the processes on it; one lives at a time. To be closed."""

    def __init__(self, folder: Path, fault: str | None = None) -> None:
        self._folder = folder
        self._fault = fault
        self.processes: list[Process] = []
        self._changed = threading.Condition()
        self._doors: dict[str, int] = {}

    @property
    def process(self) -> Process:
        """The newest one."""
        return self.processes[-1]

    def start(self) -> Process:
        """Start the next process, and do not wait for it."""
        self._doors = {}
        self.processes.append(Process(len(self.processes) + 1, self._folder, self._fault))
        return self.process

    def listening(self) -> None:
        """Return when the newest process listens. Raises ServerFaultError."""
        self.process.event("listeners.ready")
        opened = self.process.event("listener.open", len(HOSTS))
        with self._changed:
            self._doors = {each["address"]: each["port"] for each in opened if each["protocol"] == "smtp"}
            self._changed.notify_all()

    def door(self, host: str, limit: float) -> tuple[Process, int] | None:
        """Return the process that listens, and its port on ``host``; None: not within ``limit`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._doors and not self.process.is_over, limit)
            return (self.process, self._doors[host]) if self._doors and not self.process.is_over else None

    def prepare(self, relay_port: int) -> None:
        """Configure the server in a first process, which is stopped in order."""
        process = self.start()
        with self._client() as http:
            for host in HOSTS:
                _done(http.post("/ports", json={"protocol": "smtp", "address": host, "port": 0}))
                _done(http.post("/ipranges", json={"name": host, "lower": host, "upper": host, **_OPEN}))
            _done(http.post("/ports", json={"protocol": "pop3", "address": HOSTS[0], "port": 0}))
            _done(http.post("/domains", json={"name": LOCAL_DOMAIN}))
            for address in ACCOUNTS:
                account = {"address": address, "password": PASSWORD}
                _done(http.post(f"/domains/{LOCAL_DOMAIN}/accounts", json=account))
            _done(http.put("/settings", json={"smtp_relayer": "::1", "smtp_relayer_port": relay_port}))
        process.stop()

    def queue(self) -> list[dict[str, Any]]:
        """Return what waits."""
        with self._client() as http:
            found: list[dict[str, Any]] = _done(http.get("/queue")).json()
        return found

    def retry(self, message_ids: Sequence[int]) -> None:
        """Have messages tried now; one that has gone meanwhile is none of ours."""
        with self._client() as http:
            for each in message_ids:
                http.post(f"/queue/{each}/retry")

    def pop3_port(self) -> int:
        """Return where the mailboxes are read."""
        opened = self.process.event("listener.open", len(HOSTS) + 1)
        [port] = [each["port"] for each in opened if each["protocol"] == "pop3"]
        return int(port)

    def close(self) -> None:
        """End whatever lives. Idempotent."""
        for process in self.processes[-1:]:
            process.abandon()

    def _client(self) -> httpx.Client:
        url = self.process.event("administration.ready")[0]["url"]
        return httpx.Client(base_url=f"{url}/api/v1", auth=("Administrator", PASSWORD), timeout=LIMIT)


def _done(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise ServerFaultError(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
        )
    return answer
