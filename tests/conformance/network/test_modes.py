"""The modes: loopback here, the namespace in processes of their own."""

from __future__ import annotations

import os
import sys

import pytest

from conformance.errors import MachineError, UsageError
from conformance.network import modes, safety
from conformance.network.modes import Network

# --- loopback -------------------------------------------------------------------------------------


def test_loopback_needs_nothing_and_lacks_foreign_addresses() -> None:
    network = modes.enter("loopback")
    assert network == Network("loopback")
    for need in ("wildcard_listener", "any_source"):
        assert "namespace" in network.missing(need)
    assert Network("namespace").missing("any_source") == ""


def test_the_fallback_is_named() -> None:
    assert "no user namespaces" in Network("loopback", fallback="no user namespaces").missing("any_source")


def test_what_does_not_depend_on_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.network.without_ipv6.missing", lambda: "no seccomp")
    monkeypatch.setattr("conformance.network.processes.missing", lambda: "no /proc")
    for network in (Network("loopback"), Network("namespace")):
        assert network.missing("no_ipv6_filter") == "no seccomp"
        assert network.missing("process_table") == "no /proc"


@pytest.mark.parametrize("words", [("lopback", None), ("auto", "full")])
def test_unknown_words(words) -> None:
    with pytest.raises(UsageError, match="use auto, loopback or namespace"):
        modes.enter(*words)


def test_a_mode_that_is_required_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "probe", lambda: "namespaces are switched off")
    fallback = modes.enter("auto")
    assert fallback == Network("loopback", fallback="namespaces are switched off")
    for arguments in (("namespace", None), ("auto", "namespace")):
        with pytest.raises(MachineError, match=r"switched off.*--network loopback"):
            modes.enter(*arguments)
    with pytest.raises(MachineError, match="namespace is required"):
        modes.enter("loopback", "namespace")


def test_loopback_imports_nothing_of_the_namespace(python) -> None:
    seen = python(
        "import json, sys\n"
        "from conformance.network import modes, ports, processes, safety, without_ipv6\n"
        "import conformance.clients.mail, conformance.clients.smtp, conformance.oracle\n"
        "network = modes.enter('loopback')\n"
        "words = ('pyroute2', 'conformance.network.namespace', 'scapy', 'reference_server')\n"
        "print(json.dumps([name for name in sys.modules if name.startswith(words)]))"
    )
    assert seen == []


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "need Linux" in modes.probe()


# --- namespace ------------------------------------------------------------------------------------

ENTER = """
import json, os, socket, subprocess, sys
from ipaddress import ip_address
from conformance.network import modes, namespace, safety
outside = safety.identity()
network = modes.enter("auto", "namespace")
again = modes.enter("namespace")
seen = {"mode": network.mode, "same": again == network, "threads": namespace.threads(),
        "moved": safety.identity() != outside, "uid": os.getuid(), "interfaces": socket.if_nameindex(),
        "missing": [network.missing(need) for need in ("wildcard_listener", "any_source")]}
def roundtrip(family, server, client, port):
    with socket.socket(family) as listener, socket.socket(family) as caller:
        if family == socket.AF_INET6:
            for one in (listener, caller):
                one.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
        listener.bind((server, port)); listener.listen()
        caller.bind((client, 0)); caller.connect((server, port))
        with listener.accept()[0] as accepted:
            return accepted.getpeername()[0]
seen["v6"] = roundtrip(socket.AF_INET6, "2001:db8::1", "8000::7", 25)
seen["v4"] = roundtrip(socket.AF_INET, "192.0.2.1", "203.0.113.7", 25)
seen["loopback"] = [roundtrip(socket.AF_INET6, "::1", "::1", 53)]
seen["loopback"] += [roundtrip(socket.AF_INET, "127.0.0.1", "127.0.0.2", 53)]
CHILD = '''
import json, socket
from conformance.network import modes, safety
from ipaddress import ip_address
network = modes.enter("namespace")
safety.check(ip_address("2001:db8::1"), "connect to")
# What is started inside has no capability of ours, and uses any address and low numbers all the same.
for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET6, "::"), (socket.AF_INET, "192.0.2.1")):
    with socket.socket(family) as listener:
        listener.bind((address, 143))
print(json.dumps([network.mode, safety.identity()]))
'''
child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True)
seen["child"] = json.loads(child.stdout) == ["namespace", safety.identity()] if child.stdout else child.stderr
print(json.dumps(seen))
"""


@pytest.mark.needs_namespace
def test_every_address_is_ours_inside(python, user) -> None:
    seen = python(ENTER, user=user)
    assert (seen["mode"], seen["same"], seen["moved"], seen["threads"]) == ("namespace", True, True, 1)
    assert seen["interfaces"][0] == [1, "lo"]
    assert seen["missing"] == ["", ""]
    assert (seen["v6"], seen["v4"], seen["loopback"]) == ("8000::7", "203.0.113.7", ["::1", "127.0.0.2"])
    assert seen["uid"] == (os.getuid() if user is None else user)
    assert seen["child"] is True


