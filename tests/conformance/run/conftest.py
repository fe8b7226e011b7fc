"""A server under test inside this process: real sockets, and for each port what it does to its clients."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import get_args

import pytest

from conformance import requirements
from conformance.adapters.base import (
    AdminAnswer,
    AdminRequest,
    Advance,
    Configuration,
    Endpoint,
    Feature,
    Hello,
    Limitation,
    PortSpec,
    Queue,
    QueueChange,
    Running,
    Status,
)
from conformance.addresses import canonical, parse
from conformance.network.modes import Network
from conformance.run.runner import Bench, run_case
from conformance.scenario.case import Case
from conformance.scenario.loader import load
from conformance.verdict.model import CaseRecord

Behaviour = Callable[[socket.socket], object]
LIMIT = 60.0
"""Seconds for what happens at once on an idle machine."""

MESSAGE = b"Subject: hello\r\n\r\nthe newest\r\n"
_ANSWERS: dict[str, tuple[bytes, list[tuple[str, bytes | None]]]] = {
    "smtp": (
        b"220 here\r\n",
        [
            ("EHLO", b"250-here\r\n250 AUTH PLAIN\r\n"),
            ("AUTH PLAIN", b"235 in\r\n"),
            ("DATA", b"354 go\r\n"),
            ("QUIT", None),
            (".", b"250 fine\r\n"),
        ],
    ),
    "pop3": (
        b"+OK here\r\n",
        [
            ("CAPA", b"+OK\r\n.\r\n"),
            ("STAT", b"+OK 2 99\r\n"),
            ("RETR 2", b"+OK\r\n" + MESSAGE + b".\r\n"),
            ("QUIT", None),
            (".", b"+OK\r\n"),
        ],
    ),
    "imap": (
        b"* OK here\r\n",
        [
            (r"\S+ CAPABILITY", b"* CAPABILITY IMAP4rev1\r\n@ OK done\r\n"),
            (r"\S+ (EXAMINE|SELECT)", b"* 2 EXISTS\r\n@ OK done\r\n"),
            (r"\S+ FETCH 2", b"* 2 FETCH (BODY[] {%d}\r\n%s)\r\n@ OK done\r\n" % (len(MESSAGE), MESSAGE)),
            (r"\S+ LOGOUT", None),
            (".", b"@ OK done\r\n"),
        ],
    ),
}


def decent(protocol: str, *rules: tuple[str, bytes | None]) -> Behaviour:
    """Speak ``protocol`` well enough; ``rules`` (pattern, answer) come first, None closes, @ IMAP's tag."""
    greeting, known = _ANSWERS[protocol]

    def behave(client: socket.socket) -> str:
        client.sendall(greeting)
        content = False
        with client.makefile("rb") as lines:
            for line in lines:
                if content:
                    content = line != b".\r\n"
                    if content:
                        continue
                said = line.decode("ascii").strip()
                answer = next(
                    (a for p, a in (*rules, *known) if re.match(p, said, re.IGNORECASE)), b"500\r\n"
                )
                if answer is None:
                    return "goodbye"
                content = answer.startswith(b"354")
                client.sendall(answer.replace(b"@", said.partition(" ")[0].encode()))
        return "end"

    return behave


def leave(_client: socket.socket) -> None:
    """Close without a word."""


def say(text: bytes) -> Behaviour:
    """Say this and close."""
    return lambda client: client.sendall(text)


def one_after_the_other(*behaviours: Behaviour) -> Behaviour:
    """Treat each client as the next of ``behaviours`` says; the last holds for all that follow."""
    waiting = list(behaviours)

    def behave(client: socket.socket) -> object:
        return (waiting.pop(0) if len(waiting) > 1 else waiting[0])(client)

    return behave


