"""Nobody is left: with a process namespace of our own, and where none can be had."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from conformance.network import supervisor

LIMIT = 60.0

START = """
import json, os, signal, subprocess, sys
from conformance.network import modes, namespace, processes, safety, supervisor
if sys.argv[2] == "adopted":
    namespace.processes_are_hidden = lambda: "not here"
def say(value):
    print(json.dumps(value), flush=True)
namespace.enter()
"""
"""argv: a marker, by which every process of the test is found, and how processes are held together."""
DAEMON = """
def daemon(marker):
    # Hides from its parent as daemons do; returns when it is there.
    code = '''
import os, sys
reading, writing = os.pipe()
if os.fork():
    os.close(writing); os.read(reading, 1); os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.set_inheritable(writing, True)
os.execv(sys.executable, [sys.executable, "-c",
    "import os, signal, sys; os.write(int(sys.argv[2]), b'.'); signal.pause()", sys.argv[1], str(writing)])
'''
    subprocess.run([sys.executable, "-c", code, marker], check=True)
"""


@pytest.fixture(params=["hidden", "adopted"])
def how(request: pytest.FixtureRequest) -> str:
    """Whether what is left is in a process namespace, or is adopted."""
    chosen: str = request.param
    return chosen


class Marked:
    """The processes that have a marker of this test among their arguments."""

    def __init__(self) -> None:
        self.marker = f"sixpost-test-{uuid.uuid4().hex}"

    def pids(self) -> list[int]:
        """Return those that run."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return sorted(found)

    def three(self, first: int) -> list[int]:
        """Return the first, second and third process."""
        mine = (Path("/proc") / str(first) / "cmdline").read_bytes()
        three = [first]
        for _ in range(2):
            (child,) = (
                pid
                for pid in self.pids()
                if parent(pid) == three[-1] and (Path("/proc") / str(pid) / "cmdline").read_bytes() == mine
            )
            three.append(child)
        return three


@pytest.fixture
def marked() -> Marked:
    return Marked()


def parent(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def wait_for_end(pids: list[int]) -> None:
    """Wait until none of the processes runs."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                assert select.select([descriptor], [], [], LIMIT)[0], f"process {pid} does not end"
            finally:
                os.close(descriptor)


ENDS = {
    "os._exit(0)": 0,
    "sys.exit(7)": 7,
    "os.kill(os.getpid(), signal.SIGKILL)": 128 + signal.SIGKILL,
    "os.kill(os.getpid(), signal.SIGTERM)": 128 + signal.SIGTERM,
    "raise KeyboardInterrupt": 128 + signal.SIGINT,
}


@pytest.mark.needs_namespace
@pytest.mark.parametrize("end", ENDS)
def test_the_exit_code_is_handed_on(python, marked, how, end) -> None:
    code = START + "say(os.environ[supervisor.TEMPORARY])\n" + end
    process = python.start(code, marked.marker, how, stderr=subprocess.DEVNULL)
    folder = Path(process.stdout.readline().decode().strip().strip('"'))
    assert process.wait(LIMIT) == ENDS[end]
    assert not folder.exists()


@pytest.mark.needs_namespace
def test_what_waits_in_a_buffer_is_written_once(python, how) -> None:
    code = "print('before', end=' ')\n" + START.replace("say(", "hear(") + "print('after', end='')"
    process = python.start(code, "-", how)
    assert process.communicate(timeout=LIMIT)[0] == b"before after"
    assert process.returncode == 0


LEFT = (
    START
    + DAEMON
    + """
folder = os.environ[supervisor.TEMPORARY]
open(folder + "/file", "w").close()
daemon(sys.argv[1])
# A child that is no daemon, and wants to live.
child = subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
    "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\\n"
    "print('ready', flush=True); signal.pause()", sys.argv[1]], start_new_session=True)
say(folder)
signal.pause()
"""
)


@pytest.mark.needs_namespace
@pytest.mark.parametrize("killed", [0, 1, 2], ids=["the-first", "the-second", "the-third"])
def test_whoever_is_killed_nothing_is_left(python, user, marked, how, killed) -> None:
    process = python.start(LEFT, marked.marker, how, user=user)
    lines = [process.stdout.readline(), process.stdout.readline()]
    folder = next(Path(line.decode().strip().strip('"')) for line in lines if b"ready" not in line)
    assert (folder / "file").exists()
    before = marked.pids()
    assert len(before) == 5, "three, the daemon and the child"
    os.kill(marked.three(process.pid)[killed], signal.SIGKILL)
    assert process.communicate(timeout=LIMIT) == (b"", None), "the pipe ends when nobody has it any more"
    wait_for_end(before)
    assert marked.pids() == []
    assert not folder.exists()
    assert process.returncode == (-signal.SIGKILL if killed == 0 else 128 + signal.SIGKILL)


@pytest.mark.needs_namespace
def test_a_daemon_is_ended_with_the_run(python, marked, how) -> None:
    process = python.start(START + DAEMON + "daemon(sys.argv[1])", marked.marker, how)
    assert process.communicate(timeout=LIMIT) == (b"", None)
    assert process.returncode == 0
    assert marked.pids() == []


@pytest.mark.needs_namespace
def test_a_child_from_before_is_not_ours_to_end(python, marked) -> None:
    before = """
import subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", sys.argv[1]],
    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
