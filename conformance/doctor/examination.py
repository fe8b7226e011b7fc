"""The examination: `try_out` asks this machine, `examine` makes the report of what it said."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

from conformance.doctor import trial
from conformance.doctor.causes import Cause, causes
from conformance.doctor.machine import Machine
from conformance.errors import MachineError
from conformance.network import modes, processes, without_ipv6
from conformance.network.modes import Mode, Need, Network

SCHEMA = 1
State = Literal["ok", "limited", "missing"]
_LOOPBACK_ONLY = "with it, a run has every address, several hosts and the switch of IPv6; without, loopback"
_NO_NAMESPACE = "only in a network namespace of our own"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; see `conformance.doctor` for what the fields promise."""

    id: str
    state: State
    found: str
    means: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor says."""

    mode: Mode
    reason: str
    checks: tuple[Check, ...]
    total: int = 0
    runnable: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "schema": SCHEMA,
            "mode": self.mode,
            "reason": self.reason,
            "checks": [asdict(check) for check in self.checks],
            "cases": {"total": self.total, "runnable": self.runnable},
        }


@dataclass(frozen=True)
class Answers:
    """What this machine answered: "" when something works, else why not."""

    namespace: str = ""
    trial: str = ""
    """Why the things below could not be tried at all."""
    processes: str = ""
    ipv6_switch: str = ""
    wire: str = ""
    """The kind of the wire, if there is one."""
    wire_error: str = ""
    capture: str = ""
    no_ipv6_filter: str = ""
    process_table: str = ""
    pyroute2: bool = True
    scapy: bool = True
    compiler: str = ""
    """The path of a C compiler, if there is one."""


def try_out() -> Answers:
    """Ask this machine; changes nothing on it."""
    namespace, tried, failed = modes.probe(), {}, ""
    if not namespace:
        try:
            tried = trial.ask()
        except MachineError as error:
            failed = str(error)
    return Answers(
        namespace=namespace,
        trial=failed,
        processes=tried.get("processes", ""),
        ipv6_switch=tried.get("ipv6_switch", ""),
        wire=tried.get("wire", ""),
        wire_error=tried.get("wire_error", ""),
        capture=tried.get("capture", ""),
        no_ipv6_filter=without_ipv6.missing(),
        process_table=processes.missing(),
        pyroute2=find_spec("pyroute2") is not None,
        scapy=find_spec("scapy") is not None,
        compiler=shutil.which("cc") or shutil.which("gcc") or shutil.which("clang") or "",
    )


def examine(machine: Machine, answers: Answers, needs: Sequence[Sequence[Need]] = ()) -> Report:
    """Make the report; ``needs`` are those of each built-in case."""
    checks = (
        Check("python", "ok", platform.python_version(), "3.11 or later is needed"),
        _loopback_ipv4(machine),
        _loopback_ipv6(machine),
        _pyroute2(machine, answers),
        _namespace(machine, answers),
        *_inside(machine, answers),
        _scapy(answers),
        _filter(answers),
        _process_table(answers),
        _compiler(answers),
    )
    mode: Mode = "loopback" if answers.namespace else "namespace"
    if mode == "loopback":
        reason = "; ".join(cause.found for cause in causes(machine, answers.namespace))
    else:
        reason = "as root" if machine.privileged else "unprivileged user namespaces are allowed"
    lacking = _lacking(Network(mode, reason if mode == "loopback" else ""), answers)
    runnable = sum(not lacking.intersection(one) for one in needs)
    return Report(mode, reason, checks, len(needs), runnable)


def built_in_needs() -> list[tuple[Need, ...]]:
    """Return the network needs of every built-in case. Raises ScenarioError."""
    from conformance import requirements
    from conformance.builtin import scenarios_directory
    from conformance.scenario import loader
    from conformance.scenario.needs import network_needs

    return [
        network_needs(case.scenario) for case in loader.load([scenarios_directory()], requirements.load())
    ]


def _lacking(network: Network, answers: Answers) -> set[Need]:
    lacking: set[Need] = {need for need in get_args(Need) if network.missing(need)}
    if answers.wire_error or answers.trial:
        lacking |= {"wire", "crafted_packets"}
    if not answers.scapy:
        lacking.add("crafted_packets")
    if answers.ipv6_switch or answers.trial:
        lacking.add("own_network")
    if answers.no_ipv6_filter:
        lacking.add("no_ipv6_filter")
    if answers.process_table:
        lacking.add("process_table")
    return lacking


def _loopback_ipv4(machine: Machine) -> Check:
    means = "every run uses it"
    routes = machine.read("/proc/self/net/fib_trie")
    if routes and "127.0.0.1" not in routes:
        remedy = "  sudo ip link set lo up"
        return Check("loopback_ipv4", "missing", "the interface lo has no 127.0.0.1", means, remedy)
    return Check("loopback_ipv4", "ok", "127.0.0.1", means)


def _loopback_ipv6(machine: Machine) -> Check:
    means = "on loopback nearly every scenario connects to it; a namespace has its own"
    if not machine.system.startswith("linux"):
        return Check("loopback_ipv6", "ok", "not looked at: this is no Linux", means)
    if not machine.exists("/proc/self/net/if_inet6"):
        return Check(
            "loopback_ipv6",
            "missing",
            "the kernel has no IPv6 (/proc/net/if_inet6)",
            "nothing about IPv6 can be judged here, in no mode",
            "Load it, or take ipv6.disable=1 off the kernel's command line:\n  sudo modprobe ipv6",
        )
    addresses = {line.split()[0] for line in machine.read("/proc/self/net/if_inet6").splitlines() if line}
    if f"{1:032x}" in addresses:
        return Check("loopback_ipv6", "ok", "::1", means)
    remedy = "Switch it on:"
    for name in ("all", "lo"):
        remedy += f"\n  sudo sysctl -w net.ipv6.conf.{name}.disable_ipv6=0"
    if machine.container in ("docker", "podman"):
        start = f"{machine.container} run --sysctl net.ipv6.conf.all.disable_ipv6=0 …"
        remedy = f"Start the container with:\n  {start}"
    return Check("loopback_ipv6", "missing", "the interface lo has no ::1", means, remedy)


def _pyroute2(machine: Machine, answers: Answers) -> Check:
    means = "makes interfaces and routes of a namespace"
    if answers.pyroute2:
        return Check("pyroute2", "ok", "installed", means)
    linux = machine.system.startswith("linux")
    remedy = "  pip install pyroute2" if linux else ""
    return Check("pyroute2", "missing", "not installed", means, remedy)


def _namespace(machine: Machine, answers: Answers) -> Check:
    if not answers.namespace:
        how = "as root" if machine.privileged else "as an ordinary user, with a user namespace"
        return Check("namespace", "ok", how, _LOOPBACK_ONLY)
    found = causes(machine, answers.namespace)
    return Check(
        "namespace",
        "missing",
        "; ".join(cause.found for cause in found),
        _LOOPBACK_ONLY,
        _remedies(found),
    )


def _remedies(found: Sequence[Cause]) -> str:
    if len(found) == 1:
        return found[0].remedy
    return "\n".join(f"{number}. {one.found}.\n{one.remedy}" for number, one in enumerate(found, start=1))


def _inside(machine: Machine, answers: Answers) -> tuple[Check, ...]:
    """What only a namespace shows."""
    purposes = {
        "own_processes": "ends what a server leaves behind, daemons included, however the run ends",
        "ipv6_switch": "switches IPv6 on and off under a running server (steps os)",
        "wire": "brings packets that no kernel sends, and clients in great numbers (steps packets)",
        "capture": "keeps the packets of cases that did not pass, for Wireshark (--report-dir)",
    }
    unknown = _NO_NAMESPACE if answers.namespace else answers.trial
    if unknown:
        return tuple(Check(name, "missing", unknown, means) for name, means in purposes.items())
    errors = {
        "own_processes": answers.processes,
        "ipv6_switch": answers.ipv6_switch,
        "wire": answers.wire_error,
        "capture": answers.capture,
    }
    return tuple(_one_inside(machine, answers, name, errors[name], purposes[name]) for name in purposes)


def _one_inside(machine: Machine, answers: Answers, name: str, error: str, means: str) -> Check:
    if not error:
        found = {"wire": answers.wire, "capture": "packet sockets", "own_processes": "a process namespace"}
        text = found.get(name, "net.ipv6.conf.all.disable_ipv6 can be set")
        if name == "wire" and answers.wire == "veth" and machine.exists("/dev/net/tun"):
            text = "veth (/dev/net/tun is closed to this user; veth does the same)"
        return Check(name, "ok", text, means)
    if name == "own_processes":
        remedy = "In a container, unmask /proc:\n  docker run --security-opt systempaths=unconfined …"
        return Check(name, "limited", error, means, remedy if machine.container else "")
    remedy = ""
    if name == "wire":
        remedy = "Load one of the two:\n  sudo modprobe tun\n  sudo modprobe veth"
    elif name == "ipv6_switch":
        remedy = "Make /proc/sys writable; in a container:\n  docker run --privileged …"
    return Check(name, "missing", error, means, remedy)


def _scapy(answers: Answers) -> Check:
    means = "builds the packets of scripted exchanges (steps packets with exchange)"
    if answers.scapy:
        return Check("scapy", "ok", "installed", means)
    return Check("scapy", "missing", "not installed", means, "  pip install 'sixpost[packets]'")


def _filter(answers: Answers) -> Check:
    means = "takes IPv6 away from one server, as if the system had none (host: ipv6: false)"
    if not answers.no_ipv6_filter:
        return Check("no_ipv6_filter", "ok", "a seccomp filter", means)
    remedy = "It needs Linux on x86_64 or aarch64, with seccomp filters in the kernel."
    return Check("no_ipv6_filter", "missing", answers.no_ipv6_filter, means, remedy)


def _process_table(answers: Answers) -> Check:
    means = "counts descriptors and listening sockets of a server"
    if not answers.process_table:
        return Check("process_table", "ok", "/proc", means)
    return Check("process_table", "missing", answers.process_table, means, "Mount /proc, on Linux.")


def _compiler(answers: Answers) -> Check:
    means = "optional: the benchmarks compare with clients and servers in C; no scenario needs it"
    if answers.compiler:
        return Check("compiler", "ok", answers.compiler, means)
    return Check("compiler", "limited", "no C compiler", means, "  sudo apt install gcc libc6-dev")
