"""Postfix of the distribution in a private directory, on ::1 alone, for comparison.

Started and ended by us, by its own process id; nothing of an installed one is used but its programs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import CannotMeasure

HOST = "::1"
PROGRAMS = ("postfix", "postconf", "smtp-source", "smtp-sink")
LIMIT = 60.0
_WHERE = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/postfix/sbin"))

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = {command}
daemon_directory = {daemon}
meta_directory = /etc/postfix
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
myhostname = postfix.sixpost.invalid
mydestination =
mynetworks = [::1]/128
inet_interfaces = [::1]
inet_protocols = all
relayhost = [::1]:{relay_port}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_host_lookup = native
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
in_flow_delay = 0
smtputf8_enable = no
alias_maps =
alias_database =
local_recipient_maps =
"""
MASTER = """\
[::1]:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def program(name: str) -> str:
    """Return the path of a program of Postfix. Raises CannotMeasure where it is not installed."""
    found = shutil.which(name, path=_WHERE)
    if found is None:
        raise CannotMeasure(f"Postfix is not installed: no {name} (Debian package: postfix)")
    return found


def available() -> None:
    """Raise CannotMeasure where Postfix cannot be run."""
    for name in PROGRAMS:
        program(name)
    if os.geteuid() != 0:
        raise CannotMeasure("Postfix must be started by root")


@contextmanager
def postfix(port: int, relay_port: int, *, under: Sequence[str] = ()) -> Iterator[int]:
    """Run Postfix on ::1 and ``port``, relaying to ::1 and ``relay_port``; yield the id of its master.

    ``under``: a command that runs it, such as a tracer; it ends when Postfix does. Raises CannotMeasure.
    """
    available()
    # Not below a directory of ours alone: its processes run as its own user.
    folder = Path(tempfile.mkdtemp(prefix="sixpost-postfix-"))
    folder.chmod(0o755)
    try:
        _prepare(folder, port, relay_port)
        with (folder / "out").open("wb") as out:
            command = [*under, _master(), "-c", str(folder / "etc"), "-s"]
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            yield _wait(process, folder, port)
        finally:
            _end(process, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _master() -> str:
    found = _setting("daemon_directory")
    return str(Path(found) / "master")


def _setting(name: str) -> str:
    done = subprocess.run([program("postconf"), "-dh", name], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _prepare(folder: Path, port: int, relay_port: int) -> None:
    owner = pwd.getpwnam("postfix")
    etc = folder / "etc"
    etc.mkdir()
    filled = {
        "folder": folder,
        "port": port,
        "relay_port": relay_port,
        "command": _setting("command_directory"),
        "daemon": _setting("daemon_directory"),
    }
    (etc / "main.cf").write_text(MAIN.format_map(filled))
    (etc / "master.cf").write_text(MASTER.format_map(filled))
    (folder / "spool").mkdir()
    (folder / "data").mkdir()
    os.chown(folder / "data", owner.pw_uid, -1)
    checked = subprocess.run(
        [program("postfix"), "-c", str(etc), "check"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if checked.returncode != 0:
        raise CannotMeasure(f"Postfix does not take its configuration: {checked.stderr.strip()}")


def _wait(process: subprocess.Popen[bytes], folder: Path, port: int) -> int:
    """Return the id of the master when it answers."""
    until = time.monotonic() + LIMIT
    pid = folder / "spool" / "pid" / "master.pid"
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection((HOST, port), timeout=LIMIT) as client:
                if client.recv(4) == b"220 ":
                    client.sendall(b"QUIT\r\n")
                    return int(pid.read_text())
        except ConnectionRefusedError:
            time.sleep(0.01)
    said = [path.read_text(errors="replace") for path in (folder / "out", folder / "log") if path.is_file()]
    raise CannotMeasure(f"Postfix did not start: {' '.join(said).strip()[-500:]}")


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End the master, which ends its processes; then whatever it was run by."""
    pid = folder / "spool" / "pid" / "master.pid"
    if process.poll() is None and pid.is_file():
        os.kill(int(pid.read_text()), signal.SIGTERM)
    try:
        process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        # Of our own session: nobody else is in it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
