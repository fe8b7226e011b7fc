"""Entering: as the first, as a worker, and where it cannot be done."""

from __future__ import annotations

import os

import pytest

from conformance.errors import MachineError
from conformance.network import namespace

# --- as the first ---------------------------------------------------------------------------------


@pytest.mark.needs_namespace
@pytest.mark.parametrize("hidden", [True, False])
def test_who_is_seen_inside(python, user, hidden) -> None:
    """With a process namespace only the run's own processes; without one everybody."""
    seen = python(
        """
import json, os, sys
from conformance.network import namespace
reason = namespace.processes_are_hidden()
before = len([name for name in os.listdir("/proc") if name.isdigit()])
if sys.argv[1] == "False":
    namespace.processes_are_hidden = lambda: "not here"
namespace.enter()
inside = [int(name) for name in os.listdir("/proc") if name.isdigit()]
print(json.dumps([reason, before, sorted(inside) if sys.argv[1] == "True" else len(inside), os.getpid(),
    os.getppid()]))
""",
        str(hidden),
        user=user,
    )
    reason, before, inside, me, parent = seen
    assert reason == ""
    if hidden:
        assert parent == 1
        assert inside == [1, me]
    else:
        assert parent != 1
        assert inside >= 3
        assert before >= 1


@pytest.mark.needs_namespace
def test_with_a_second_thread_it_is_refused(python, user) -> None:
    seen = python(
        """
import json, os, threading
from conformance.errors import MachineError
from conformance.network import namespace
go = threading.Event()
thread = threading.Thread(target=go.wait)
thread.start()
before = os.readlink("/proc/self/ns/net"), dict(os.environ)
try:
    namespace.enter()
except MachineError as error:
    words = str(error)
same = before == (os.readlink("/proc/self/ns/net"), dict(os.environ))
go.set()
thread.join()
print(json.dumps([words, same]))
""",
        user=user,
    )
    assert seen == ["this process has 2 threads; a namespace is entered before a second one exists", True]


@pytest.mark.needs_namespace
def test_where_the_ends_of_children_are_not_told(python, user) -> None:
    """SIGCHLD may be inherited as ignored: then waitpid finds nobody."""
    seen = python(
        """
import json, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from conformance.network import namespace
reasons = [namespace.probe(), namespace.processes_are_hidden(), str(signal.getsignal(signal.SIGCHLD))]
namespace.enter()
print(json.dumps([*reasons, str(signal.getsignal(signal.SIGCHLD))]))
""",
        user=user,
    )
    assert seen == ["", "", "1", "1"]


def reason_of(what) -> str:
    return namespace._in_child(what)


def fails() -> str:
    raise MachineError("no such luck")


def test_a_reason_comes_out_of_the_child() -> None:
    assert reason_of(lambda: "") == ""
    assert reason_of(lambda: "because") == "because"
    assert reason_of(fails) == "no such luck"
    assert reason_of(lambda: [][1]) == "list index out of range"
    assert reason_of(lambda: os._exit(3)) == f"the probe ended with status {3 << 8}"


def test_a_kernel_setting_that_cannot_be_written(tmp_path) -> None:
    with pytest.raises(MachineError) as error:
        namespace.write(str(tmp_path / "no" / "file"), "1")
    assert str(error.value) == f"cannot write '1' to {tmp_path}/no/file: No such file or directory"


# --- as a worker ----------------------------------------------------------------------------------

WORKERS = """
import json, subprocess, sys
from conformance.network import modes, safety
network = modes.enter("namespace")
WORKER = '''
import json, socket, sys, threading
go = threading.Event()
thread = threading.Thread(target=go.wait)  # as a worker of xdist has
thread.start()
from conformance.network import modes, safety
before = safety.identity()
network = modes.enter("auto", worker=True)
with socket.create_server(("192.0.2.1", 25)) as four, socket.create_server(
        ("::", 143), family=socket.AF_INET6) as six, socket.socket(socket.AF_INET6) as caller:
    caller.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
    caller.bind(("8000::7", 0))
    caller.connect(("2001:db8::1", 143))
    with six.accept()[0] as accepted:
        peer = accepted.getpeername()[0]
    with socket.socket() as other:
        ours = other.connect_ex(("192.0.2.1", 4000))
    print(json.dumps([network.mode, before, safety.identity(), safety.inside_own_namespace(), peer, ours]),
        flush=True)
    sys.stdin.read()  # both listen at the same time
go.set()
thread.join()
'''
workers = [subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(2)]
seen = [json.loads(worker.stdout.readline()) for worker in workers]
for worker in workers:
    worker.communicate()
print(json.dumps([safety.identity(), safety.inside_own_namespace(), *seen]))
"""


@pytest.mark.needs_namespace
def test_each_worker_has_a_network_of_its_own(python, user) -> None:
    """Two of them listen on the same addresses and port numbers at the same time."""
    ours, still, *workers = python(WORKERS, user=user)
    assert still is True
    networks = set()
    for mode, before, after, own, peer, refused in workers:
        assert (mode, before, own, peer, refused) == ("namespace", ours, True, "8000::7", 111)
        networks.add(after)
    assert len(networks | {ours}) == 3


def test_nobody_becomes_a_worker_outside() -> None:
    with pytest.raises(MachineError, match="only a process that was started in a namespace of ours"):
        namespace.enter_again()
