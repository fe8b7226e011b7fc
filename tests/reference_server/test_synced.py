"""Mail is on the disk before it is acknowledged: seen in the system calls of the real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

PASSWORD = "of the administrator"
LIMIT = 60
TO_EVERYBODY = {"deliver_remote_to_remote": True, "require_auth_remote_to_remote": False}


class Server:
    """A real server process; its events are read by a thread."""

    def __init__(self, folder: Path, *, synced: bool) -> None:
        program = ["reference_server"] if synced else ["conformance.selftest", "storage-not-synced", "--"]
        options = ["--bare", "--admin-port", "0", "--cheap-password-hashes", "--log-format", "json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *program, "--data-dir", str(folder / "data"), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "REFERENCE_SERVER_ADMIN_PASSWORD": PASSWORD},
        )
        self._events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        url = self.event("administration.ready")["url"]
        self.http = httpx.Client(base_url=f"{url}/api/v1", auth=("Administrator", PASSWORD), timeout=LIMIT)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                with self._news:
                    self._events.append(json.loads(line))
                    self._news.notify_all()

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event and return the newest of that name."""
        with self._news:
            assert self._news.wait_for(lambda: any(one["event"] == name for one in self._events), LIMIT)
            return [one for one in self._events if one["event"] == name][-1]

    def stop(self) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def serving(folder: Path, *, synced: bool) -> Iterator[tuple[Server, int]]:
    """A server with one SMTP port on ::1 and one account; yields it and the port's number."""
    server = Server(folder, synced=synced)
    try:
        for path, record in (
            ("/ports", {"protocol": "smtp", "address": "::1", "port": 0}),
            ("/ipranges", {"name": "local", "lower": "::1", "upper": "::1", **TO_EVERYBODY}),
            ("/domains", {"name": "example.test", "active": True}),
            ("/domains/example.test/accounts", {"address": "anna@example.test", "password": "Mohn-7"}),
        ):
            server.http.post(path, json=record).raise_for_status()
        server.http.post("/server/reinitialize").raise_for_status()
        yield server, server.event("listener.open")["port"]
    finally:
        server.stop()


@contextmanager
def traced(pid: int, trace: Path) -> Iterator[None]:
    """Trace the reads, writes and syncs of a process and all its threads."""
    calls = "trace=read,recvfrom,recvmsg,write,sendto,sendmsg,fsync,fdatasync"
    strace = subprocess.Popen(
        ["strace", "-f", "-s", "200", "-e", calls, "-o", str(trace), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert strace.stderr is not None
    try:
        # It says "attached" once every thread is traced.
        assert "attached" in strace.stderr.readline()
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.stderr.read()
        strace.stderr.close()
        strace.wait(LIMIT)


def syncs_before_acknowledgement(trace: str) -> int:
    """Count the finished syncs between the end of DATA and its 250."""
    lines = trace.splitlines()
    end = next(n for n, line in enumerate(lines) if re.search(r"recv|read", line) and r"\r\n.\r\n" in line)
    reply = next(
        n for n, line in enumerate(lines) if n > end and re.search(r'(send|write)\w*\(.*"250 ', line)
    )
    return sum(bool(re.search(r"(fsync|fdatasync).* = 0$", line)) for line in lines[end:reply])


@pytest.mark.needs_strace
@pytest.mark.parametrize("recipient", ["anna@example.test", "joe@far.test"], ids=["local", "remote"])
@pytest.mark.parametrize("synced", [True, False], ids=["synced", "syncing-turned-off"])
def test_the_message_is_synced_between_the_end_of_data_and_its_250(
    tmp_path: Path, synced: bool, recipient: str
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian package: strace)")
    trace = tmp_path / "trace"
    with (
        serving(tmp_path, synced=synced) as (server, port),
        smtplib.SMTP("::1", port, timeout=LIMIT) as client,
    ):
        client.ehlo()
        with traced(server.process.pid, trace):
            client.sendmail("x@elsewhere.test", [recipient], "Subject: synced\r\n\r\nyes\r\n")
    count = syncs_before_acknowledgement(trace.read_text("utf-8", "replace"))
    # The server whose syncing is turned off shows that the trace can tell.
    assert (count > 0) is synced
