"""Who is left when a run ends, however it ends: nobody (Linux only).

`split` makes three processes of one. The first, which the user started, only waits, hands signals on and ends
with the exit code of the third. The second is process 1 of a process namespace: when it ends, the kernel ends
everything in there, daemons included; it ends with the first or with the third. The third goes on as the
harness. Where no process namespace can be had, the second adopts what the third leaves, and the first what
the second leaves, and ends that.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NoReturn

from conformance.network import netns

TEMPORARY = "SIXPOST_TEMPORARY"
"""Names the folder of a run, below which everything temporary is; it is removed at the end of the run."""
_HANDED_ON = (signal.SIGTERM, signal.SIGHUP)
_INTERRUPT_THIRD = signal.SIGUSR1
"""From the first to the second: somebody sent SIGINT to the first."""
_OURS = frozenset({signal.SIGINT, signal.SIGCHLD, _INTERRUPT_THIRD, *_HANDED_ON})
_ALL_HAVE_IT = 0.2
"""Seconds until a signal that was sent to the whole group has reached the last of it."""
_ONE_KEY = 1.0
"""Seconds within which two SIGINT are the same one."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_EVERYBODY = -1

_adopter = 0
"""In the third process: the id of the second, to which orphans go."""


def split(*, own_processes: bool) -> None:
    """Return in the third process; the first two never return.

    ``own_processes``: this process has unshared its process namespace, and its next child is process 1 there.
    """
    folder = tempfile.mkdtemp(prefix="sixpost-")
    os.environ[TEMPORARY] = folder
    flush()
    # No signal comes between a fork and who is to handle it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    # Where it is ignored (that is inherited), ended children leave no exit code.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    lifeline, held = os.pipe()
    second = os.fork()
    if second:
        os.close(lifeline)
        _first(second, folder, own_processes=own_processes)
    os.close(held)
    if own_processes:
        mount_proc()
    else:
        netns.call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    second = os.getpid()
    third = os.fork()
    if third:
        _second(third, lifeline, folder)
    os.close(lifeline)
    _third(second)
    if handler is not None:
        signal.signal(signal.SIGCHLD, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def flush() -> None:
    """Write what waits in this process's buffers, so that a fork does not write it twice."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def mount_proc() -> None:
    """Mount the process table of this process's own namespace. Raises MachineError."""
    netns.mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)


def _first(second: int, folder: str, *, own_processes: bool) -> NoReturn:
    not_ours = frozenset(_children(os.getpid())) - {second}
    if not own_processes:  # what the second leaves when it is killed
        netns.call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    while (status := _reaped(second)) is None:
        heard = signal.sigwaitinfo(_OURS)
        if heard.si_signo in _HANDED_ON:
            _send(second, heard.si_signo)
        elif heard.si_signo == signal.SIGINT and heard.si_code <= 0:
            # From a process, for us alone perhaps; Ctrl-C (from the kernel) has reached the third as well.
            time.sleep(_ALL_HAVE_IT)
            _send(second, _INTERRUPT_THIRD)
    if not own_processes:
        _end_the_others(not_ours)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(status)


def _second(third: int, lifeline: int, folder: str) -> NoReturn:
    interrupted = -_ONE_KEY

    def interrupt(number: int, _frame: object) -> None:
        nonlocal interrupted
        if number == signal.SIGINT:
            interrupted = time.monotonic()  # the whole group has it
        elif time.monotonic() - interrupted > _ONE_KEY:
            _send(third, signal.SIGINT)

    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(_INTERRUPT_THIRD, interrupt)
    for number in _HANDED_ON:
        signal.signal(number, lambda number, _frame: _send(third, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
    status = None
    while status is None:
        status = _reaped(third)
        if status is None:
            ready, _, _ = select.select([lifeline, wake], [], [])
            if lifeline in ready:  # the first was killed
                status = 1
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
    _end_the_others()
    shutil.rmtree(folder, ignore_errors=True)  # the first does it, unless it was killed
    os._exit(status)


def _third(second: int) -> None:
    global _adopter
    _adopter = second
    netns.call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != second:  # it ended before
        os._exit(1)


def _reaped(awaited: int) -> int | None:
    """Reap every child that has ended; return the exit code of the ``awaited`` one, if it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == awaited:
                status = _code(code)
    return status


def _end_the_others(spared: AbstractSet[int] = frozenset()) -> None:
    """Kill everything that is left, until nothing is; but not the ``spared`` children of this process."""
    while True:
        left = [pid for pid in _children(os.getpid()) if pid not in spared]
        if not left:
            return
        if os.getpid() == 1:  # then everybody is in our process namespace
            _send(_EVERYBODY, signal.SIGKILL)
        for pid in left:
            _send(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children(parent: int) -> list[int]:
    """Return the children of a process; those that others left to it are among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                text = (entry / "stat").read_text("utf-8", "replace")
                if int(text.rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


def _code(status: int) -> int:
    """Return an exit code; an end by a signal as shells show it, 128 more than its number."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def end_orphans() -> tuple[int, ...]:
    """End what a killed worker left behind; return the ids. For the process whose children the workers are.

    It is whatever the second process has adopted that is in a network which none of us is in or holds: every
    worker had its own.
    """
    ended: list[int] = []
    while found := [pid for pid in _left_behind() if pid not in ended]:
        for pid in found:
            _send(pid, signal.SIGKILL)
        ended += found  # and again: they may have started more meanwhile
    return tuple(ended)


def _left_behind() -> list[int]:
    from conformance.network import processes

    if not _adopter:
        return []
    # First who was adopted, then the networks in use: one that a worker makes meanwhile is of neither.
    adopted = processes.family_tree(pid for pid in _children(_adopter) if pid != os.getpid())
    networks = _networks(_adopter)
    for pid in processes.family_tree([os.getpid()]):
        networks |= _networks(pid)
    return [pid for pid in adopted if (network := _network(pid)) and network not in networks]


def _network(pid: int) -> str:
    try:
        return str((Path("/proc") / str(pid) / "ns" / "net").readlink())
    except OSError:
        return ""


def _networks(pid: int) -> set[str]:
    """Return the network of a process, and those that it holds: it may be elsewhere for a moment."""
    found = {_network(pid)}
    with contextlib.suppress(OSError):
        for entry in (Path("/proc") / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return found
