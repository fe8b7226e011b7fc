"""Child processes: their log, a line of it, their end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.adapters import servers
from conformance.adapters.servers import ServerProcess, python_environment
from conformance.errors import AdapterError

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open of Linux")

WAIT = "import signal, time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAIT
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
print('child', child.pid, flush=True)
time.sleep(600)
"""


def python(program: str, path: Path, limit: float = 20.0) -> ServerProcess:
    return ServerProcess([sys.executable, "-c", program], log_path=path / "log", limit=limit)


def ended(descriptor: int) -> bool:
    """Wait for the end of the process of a pidfd, and close that."""
    try:
        return bool(select.select([descriptor], [], [], 60)[0])
    finally:
        os.close(descriptor)


def test_stop_is_polite_and_kill_is_not(tmp_path: Path) -> None:
    polite = python(WAIT, tmp_path)
    polite.wait_for(lambda line: line == "up", "its start")
    assert polite.alive
    assert polite.stop() == -15
    assert not polite.alive
    killed = python(WAIT, tmp_path)
    killed.wait_for(lambda line: line == "up", "its start")
    assert killed.kill() == -9
    assert killed.stop() == -9


def test_one_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = python(STUBBORN, tmp_path, limit=0.2)
    stubborn.wait_for(lambda line: line == "up", "its start")
    assert stubborn.stop() == -9


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_children_end_with_it(how: str, tmp_path: Path) -> None:
    server = python(PARENT, tmp_path)
    line = server.wait_for(lambda line: line.startswith("child"), "its child")
    descriptor = os.pidfd_open(int(line.split()[1]))
    getattr(server, how)()
    assert ended(descriptor)


def test_a_line_is_waited_for_from_a_place(tmp_path: Path) -> None:
    program = "import sys\nfor n in range(3): print('line', n, flush=True)\nsys.stderr.write('last')"
    server = python(program, tmp_path)
    assert server.wait_for(lambda line: line.startswith("line"), "a line") == "line 0"
    assert server.wait_for(lambda line: line.startswith("line"), "a line", since=2) == "line 2"
    assert server.wait_for(lambda line: line == "last", "the line without an end") == "last"
    assert server.child.wait(60)
    assert server.stop() == 0
    assert server.log.text() == "line 0\nline 1\nline 2\nlast"


def test_one_that_ends_early_is_an_error_with_its_log(tmp_path: Path) -> None:
    server = python("print('no such database'); raise SystemExit(4)", tmp_path)
    with pytest.raises(AdapterError, match="did not come to its start: it ended with exit code 4") as raised:
        server.wait_for(lambda line: line == "up", "its start")
    assert raised.value.log == "no such database\n"
    server.stop()


def test_one_that_says_nothing_is_an_error_after_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "START_LIMIT", 0.2)
    server = python(WAIT, tmp_path)
    try:
        with pytest.raises(AdapterError, match="did not come to the moon"):
            server.wait_for(lambda line: line == "moon", "the moon")
    finally:
        server.kill()


def test_a_flooded_log_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOG_LIMIT", 100_000)
    server = python("for n in range(50000): print('line', n)\nprint('end', flush=True)", tmp_path)
    server.wait_for(lambda line: line == "end", "its end")
    server.stop()
    assert server.log.text().startswith("line 0\n")
    assert server.log.text().endswith("[the log is longer than is kept]\n")
    assert (tmp_path / "log").stat().st_size < 101_000


def test_a_harness_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from conformance.adapters.servers import ServerProcess
server = ServerProcess([sys.executable, "-c", {WAIT!r}], log_path=Path({str(tmp_path)!r}) / "log")
server.wait_for(lambda line: line == "up", "its start")
print(server.pid, flush=True)
sys.stdin.readline()
raise RuntimeError("broken off")
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=python_environment(),
    ) as harness:
        assert harness.stdout is not None
        descriptor = os.pidfd_open(int(harness.stdout.readline()))
        harness.communicate(b"\n", timeout=60)
    assert harness.returncode == 1
    assert ended(descriptor)
