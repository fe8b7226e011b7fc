"""Who is left when a run ends, however it ends: nobody (Linux only).

`split` makes three processes of one. The first, which the user started, only waits, hands SIGTERM and SIGHUP
on and ends with the exit code of the third. The second is process 1 of a process namespace: when it ends,
the kernel ends everything in there, daemons included; it ends with the first or with the third. The third
goes on as the harness. Where no process namespace can be had, the second adopts what the third leaves, and
ends that.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from conformance.network import netns

TEMPORARY = "SIXPOST_TEMPORARY"
"""Names the folder of a run, below which everything temporary is; it is removed at the end of the run."""
_HANDED_ON = (signal.SIGTERM, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER = 36
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_EVERYBODY = -1


def split(*, own_processes: bool) -> None:
    """Return in the third process; the first two never return.

    ``own_processes``: this process has unshared its process namespace, and its next child is process 1 there.
    """
    folder = tempfile.mkdtemp(prefix="sixpost-")
    os.environ[TEMPORARY] = folder
    flush()
    lifeline, held = os.pipe()
    second = os.fork()
    if second:
        os.close(lifeline)
        _first(second, folder)
    os.close(held)
    if not own_processes:
        netns.call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    else:
        mount_proc()
    handler = signal.getsignal(signal.SIGINT)
    # Before there is a child, so that no end of one is missed.
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    third = os.fork()
    if third:
        _second(third, lifeline, wake, woken, folder, own_processes=own_processes)
    for descriptor in (lifeline, wake, woken):
        os.close(descriptor)
    signal.signal(signal.SIGINT, handler)


def flush() -> None:
    """Write what waits in this process's buffers, so that a fork does not write it twice."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def mount_proc() -> None:
    """Mount the process table of this process's own namespace. Raises MachineError."""
    netns.mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)


def _first(second: int, folder: str) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the third process as well
    for number in _HANDED_ON:
        signal.signal(number, lambda number, _frame: _send(second, number))
    status = _wait(second)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(status)


def _second(
    third: int, lifeline: int, wake: int, woken: int, folder: str, *, own_processes: bool
) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _HANDED_ON:
        signal.signal(number, lambda number, _frame: _send(third, number))
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    status = None
    while status is None:
        status = _reaped(third)
        if status is None:
            ready, _, _ = select.select([lifeline, wake], [], [])
            if lifeline in ready:  # the first was killed: nobody else removes the folder
                _end_the_others(own_processes=own_processes)
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(1)
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
    _end_the_others(own_processes=own_processes)
    os._exit(status)


def _reaped(third: int) -> int | None:
    """Reap every child that has ended; return the third's exit code, if it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == third:
                status = _code(code)
    return status


def _end_the_others(*, own_processes: bool) -> None:
    """Kill everything that is left, until nothing is."""
    while True:
        if own_processes:
            _send(_EVERYBODY, signal.SIGKILL)
        else:
            for pid in _children():
                _send(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """Return the children of this process: those that others left are among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                text = (entry / "stat").read_text("utf-8", "replace")
                if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(entry.name))
    return found


def _wait(pid: int) -> int:
    while True:
        try:
            return _code(os.waitpid(pid, 0)[1])
        except InterruptedError:
            continue


def _code(status: int) -> int:
    """Return an exit code; an end by a signal as shells show it, 128 more than its number."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def end_orphans() -> tuple[int, ...]:
    """End what a killed worker left behind; return the ids. For the process whose children the workers are.

    It is whatever is in a network that none of us is in: every worker had its own.
    """
    from conformance.network import processes

    ours = set(processes.family_tree([os.getpid()]))
    networks = {_network(pid) for pid in ours} | {_network(os.getppid())}
    ended = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in ours | {1, os.getppid()}:
            pid = int(entry.name)
            if (network := _network(pid)) and network not in networks:
                _send(pid, signal.SIGKILL)
                ended.append(pid)
    return tuple(ended)


def _network(pid: int) -> str:
    try:
        return str((Path("/proc") / str(pid) / "ns" / "net").readlink())
    except OSError:
        return ""
