"""The report of the doctor for people: the mode and why, then every check, the remedies ready to copy."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from conformance.doctor.examination import Check, Report, State

_STYLE: dict[State, str] = {"ok": "green", "limited": "yellow", "missing": "bold red"}
_TITLES = {
    "python": "Python",
    "loopback_ipv4": "IPv4 on loopback",
    "loopback_ipv6": "IPv6 on loopback",
    "pyroute2": "pyroute2",
    "namespace": "network namespace",
    "own_processes": "process namespace",
    "ipv6_switch": "switch of IPv6",
    "wire": "wire for packets",
    "capture": "packet capture",
    "scapy": "scapy",
    "no_ipv6_filter": "no-IPv6 filter",
    "process_table": "process table",
    "compiler": "C compiler",
}
_TEXT_AT = 2 + 7 + 2 + 17 + 2
"""The column of what was found, and of what stands below it."""
_READABLE = 100
"""No line of prose is longer, however wide the terminal is."""


def show(console: Console, report: Report) -> None:
    """Print the report."""
    head = Text.assemble("conformance run takes the network mode ", (report.mode, "bold"), " here")
    console.print(head, soft_wrap=True)
    _prose(console, report.reason, 2, "dim")
    counted = f"{report.runnable} of {report.total} built-in cases can run"
    if report.runnable == report.total:
        _prose(console, f"all {report.total} built-in cases can run", 2)
    else:
        _prose(console, f"{counted}; the others are skipped", 2)
    console.print()
    for check in report.checks:
        _show(console, check)


def _show(console: Console, check: Check) -> None:
    first, *more = _wrapped(console, check.found, _TEXT_AT)
    title = _TITLES.get(check.id, check.id)
    state = (f"{check.state:7}", _STYLE[check.state])
    head = Text.assemble("  ", state, f"  {title:17}  ", first)
    head.rstrip()
    console.print(head, soft_wrap=True)
    for line in more:
        console.print(Text(" " * _TEXT_AT + line), soft_wrap=True)
    if check.state == "ok":
        return
    _prose(console, check.means, _TEXT_AT, "dim")
    for line in check.remedy.splitlines():
        if line.startswith("  "):
            # Commands are never broken: they are there to be copied.
            console.print(Text("      " + line, style="cyan"), soft_wrap=True)
        else:
            _prose(console, line, 6)
    if check.remedy:
        console.print()


def _prose(console: Console, text: str, indent: int, style: str = "") -> None:
    for line in _wrapped(console, text, indent):
        console.print(Text(" " * indent + line, style=style), soft_wrap=True)


def _wrapped(console: Console, text: str, indent: int) -> list[str]:
    width = max(20, min(console.width, _READABLE) - indent)
    return [line.plain.rstrip() for line in Text(text).wrap(console, width)] or [""]
