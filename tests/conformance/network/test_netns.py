"""Namespaces by descriptor: into one, back, and nothing is left open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.errors import MachineError
from conformance.network import netns, safety

PRELUDE = """
import json, os, socket
from pathlib import Path
from conformance.errors import MachineError
from conformance.network import modes, netns, safety
modes.enter("namespace")
def state():
    return [os.readlink("/proc/thread-self/ns/net"), os.environ[safety.VARIABLE],
        len(list(Path("/proc/self/fd").iterdir()))]
def reachable():
    # lo is up, and ::1 is there
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        socket.create_connection(listener.getsockname()[:2]).close()
    return True
"""


@pytest.mark.needs_namespace
def test_a_fresh_one_is_empty_and_left_again(python, user) -> None:
    before, inside, interfaces, reached, own, address, after = python(
        PRELUDE
        + """
before = state()
with netns.fresh() as made:
    inside = state()
    seen = [socket.if_nameindex(), reachable(), safety.inside_own_namespace()]
    assert safety.identity(Path(f"/proc/self/fd/{made}")) == safety.identity()
    with socket.socket() as sock:
        try:
            sock.bind(("192.0.2.1", 0))
            seen.append("every address is ours there")
        except OSError as error:
            seen.append(error.strerror)
print(json.dumps([before, inside, *seen, state()]))
""",
        user=user,
    )
    assert after == before
    assert inside[0] != before[0]
    assert inside[1] != before[1]
    assert [name for _, name in interfaces if name == "lo"] == ["lo"]
    assert (reached, own) == (True, True)
    assert address == "Cannot assign requested address"


@pytest.mark.needs_namespace
def test_whatever_goes_wrong_inside_it_is_left(python, user) -> None:
    before, *others = python(
        PRELUDE
        + """
seen = [state()]
for error in (ValueError(), KeyboardInterrupt(), SystemExit(1)):
    try:
        with netns.fresh() as made, netns.fresh() as second, netns.inside(made), netns.inside(second):
            raise error
    except BaseException:
        seen.append(state())
real = netns.loopback_up
def broken():
    raise OSError("no lo here")
netns.loopback_up = broken
try:
    with netns.fresh():
        raise AssertionError
except OSError:
    seen.append(state())
with open("/dev/null") as no_namespace:
    try:
        with netns.inside(no_namespace.fileno()):
            raise AssertionError
    except MachineError as error:
        assert "setns: Invalid argument" in str(error)
seen.append(state())
print(json.dumps(seen))
""",
        user=user,
    )
    assert others == [before] * 5


@pytest.mark.needs_namespace
def test_a_socket_stays_where_it_was_opened_and_a_process_too(python, user) -> None:
    seen = python(
        PRELUDE
        + """
import subprocess, sys
LOOK = ("import json; from conformance.network import safety; "
    "print(json.dumps([safety.identity(), safety.inside_own_namespace()]))")
with netns.fresh() as first, netns.fresh() as second:
    with netns.inside(first):
        there = safety.identity()
        listener = socket.create_server(("127.0.0.1", 2525))
        child = subprocess.run([sys.executable, "-c", LOOK], stdout=subprocess.PIPE, check=True)
    with socket.socket() as caller:
        here = caller.connect_ex(("127.0.0.1", 2525))
    with netns.inside(first), socket.socket() as caller:
        same = caller.connect_ex(("127.0.0.1", 2525))
    listener.close()
print(json.dumps([here, same, json.loads(child.stdout) == [there, True]]))
""",
        user=user,
    )
    assert seen == [111, 0, True], "the listener is there, and its child knows the place as ours"


def state() -> tuple[object, ...]:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return Path("/proc/thread-self/ns/net").readlink(), dict(os.environ), descriptors


def test_outside_a_namespace_of_ours_nothing_is_made_or_entered() -> None:
    before = state()
    with pytest.raises(MachineError, match="inside a network namespace of our own only"), netns.fresh():
        pass
    current = netns.current()
    try:
        with pytest.raises(MachineError, match="from inside a network namespace"), netns.inside(current):
            pass
    finally:
        os.close(current)
    assert state() == before
    assert safety.VARIABLE not in os.environ


def test_an_error_has_the_words_of_the_system() -> None:
    with pytest.raises(MachineError, match=r"^setns: Bad file descriptor$"):
        netns.call("setns", -1, netns.CLONE_NEWNET)
    with pytest.raises(MachineError, match=r"^cannot mount /no/such/place: "):
        netns.mount("proc", "/no/such/place", "proc", 0)