print(other.pid, flush=True)
"""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None
        code = before.replace("stdin=subprocess.PIPE", f"stdin=open('/proc/{keeper.pid}/fd/0')")
        process = python.start(code + START, marked.marker, "adopted")
        other = int(process.stdout.readline())
        assert process.wait(LIMIT) == 0
        assert marked.pids() == [other]
        keeper.stdin.close()
        wait_for_end([other])


# --- signals --------------------------------------------------------------------------------------

COUNT = (
    START
    + """
seen = []
def ended(number, frame):
    say(seen + [number])
    os._exit(5)
signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
signal.signal(signal.SIGTERM, ended)
signal.signal(signal.SIGHUP, ended)
say("ready")
while True:
    signal.pause()
"""
)


@pytest.mark.needs_namespace
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_handed_on(python, user, marked, how, number) -> None:
    process = python.start(COUNT, marked.marker, how, user=user)
    assert process.stdout.readline() == b'"ready"\n'
    os.kill(process.pid, number)
    assert process.communicate(timeout=LIMIT) == (b"[%d]\n" % number, None)
    assert process.returncode == 5
    assert marked.pids() == []


@pytest.mark.needs_namespace
@pytest.mark.parametrize("to", ["the-process", "its-group"])
def test_an_interrupt_arrives_once(python, user, marked, how, to) -> None:
    process = python.start(COUNT, marked.marker, how, user=user, start_new_session=True)
    assert process.stdout.readline() == b'"ready"\n'
    (os.kill if to == "the-process" else os.killpg)(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=LIMIT) == (b"[2, 15]\n", None)
    assert process.returncode == 5


@pytest.mark.needs_namespace
def test_a_key_arrives_once(python, marked, how) -> None:
    """Ctrl-C in a terminal."""
    master, terminal = os.openpty()
    name = os.ttyname(terminal)
    take = f"import os\nos.close(os.open({name!r}, os.O_RDWR))\n"  # the leader of a session gets it so
    try:
        process = python.start(
            take + COUNT, marked.marker, how, stdin=terminal, stderr=terminal, start_new_session=True
        )
        assert process.stdout.readline() == b'"ready"\n'
        os.write(master, b"\x03")
        # The terminal answers when it has sent the signal.
        assert select.select([master], [], [], LIMIT)[0]
        os.kill(process.pid, signal.SIGTERM)
        assert process.communicate(timeout=LIMIT) == (b"[2, 15]\n", None)
    finally:
        os.close(master)
        os.close(terminal)


@pytest.mark.needs_namespace
def test_signals_are_as_they_were(python, how) -> None:
    """Who is started by us is neither deaf nor dumb."""
    code = """
import json, signal
def state():
    numbers = range(1, signal.NSIG)
    return [sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), [str(signal.getsignal(n)) for n in numbers]]
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
before = state()
"""
    process = python.start(code + START + "say(before == state())", "-", how)
    assert process.communicate(timeout=LIMIT) == (b"true\n", None)
    assert process.returncode == 0


# --- what a worker leaves -------------------------------------------------------------------------

ORPHANS = (
    START
    + DAEMON
    + """
WORKER = '''
import os, signal, subprocess, sys
from conformance.network import modes, netns
modes.enter("namespace", worker=True)
daemon(sys.argv[1] + "-shared")
with netns.fresh() as host:
    pass_ = os.dup(host)
with netns.fresh():
    daemon(sys.argv[1] + "-own")
    with netns.inside(pass_):  # where it is for a moment
        print("ready", flush=True)
        signal.pause()
'''
DAEMON = {daemon!r}
def worker(name):
    process = subprocess.Popen([sys.executable, "-c", "import sys, subprocess" + DAEMON + WORKER,
        sys.argv[1] + "-" + name], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\\n"
    return process
def those(name):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            words = open(f"/proc/{{entry}}/cmdline", "rb").read().split(b"\\0")
            if any(word.decode().startswith(sys.argv[1] + "-" + name) for word in words):
                found.append(int(entry))
    return sorted(found)
daemon(sys.argv[1] + "-ours")
killed, living = worker("killed"), worker("living")
expected = {{name: len(those(name)) for name in ("ours", "killed", "living")}}
orphans = those("killed")
orphans.remove(killed.pid)
nobody = supervisor._left_behind()
killed.kill()
killed.wait()
found = sorted(supervisor._left_behind())
ended = sorted(supervisor.end_orphans()) if found == orphans else []  # else it may be half of this machine
def state(pid):
    try:
        return open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0]
    except OSError:
        return ""
while any(state(pid) not in ("", "Z") for pid in ended):
    os.sched_yield()
left = {{name: len(those(name)) for name in ("ours", "living")}}
say([expected, nobody, found == ended == orphans, left, supervisor.end_orphans()])
"""
).replace("{daemon!r}", repr(DAEMON)).replace("{{", "{").replace("}}", "}")


@pytest.mark.needs_namespace
def test_what_a_killed_worker_leaves_is_ended_and_nothing_else(python, user, marked, how) -> None:
    seen = python(ORPHANS, marked.marker, how, user=user)
    everybody, nobody, right, left, again = seen
    assert everybody == {"ours": 1, "killed": 3, "living": 3}
    assert nobody == [], "as long as they all live"
    assert right, "its two daemons, in its network and in that of its case"
    assert left == {"ours": 1, "living": 3}
    assert again == []
    assert marked.pids() == []


def test_where_nothing_was_split_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_send", lambda *_: pytest.fail("it would kill"))
    assert supervisor.end_orphans() == ()
