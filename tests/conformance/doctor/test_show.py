"""The report for people: readable in 80 columns, commands in one piece, colours where they are wanted."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from conformance.doctor.examination import Answers, examine
from conformance.doctor.show import show

APPARMOR = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
COMMAND = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"


def shown(machine, *, width: int, colours: bool = False) -> str:
    here = machine({APPARMOR: "1", ".dockerenv": "", "proc/self/status": "Seccomp:\t2\n"})
    report = examine(here, Answers(namespace="refused", scapy=False), [(), ("wire",)])
    out = io.StringIO()
    show(Console(file=out, width=width, highlight=False, force_terminal=colours), report)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_prose_is_wrapped_and_commands_are_not(machine, width: int) -> None:
    text = shown(machine, width=width)
    lines = text.splitlines()
    assert f"        {COMMAND}" in lines
    assert "        pip install 'sixpost[packets]'" in lines
    commands = [line for line in lines if line.startswith("        ") and not line.startswith(" " * 11)]
    prose = [line for line in lines if line not in commands]
    assert max(map(len, prose)) <= (100 if width == 200 else width)
    assert [line for line in lines if line != line.rstrip()] == []


def test_the_head_says_the_mode_and_the_cases(machine) -> None:
    text = shown(machine, width=120)
    assert text.startswith("conformance run takes the network mode loopback here\n")
    assert "\n  1 of 2 built-in cases can run; the others are skipped\n" in text
    assert "\x1b" not in text


def test_colours(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1;31mmissing" in shown(machine, width=80, colours=True)
