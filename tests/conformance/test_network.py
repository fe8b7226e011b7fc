"""Runs in a namespace as a user starts them: however they end, they report what ran and leave nothing."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.network import modes

LIMIT = 100.0
OTHERS = 6
SCENARIO = """\
id: mine.{name}
title: A scenario that is over soon
requirements: [BIND-2]
server:
  ports:
    - {{name: {port}, protocol: smtp, address: "{address}"}}
steps:
  - connect: {{to: {port}, from: "203.0.113.7"}}
    expect: {{outcome: served}}
"""
ADAPTER = """\
import os, signal, subprocess, sys
from conformance.adapters.reference import ReferenceAdapter
WAIT = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; print(1, flush=True)"
WAIT += "; signal.pause()"
DAEMON = "import os, sys\\nif os.fork(): os._exit(0)\\nos.setsid()\\n"
DAEMON += "os.execv(sys.executable, [sys.executable, '-c', sys.argv[2], sys.argv[1] + '-daemon'])"
class Adapter(ReferenceAdapter):
    # A server that never comes to an end of its start, with a child and a daemon.
    def __init__(self, settings, workdir):
        super().__init__({}, workdir)
        self.marker, self.pipe = os.environ["MARKER"], os.environ["PIPE"]
    def start(self, case, workdir, configuration):
        self.wait(configuration)
        return super().start(case, workdir, configuration)
    def configure(self, configuration, *, reset=False):
        self.wait(configuration)
        return super().configure(configuration, reset=reset)
    def wait(self, configuration):
        if all(port.name != "wait" for port in configuration.ports):
            return
        there = dict(stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
        child = subprocess.Popen([sys.executable, "-c", WAIT, self.marker + "-child"], **there)
        daemon = subprocess.Popen([sys.executable, "-c", DAEMON, self.marker, WAIT], **there)
        assert (child.stdout.readline(), daemon.stdout.readline()) == (b"1\\n", b"1\\n")
        with open(self.pipe, "w") as pipe:
            pipe.write("waiting")
        signal.pause()
"""


class Run:
    """A run with a case that waits for ever, among others that do not."""

    def __init__(self, programs, folder: Path) -> None:
        self.programs = programs
        self.marker = f"sixpost-test-{uuid.uuid4().hex}"
        self._pipe = folder / "pipe"
        os.mkfifo(self._pipe)
        (programs.folder / "waits.py").write_text(ADAPTER)
        for number in range(OTHERS):
            text = SCENARIO.format(name=f"other-{number}", port="door", address=f"192.0.2.{number + 1}")
            programs.scenario(text, f"other-{number}.yaml")
        programs.scenario(SCENARIO.format(name="waits", port="wait", address="192.0.2.25"), "waits.yaml")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start it; return when the case waits."""
        programs = self.programs
        path = os.pathsep.join([programs.environment["PYTHONPATH"], str(programs.folder)])
        more = {"PYTHONPATH": path, "MARKER": self.marker, "PIPE": str(self._pipe)}
        self.process = subprocess.Popen(
            [
                *(*programs.conformance_command, "run", "--server", "python:waits:Adapter"),
                *("--network", "namespace", "--scenarios", "scenarios", "--no-builtin"),
                *("--baseline", "none", "--report-dir", "report", *words),
            ],
            cwd=programs.folder,
            env={**programs.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell starts what is in its background deaf to Ctrl-C, and that is inherited: not by this one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        descriptor = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            assert select.select([descriptor], [], [], LIMIT)[0], "no case waits"
        finally:
            os.close(descriptor)
        return self.process

    def end(self) -> str:
        """Wait until nobody has its output any more; return that."""
        assert self.process is not None
        return self.process.communicate(timeout=LIMIT)[0].decode()

    def marked(self, name: str = "") -> list[int]:
        """Return the processes that the adapter started."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if (
                    entry.name.isdigit()
                    and f"{self.marker}{name}".encode() in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
        return found

    def worker(self) -> int:
        """Return the process that runs the case that waits."""
        (child,) = self.marked("-child")
        return int((Path("/proc") / str(child) / "stat").read_text().rpartition(")")[2].split()[1])

    def cases(self) -> dict[str, str]:
        """Return the verdicts of the report."""
        return {one["id"]: one["verdict"] for one in self.programs.records() if one["type"] == "case"}

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        for pid in self.marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(programs, tmp_path: Path) -> Iterator[Run]:
    if missing := modes.probe():
        pytest.skip(missing)
    run = Run(programs, tmp_path)
    yield run
    run.kill()


@pytest.mark.needs_namespace
def test_a_worker_that_is_killed_leaves_nothing_and_its_case_is_an_error(run) -> None:
    run.start("-n", "2")
    assert len(run.marked()) == 2
    os.kill(run.worker(), signal.SIGKILL)
    out = run.end()
    assert run.process.returncode == 70, out
    expected = {f"mine.other-{number}": "pass" for number in range(OTHERS)}
    assert run.cases() == {**expected, "mine.waits": "error"}, out
    (lost,) = (one for one in run.programs.records() if one.get("id") == "mine.waits")
    assert (lost["reason"], lost["fault"]) == (
        "the worker process ended in the middle of this case",
        "harness",
    )
    assert run.programs.records()[-1]["exit_code"] == run.programs.summary()["exit_code"] == 70
    assert run.programs.left() == run.marked() == []


SIGNALS = {
    "Ctrl-C": (os.killpg, signal.SIGINT),
    "interrupted-alone": (os.kill, signal.SIGINT),
    "terminated": (os.kill, signal.SIGTERM),
    "terminated-with-its-group": (os.killpg, signal.SIGTERM),
}


@pytest.mark.needs_namespace
@pytest.mark.parametrize(
    ("how", "words"),
    [*((name, []) for name in SIGNALS), ("Ctrl-C", ["-n", "2"]), ("terminated", ["-n", "2"])],
)
def test_interrupted(run, how, words) -> None:
    run.start(*words)
    send, number = SIGNALS[how]
    send(run.process.pid, number)
    out = run.end()
    assert run.process.returncode == 130, out
    cases = run.cases()
    assert set(cases.values()) <= {"pass"}
    assert "mine.waits" not in cases
    footer = run.programs.records()[-1]
    assert (footer["type"], footer["exit_code"], footer["cases"]) == ("footer", 130, len(cases))
    assert out.splitlines()[-1].endswith("MUST verified")
    assert run.programs.left() == run.marked() == []


@pytest.mark.needs_namespace
@pytest.mark.parametrize("words", [[], ["-n", "2"]])
def test_killed(run, words) -> None:
    """Nobody can clear up after SIGKILL but those who are left."""
    run.start(*words)
    run.process.kill()
    run.end()
    assert run.programs.left() == run.marked() == []
    header, *records = run.programs.records()
    assert header["type"] == "header"
    assert all((one["type"], one["verdict"]) == ("case", "pass") for one in records), "complete up to there"


# --- where there is no namespace ------------------------------------------------------------------

WITHOUT_NAMESPACES = """\
import ctypes, os, sys
from pathlib import Path
# An ordinary user of a system that allows no user namespaces: the same files are ours.
uid, gid = os.geteuid(), os.getegid()
assert ctypes.CDLL(None).unshare(0x1000_0000) == 0
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
Path("/proc/sys/user/max_user_namespaces").write_text("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def without_namespaces(programs, monkeypatch: pytest.MonkeyPatch):
    if missing := modes.probe():
        pytest.skip(f"it takes a user namespace to be without one: {missing}")
    command = [sys.executable, "-c", WITHOUT_NAMESPACES, *programs.conformance_command]
    monkeypatch.setattr(type(programs), "conformance_command", command)
    return programs


@pytest.mark.needs_namespace
def test_without_user_namespaces_it_runs_on_loopback_and_says_so_once(without_namespaces) -> None:
    words = ("--case", "ip_ranges.no-match", "--case", "listening.wildcard-ipv6")
    done = without_namespaces.conformance("run", "--server", "reference", *words, "--report-dir", "report")
    assert (done.code, done.err) == (0, ""), done.text
    said = [line for line in done.out.splitlines() if "network loopback" in line]
    assert len(said) == 1, done.out
    assert "the system allows no namespace of our own (unshare: No space left on device)" in said[0]
    verdicts = {one["id"]: one["verdict"] for one in without_namespaces.records() if one["type"] == "case"}
    assert {"pass", "skipped"} <= set(verdicts.values()), verdicts


@pytest.mark.needs_namespace
@pytest.mark.parametrize("words", [["--require-network", "namespace"], ["--network", "namespace"]])
def test_without_user_namespaces_what_is_required_is_missing(without_namespaces, words) -> None:
    done = without_namespaces.conformance("run", "--server", "reference", *words)
    assert done.code == 3, done.text
    (line,) = done.text.strip().splitlines()
    assert "the system allows no namespace of our own (unshare: No space left on device)" in line
    assert "unprivileged user namespaces" in line
    assert "--network loopback" in line
