"""Starting a server: the words of an error, its environment, its end with the harness."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from conformance.adapters.servers import ServerProcess
from conformance.errors import AdapterError
from conformance.network import launch

LIMIT = 60.0
DEATH_SIGNAL = (
    "import ctypes; number = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(number)); "
    "print(number.value, flush=True)"
)
"""PR_GET_PDEATHSIG"""


def server(argv: list[str], folder: Path, **parts) -> ServerProcess:
    return ServerProcess(argv, log_path=folder / "log", **parts)


# --- what cannot be started -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("missing", None, "No such file or directory"),
        ("plain", 0o644, "Permission denied"),
        ("folder", 0o755, "Permission denied"),
    ],
)
def test_a_program_that_cannot_be_executed(tmp_path: Path, name: str, mode: int | None, words: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif mode is not None:
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    with pytest.raises(AdapterError) as error:
        server([str(path), "--option"], tmp_path)
    assert str(error.value) == f"the server could not be started: {path}: {words}"


def test_a_program_that_is_not_in_the_path(tmp_path: Path) -> None:
    with pytest.raises(AdapterError) as error:
        server(["no-such-program-anywhere"], tmp_path)
    expected = "the server could not be started: no-such-program-anywhere: No such file or directory"
    assert str(error.value) == expected


def test_what_only_the_kernel_knows_is_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "server"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    one = server([str(path)], tmp_path)
    with pytest.raises(AdapterError, match="it ended with exit code 126") as error:
        one.wait_for(lambda _: False, "anything")
    one.stop()
    assert f"launch: {path}: No such file or directory" in error.value.log


@pytest.mark.parametrize("arguments", [[], ["0", "--"], ["0", "true", "x"], ["me", "--", "true"]])
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert launch.main(arguments) == 2
    assert "usage: " in capsys.readouterr().err


# --- what it finds --------------------------------------------------------------------------------


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_relative_name_is_of_the_directory_where_it_runs(tmp_path: Path) -> None:
    program(tmp_path, "here/server", 'echo "$PWD" "$@"')
    one = server(["./server", "a b", ""], tmp_path, cwd=tmp_path / "here")
    assert one.wait_for(lambda line: "here" in line, "its directory") == f"{tmp_path}/here a b "
    assert one.stop() == 0


def test_the_path_is_that_of_its_environment(tmp_path: Path) -> None:
    program(tmp_path, "bin/a-server-of-the-tests", "echo found")
    environment = {"PATH": f"{tmp_path}/bin:{os.defpath}"}
    one = server(["a-server-of-the-tests"], tmp_path, environment=environment)
    assert one.wait_for(lambda line: line == "found", "itself")
    assert one.stop() == 0


@pytest.mark.parametrize("environment", [{}, {"A": "b=c", "LANG": "C", "B": "\udcff", "C": ""}])
def test_the_environment_is_left_alone(environment: dict[str, str]) -> None:
    """Python adds LC_CTYPE to that of a process in the C locale (PEP 538)."""
    look = launch.command([sys.executable, "-c", "print(open('/proc/self/environ', 'rb').read())"])
    done = subprocess.run(look, env=environment, capture_output=True, check=True)
    expected = b"".join(os.fsencode(f"{key}={value}") + b"\0" for key, value in environment.items())
    assert done.stdout.decode().strip() == repr(expected)


def test_elsewhere_it_is_started_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert launch.command(["true", "x"]) == ["true", "x"]


# --- its end --------------------------------------------------------------------------------------


def test_it_ends_with_the_harness(python) -> None:
    harness = python.start(
        "import os, signal, sys, tempfile\n"
        "from pathlib import Path\n"
        "from conformance.adapters.servers import ServerProcess\n"
        "wait = 'import signal; print(1, flush=True); signal.pause()'\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    server = ServerProcess([sys.executable, '-c', wait], log_path=Path(folder, 'log'))\n"
        "    server.wait_for(lambda line: line == '1', 'its start')\n"
        "print(server.pid, flush=True)\n"
        "signal.pause()\n"
    )
    descriptor = os.pidfd_open(int(harness.stdout.readline()))
    try:
        harness.send_signal(signal.SIGKILL)
        assert select.select([descriptor], [], [], LIMIT)[0], "the server goes on"
    finally:
        os.close(descriptor)


def test_it_does_not_start_for_a_harness_that_has_ended() -> None:
    argv = launch.command(["true"])
    argv[argv.index("--") - 1] = str(os.getppid())  # not its parent
    assert subprocess.run(argv, check=False).returncode == 126


def test_started_by_the_main_thread_it_is_sent_a_signal() -> None:
    argv = launch.command([sys.executable, "-c", DEATH_SIGNAL])
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"%d\n" % signal.SIGKILL


def test_started_by_another_thread_it_is_not() -> None:
    """It would end with that thread."""
    seen = []

    def start() -> None:
        argv = launch.command([sys.executable, "-c", DEATH_SIGNAL])
        seen.append(subprocess.run(argv, capture_output=True, check=True).stdout)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(LIMIT)
    assert seen == [b"0\n"]