class Door:
    """One open port: a thread that accepts, one for each client."""

    def __init__(self, spec: PortSpec, behave: Behaviour) -> None:
        self.spec = spec
        self.peers: list[str] = []
        self.ends: list[object] = []
        """How each session ended: what its behaviour returned, or "reset"."""
        self._behave = behave
        self._clients: list[tuple[threading.Thread, socket.socket]] = []
        address = parse(spec.address)
        self._listener = socket.socket(
            socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM
        )
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((str(address), spec.number))
            self._listener.listen(64)
        except OSError:
            self._listener.close()
            raise
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, peer = self._listener.accept()
            except OSError:
                return
            self.peers.append(str(peer[0]))
            thread = threading.Thread(target=self._treat, args=(client,))
            self._clients.append((thread, client))
            thread.start()

    def _treat(self, client: socket.socket) -> None:
        with client:
            client.settimeout(LIMIT)
            try:
                self.ends.append(self._behave(client))
            except ConnectionResetError:
                self.ends.append("reset")
            except OSError as error:
                self.ends.append(error)

    def wait(self) -> None:
        """Wait until every client is gone."""
        for thread, _client in list(self._clients):
            thread.join(LIMIT)
            assert not thread.is_alive()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join(LIMIT)
        self._listener.close()
        for _thread, client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self.wait()


class ScriptedAdapter:
    """An adapter whose server is this process. It looks at no ranges and limits: ``behave`` says it all."""

    def __init__(self) -> None:
        self.behave: dict[str, Behaviour] = {}
        """By port name; a port that is not named speaks its protocol decently."""
        self.reports: dict[str, Endpoint] = {}
        """Answers of `start` about ports that are not opened."""
        self.fails: dict[str, Exception] = {}
        """By method."""
        self.does: dict[str, Callable[[], object]] = {}
        """By method, before it does anything."""
        self.answers: list[AdminAnswer] = []
        self.asked: list[AdminRequest] = []
        self.follows: tuple[str, ...] = ("page",)
        self.limitations: tuple[Limitation, ...] = ()
        self.capabilities: tuple[str, ...] = get_args(Feature)
        self.calls: list[str] = []
        self.configurations: list[Configuration] = []
        self.waiting = Queue()
        self.says = Status(ipv6_available=True)
        self.text = "first line\nlast line"
        self.doors: dict[str, Door] = {}
        self.past: list[Door] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        self.does.get(name, lambda: None)()
        if name in self.fails:
            raise self.fails[name]

    def hello(self) -> Hello:
        self._called("hello")
        return Hello(
            name="scripted",
            version="1",
            follows=self.follows,  # type: ignore[arg-type]
            capabilities=self.capabilities,
            limitations=self.limitations,
        )

    def start(self, case: str, workdir: Path, configuration: Configuration) -> Running:
        assert case
        assert list(workdir.iterdir()) == []
        self.configurations.append(configuration)
        self._called("start")
        return self._reopen()

    def configure(self, configuration: Configuration, *, reset: bool = False) -> Running:
        self.configurations.append(configuration)
        self._called("reset" if reset else "configure")
        return self._reopen() if reset else self._running()

    def restart(self) -> Running:
        self._called("restart")
        return self._reopen()

    def reinitialize(self) -> Running:
        self._called("reinitialize")
        return self._reopen()

    def kill(self) -> None:
        self._called("kill")
        self._close_doors()

    def admin(self, request: AdminRequest) -> AdminAnswer:
        self.asked.append(request)
        self._called("admin")
        return self.answers.pop(0)

    def status(self) -> Status:
        self._called("status")
        return self.says

    def queue(self) -> Queue:
        self._called("queue")
        return self.waiting

    def change_queue(self, change: QueueChange) -> None:
        self._called(f"queue.{change.action}")

    def advance(self, step: Advance) -> None:
        self._called(f"advance {step.seconds}")

    def log(self) -> str:
        self._called("log")
        return self.text

    def stop(self) -> None:
        self._called("stop")
        self._close_doors()

    def close(self) -> None:
        self._close_doors()

    def door(self, name: str) -> Door:
        """Return the newest listener of a port, open or not."""
        return next(door for door in (*self.doors.values(), *reversed(self.past)) if door.spec.name == name)

    def _close_doors(self) -> None:
        for door in self.doors.values():
            door.close()
        self.past += self.doors.values()
        self.doors.clear()

    def _reopen(self) -> Running:
        self._close_doors()
        self._failed: list[Endpoint] = []
        for spec in self.configurations[-1].ports:
            if spec.name in self.reports:
                continue
            try:
                self.doors[spec.name] = Door(spec, self.behave.get(spec.name, decent(spec.protocol)))
            except OSError as error:
                words = f"cannot listen on {spec.address} port {spec.number}: {error.strerror}"
                self._failed.append(_endpoint(spec, spec.number, words))
        return self._running()

    def _running(self) -> Running:
        endpoints = [_endpoint(door.spec, door.port) for door in self.doors.values()]
        return Running(endpoints=(*endpoints, *self._failed, *self.reports.values()), pids=(os.getpid(),))