@pytest.mark.needs_namespace
def test_the_probe_changes_nothing(python, user) -> None:
    seen = python(
        "import json, os, socket\n"
        "from conformance.network import modes, safety\n"
        "before = safety.identity(), os.stat('/proc/self/ns/mnt').st_ino, dict(os.environ)\n"
        "missing = modes.probe()\n"
        "after = safety.identity(), os.stat('/proc/self/ns/mnt').st_ino, dict(os.environ)\n"
        "own = safety.inside_own_namespace()\n"
        "print(json.dumps({'missing': missing, 'same': before == after, 'own': own}))",
        user=user,
    )
    assert seen == {"missing": "", "same": True, "own": False}


@pytest.mark.needs_namespace
def test_the_raw_client_comes_from_anywhere_inside(python, user) -> None:
    seen = python(
        """
import json, socket
from ipaddress import ip_address
from conformance.clients.connect import Connector
from conformance.errors import MachineError
from conformance.network import modes
SOURCES = ["2002:c000:204::1", "2001:0:1::1", "64:ff9b::1", "fc00::1", "7fff::", "8000::"]
connector = Connector(modes.enter("namespace"))
seen = {}
with socket.create_server(("::", 25), family=socket.AF_INET6) as listener:
    for source in SOURCES + ["fe80::1%lo"]:
        channel = connector.open(ip_address("2001:db8::1"), 25,
            source=ip_address(source), record=lambda *event: None)
        with listener.accept()[0] as accepted:
            seen[source] = [channel.local, accepted.getpeername()[0]]
        channel.close()
with socket.create_server(("192.0.2.1", 25)) as listener:
    for source in ("203.0.113.7", "224.0.0.1", "255.255.255.255"):
        try:
            connector.open(ip_address("192.0.2.1"), 25,
                source=ip_address(source), record=lambda *event: None).close()
            seen[source] = "used"
        except MachineError as error:
            seen[source] = str(error)
print(json.dumps(seen))
""",
        user=user,
    )
    for source in ("2002:c000:204::1", "2001:0:1::1", "64:ff9b::1", "fc00::1", "7fff::", "8000::"):
        assert seen[source] == [source, source]
    assert seen["fe80::1%lo"] == ["fe80::1%lo", "fe80::1"]
    assert seen["203.0.113.7"] == "used"
    for replaced in ("224.0.0.1", "255.255.255.255"):
        assert "source address" in seen[replaced]


@pytest.mark.needs_namespace
def test_with_a_second_thread_the_reason_is_told(python, user) -> None:
    seen = python(
        "import json, threading\n"
        "from conformance.network import modes\n"
        "go = threading.Event(); thread = threading.Thread(target=go.wait); thread.start()\n"
        "network = modes.enter('auto'); go.set(); thread.join()\n"
        "print(json.dumps({'mode': network.mode, 'why': network.fallback}))",
        user=user,
    )
    assert seen == {"mode": "loopback", "why": "this process has 2 threads already"}


@pytest.mark.needs_namespace
def test_inside_a_foreign_namespace_nothing_is_allowed(python, user) -> None:
    """A namespace that is not ours (no variable, or another's) is treated like the real network."""
    seen = python(
        "import json, os\n"
        "from conformance.network import namespace, safety\n"
        "namespace.enter()\n"
        "inside = safety.inside_own_namespace()\n"
        "name = os.environ.pop(safety.VARIABLE)\n"
        "without = safety.inside_own_namespace()\n"
        "os.environ[safety.VARIABLE] = name + '1'\n"
        "print(json.dumps([inside, without, safety.inside_own_namespace()]))",
        user=user,
    )
    assert seen == [True, False, False]


@pytest.mark.needs_namespace
def test_an_interface_that_is_not_ours_ends_the_permission(python, user) -> None:
    seen = python(
        "import json, os\n"
        "from conformance.network import namespace, safety\n"
        "namespace.enter()\n"
        "from pyroute2 import IPRoute\n"
        "seen = []\n"
        "with IPRoute() as network:\n"
        "    network.link('add', ifname='v0', kind='veth', peer='v1')\n"
        "    veth = network.link_lookup(ifname='v0')[0]\n"
        "    network.link('set', index=veth, state='up')\n"
        "    seen.append(safety.inside_own_namespace())\n"
        "    network.link('add', ifname='m0', kind='macvlan', link=veth)\n"
        "    seen.append(safety.inside_own_namespace())\n"
        "    network.link('set', index=network.link_lookup(ifname='m0')[0], state='up')\n"
        "    seen.append(safety.inside_own_namespace())\n"
        "print(json.dumps(seen))",
        user=user,
    )
    assert seen == [True, True, False]


def test_the_variable_does_not_leak_into_this_process() -> None:
    assert safety.VARIABLE not in os.environ
