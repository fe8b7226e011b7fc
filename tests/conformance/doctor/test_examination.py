"""The report: the mode, every check, the number of cases; its JSON is a promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.doctor.examination import Answers, Report, built_in_needs, examine
from conformance.doctor.machine import Machine
from conformance.network.modes import Need

REFUSED = "the system allows no namespace of our own (unshare: Operation not permitted)"
CLONE = "proc/sys/kernel/unprivileged_userns_clone"
FILTERED = "Seccomp:\t2\n"

IDS = [
    "python",
    "loopback_ipv4",
    "loopback_ipv6",
    "pyroute2",
    "namespace",
    "own_processes",
    "ipv6_switch",
    "wire",
    "capture",
    "scapy",
    "no_ipv6_filter",
    "process_table",
    "compiler",
]
NETWORK = {
    "proc/self/net/if_inet6": "00000000000000000000000000000001 01 80 10 80       lo\n",
    "proc/self/net/fib_trie": "  |-- 127.0.0.1\n",
}
NEEDS: list[tuple[Need, ...]] = [
    (),
    ("any_source",),
    ("wildcard_listener",),
    ("own_network",),
    ("own_network", "wire"),
    ("own_network", "wire", "crafted_packets"),
    ("no_ipv6_filter",),
    ("process_table",),
]


def states(report: Report) -> dict[str, str]:
    return {check.id: check.state for check in report.checks}


@pytest.fixture
def good(machine) -> Machine:
    return machine(NETWORK)


GOOD = Answers(wire="tun", compiler="cc")


def test_a_machine_that_has_everything(good: Machine) -> None:
    report = examine(good, GOOD, NEEDS)
    assert states(report) == dict.fromkeys(IDS, "ok")
    assert [check.remedy for check in report.checks] == [""] * len(IDS)
    assert (report.mode, report.total, report.runnable) == ("namespace", 8, 8)
    assert "user namespaces are allowed" in report.reason


def test_the_json(good: Machine) -> None:
    value = examine(good, GOOD, NEEDS).as_json()
    assert list(value) == ["schema", "mode", "reason", "checks", "cases"]
    assert (value["schema"], value["cases"]) == (1, {"total": 8, "runnable": 8})
    assert [one["id"] for one in value["checks"]] == IDS
    for one in value["checks"]:
        assert list(one) == ["id", "state", "found", "means", "remedy"]
        assert all(isinstance(text, str) for text in one.values())
        assert one["found"]
        assert one["means"]


def test_no_namespace(machine) -> None:
    here = machine({**NETWORK, CLONE: "0", ".dockerenv": "", "proc/self/status": FILTERED})
    report = examine(here, Answers(namespace=REFUSED, compiler="cc"), NEEDS)
    assert (report.mode, report.total, report.runnable) == ("loopback", 8, 3)
    inside = {"namespace", "own_processes", "ipv6_switch", "wire", "capture"}
    assert {name for name, state in states(report).items() if state != "ok"} == inside
    (check,) = (one for one in report.checks if one.id == "namespace")
    assert check.found == report.reason
    for part in ("unprivileged_userns_clone is 0", "docker"):
        assert part in check.found
        assert part in check.remedy
    assert "1. kernel" in check.remedy


@pytest.mark.parametrize(
    ("answers", "lacking", "state", "runnable"),
    [
        ({"wire": "", "wire_error": "no wire"}, {"wire"}, "missing", 6),
        ({"scapy": False}, {"scapy"}, "missing", 7),
        ({"ipv6_switch": "read-only"}, {"ipv6_switch"}, "missing", 5),
        ({"capture": "no packet socket"}, {"capture"}, "missing", 8),
        ({"processes": "cannot be mounted"}, {"own_processes"}, "limited", 8),
        ({"no_ipv6_filter": "no seccomp"}, {"no_ipv6_filter"}, "missing", 7),
        ({"process_table": "no /proc"}, {"process_table"}, "missing", 7),
        ({"compiler": ""}, {"compiler"}, "limited", 8),
        (
            {"trial": "it failed"},
            {"own_processes", "ipv6_switch", "wire", "capture"},
            "missing",
            5,
        ),
    ],
)
def test_one_thing_is_missing(
    good: Machine, answers: dict[str, object], lacking: set[str], state: str, runnable: int
) -> None:
    given = Answers(**{"wire": "tun", "compiler": "cc", **answers})  # type: ignore[arg-type]
    report = examine(good, given, NEEDS)
    found = {check.id: check.state for check in report.checks if check.state != "ok"}
    assert found == dict.fromkeys(lacking, state)
    assert (report.mode, report.runnable) == ("namespace", runnable)


def test_a_wire_over_veth_is_as_good(machine) -> None:
    here = machine({**NETWORK, "dev/net/tun": ""})
    (check,) = (one for one in examine(here, Answers(wire="veth")).checks if one.id == "wire")
    assert (check.state, "/dev/net/tun is closed" in check.found) == ("ok", True)


@pytest.mark.parametrize(
    ("files", "found", "remedy"),
    [
        ({"proc/self/net/if_inet6": ""}, "no ::1", "sysctl -w net.ipv6.conf.lo.disable_ipv6=0"),
        ({"proc/self/net/if_inet6": "", ".dockerenv": ""}, "no ::1", "docker run --sysctl net.ipv6.conf.all"),
        ({"proc/self/net/if_inet6": None}, "the kernel has no IPv6", "ipv6.disable=1"),
    ],
)
def test_loopback_without_ipv6(machine, files: dict[str, str | None], found: str, remedy: str) -> None:
    here = machine({**NETWORK, **files})
    (check,) = (one for one in examine(here, GOOD).checks if one.id == "loopback_ipv6")
    assert (check.state, found in check.found, remedy in check.remedy) == ("missing", True, True)


def test_loopback_without_ipv4(machine) -> None:
    here = machine({**NETWORK, "proc/self/net/fib_trie": "  |-- 10.0.0.1\n"})
    assert states(examine(here, GOOD))["loopback_ipv4"] == "missing"


def test_another_system(tmp_path: Path) -> None:
    here = Machine(tmp_path, "darwin", 501, {})
    answers = Answers(
        namespace="namespaces need Linux, this is darwin", pyroute2=False, process_table="no /proc"
    )
    report = examine(here, answers, NEEDS)
    assert (report.mode, states(report)["pyroute2"]) == ("loopback", "missing")
    assert "darwin" in report.reason


def test_the_built_in_cases_are_counted() -> None:
    needs = built_in_needs()
    assert len(needs) > 100
    assert () in needs
