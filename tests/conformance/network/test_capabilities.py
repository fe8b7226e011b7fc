"""What our processes in a namespace may do, and servers that they start may not."""

from __future__ import annotations

import os

import pytest

from conformance.network.capabilities import OURS

STATUS = """
import json, os, subprocess, sys, tempfile
from pathlib import Path
from conformance.network import modes
def capabilities(pid):
    lines = dict(line.split(":\\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(lines["Cap" + name], 16) for name in ("Eff", "Prm", "Amb")}
modes.enter("namespace")
"""
SERVERS = (
    STATUS
    + """
from conformance.adapters.base import Configuration, PortSpec
from conformance.adapters.reference import ReferenceAdapter
from conformance.adapters.servers import ServerProcess
def reference(folder):
    adapter = ReferenceAdapter({}, folder / "adapter")
    ports = [PortSpec(name="door", protocol="smtp", address="192.0.2.25", number=25)]
    running = adapter.start("a.case", folder / "work", Configuration(ports=ports))
    (endpoint,) = running.endpoints
    assert endpoint.state == "open", endpoint
    seen = [capabilities(pid) for pid in running.pids]
    adapter.close()
    return seen
def program(folder):
    # Starts a server by itself, as adapter programs do.
    import conformance.adapters.process as process
    code = ("import subprocess, sys; sys.stderr.write('Cap is\\\\n' + open('/proc/self/status').read());"
        "sys.stderr.flush(); sys.stdin.read()")
    one = process._Program([sys.executable, "-c", code], folder / "log", process.Patience())
    line = one.log.wait_for(lambda line: line.startswith("CapAmb"), since=0, limit=60)
    lines = one.log.text().splitlines()
    one.end()
    return [{line[3:6]: int(line.split()[1], 16) for line in lines
        if line.startswith(("CapEff", "CapPrm", "CapAmb"))}]
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for part in ("adapter", "work"):
        (folder / part).mkdir()
    seen = {"reference": reference(folder), "program": program(folder)}
CHILD = "import sys; sys.stdout.write(open('/proc/self/status').read())"
child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout
lines = dict(line.split(":\\t", 1) for line in child.splitlines())
seen["we"] = capabilities("self")
seen["our programs"] = {name: int(lines["Cap" + name], 16) for name in ("Eff", "Prm", "Amb")}
print(json.dumps(seen))
"""
)
NONE = {"Eff": 0, "Prm": 0, "Amb": 0}
MASK = sum(1 << number for number in OURS)


@pytest.mark.needs_namespace
def test_a_server_has_no_capability_of_ours(python, user) -> None:
    seen = python(SERVERS, user=user)
    for who in ("we", "our programs"):
        assert seen[who]["Eff"] & MASK == MASK
    if os.geteuid() == 0 and user is None:
        assert seen["our programs"]["Amb"] == 0, "root needs none"
        return
    assert seen["our programs"] == {"Eff": MASK, "Prm": MASK, "Amb": MASK}, "what they need, and no more"
    assert seen["reference"] == [NONE]
    assert seen["program"] == [NONE]


@pytest.mark.needs_namespace
def test_the_kernel_ends_a_server_with_us_though_it_gives_up_capabilities(python, user) -> None:
    """A process that gains any loses the signal of its parent's death."""
    seen = python(
        STATUS + "from conformance.network import launch\n"
        "code = ('import ctypes; number = ctypes.c_int(); '\n"
        "    'ctypes.CDLL(None).prctl(2, ctypes.byref(number)); print(number.value)')\n"
        "argv = launch.command([sys.executable, '-c', code])\n"
        "print(json.dumps(int(subprocess.run(argv, capture_output=True, check=True).stdout)))",
        user=user,
    )
    assert seen == 9