def _endpoint(spec: PortSpec, number: int, error: str = "") -> Endpoint:
    return Endpoint(
        name=spec.name,
        protocol=spec.protocol,
        address=canonical(parse(spec.address)),
        port=number,
        state="failed" if error else "open",
        error=error,
    )


_HEADER = """\
id: {name}
title: What the tests of the runner do
requirements: [{requirements}]
server:
{server}
steps:
{steps}
"""
_ONE_PORT = 'ports: [{name: door, protocol: smtp, address: "::1"}]'
NOBODY = 'ip_ranges: [{name: Others, lower: "2001:db8::", upper: "2001:db8::ff"}]'
"""A range that no client on loopback matches."""


class Stage:
    """Runs scenarios that stand in the tests against the scripted adapter."""

    NOBODY = NOBODY
    MESSAGE = MESSAGE
    decent = staticmethod(decent)
    leave = staticmethod(leave)
    say = staticmethod(say)
    one_after_the_other = staticmethod(one_after_the_other)

    def __init__(self, folder: Path) -> None:
        self.adapter = ScriptedAdapter()
        self.folder = folder
        self.network = Network("loopback")
        work = folder / "work"
        work.mkdir()
        self.bench = Bench(self.adapter, self.network, requirements.load(), work, replay=lambda _: "again")

    def case(
        self,
        steps: str,
        *,
        server: str = _ONE_PORT,
        requirements_: str = "BIND-2",
        finally_: str = "",
        more: str = "",
        name: str = "tests.case",
    ) -> Case:
        """Return a case; ``steps``, ``server``, ``finally_`` and ``more`` (other keys) are YAML."""
        text = _HEADER.format(
            name=name,
            requirements=requirements_,
            server=indent(dedent(server).strip(), "  "),
            steps=indent(dedent(steps).strip(), "  "),
        )
        if finally_:
            text += "finally:\n" + indent(dedent(finally_).strip(), "  ") + "\n"
        text += dedent(more)
        file = self.folder / f"{name}.yaml"
        file.write_text(text, "utf-8")
        (case,) = load([file], requirements.load())
        return case

    def run(self, steps: str, **parts: str) -> CaseRecord:
        """Run a case."""
        return run_case(self.case(steps, **parts), self.bench)

    @staticmethod
    def verdicts(record: CaseRecord) -> list[tuple[str, str]]:
        """Return requirement and verdict of each judgement."""
        return [(one.requirement, str(one.verdict)) for one in record.judgements]

    @staticmethod
    def said(record: CaseRecord, *kinds: str) -> list[str]:
        """Return the transcript's lines of these kinds; of all without any."""
        return [line.text for line in record.transcript if not kinds or line.kind in kinds]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.adapter.close()
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]


@pytest.fixture
def hang_up() -> Behaviour:
    """Close with RST."""

    def behave(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave
