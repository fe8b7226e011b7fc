"""``exec:COMMAND``: an adapter in any language, spoken to by lines of JSON (`messages`)."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from conformance.adapters.base import (
    PROTOCOL_VERSION,
    AdminAnswer,
    AdminRequest,
    Advance,
    Configuration,
    Hello,
    Queue,
    QueueChange,
    Running,
    Status,
    Value,
)
from conformance.adapters.messages import (
    AdminOperationRequest,
    AdvanceRequest,
    Answer,
    ChangeQueueRequest,
    ConfigureRequest,
    Done,
    HelloRequest,
    KillRequest,
    LogRequest,
    LogText,
    QueueRequest,
    ReinitializeRequest,
    Request,
    RestartRequest,
    StartRequest,
    StatusRequest,
    StopRequest,
)
from conformance.adapters.servers import Child, LogFile, python_environment
from conformance.errors import AdapterError, AdapterUnsupported
from conformance.network import launch

ANSWER_LIMIT = 32 * 2**20
"""Octets of one answer; an adapter that writes more without an end of line is flooding."""
_SHOWN = 200
"""Characters of a wrong answer that the error shows."""

_Ok = TypeVar("_Ok", bound=Value)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until an adapter counts as silent. Generous: starting a real server may take its time."""

    answer: float = 120.0
    goodbye: float = 20.0
    """For the answer to ``stop`` at the end, for its exit after its stdin was closed, and after SIGTERM."""


class ProcessAdapter:
    """An adapter program. It is started at the first call, and again after it was given up.

    Whatever breaks the contract ends the program with everything that it started, and raises AdapterError
    with the tail of its stderr: what state it is in nobody knows.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: Mapping[str, str],
        workdir: Path,
        *,
        patience: Patience | None = None,
    ) -> None:
        self._command = tuple(command)
        self._settings = dict(settings)
        self._log_path = workdir / "adapter.log"
        self._patience = patience or Patience()
        self._program: _Program | None = None
        self._hello: Hello | None = None

    def hello(self) -> Hello:
        if self._hello is None or self._program is None:
            self._launch()
        assert self._hello is not None
        return self._hello

    def start(self, case: str, workdir: Path, configuration: Configuration) -> Running:
        self.hello()
        fields = {"seq": self._next(), "case": case, "workdir": str(workdir), **_fields(configuration)}
        return self._ask(StartRequest.model_validate(fields), Running)

    def configure(self, configuration: Configuration, *, reset: bool = False) -> Running:
        fields = {"seq": self._next(), "reset": reset, **_fields(configuration)}
        return self._ask(ConfigureRequest.model_validate(fields), Running)

    def restart(self) -> Running:
        return self._ask(RestartRequest(seq=self._next()), Running)

    def reinitialize(self) -> Running:
        return self._ask(ReinitializeRequest(seq=self._next()), Running)

    def kill(self) -> None:
        self._ask(KillRequest(seq=self._next()), Done)

    def admin(self, request: AdminRequest) -> AdminAnswer:
        return self._ask(AdminOperationRequest(seq=self._next(), **request.model_dump()), AdminAnswer)

    def status(self) -> Status:
        return self._ask(StatusRequest(seq=self._next()), Status)

    def queue(self) -> Queue:
        return self._ask(QueueRequest(seq=self._next()), Queue)

    def change_queue(self, change: QueueChange) -> None:
        self._ask(ChangeQueueRequest(seq=self._next(), **change.model_dump()), Done)

    def advance(self, step: Advance) -> None:
        self._ask(AdvanceRequest(seq=self._next(), **step.model_dump()), Done)

    def log(self) -> str:
        """Return the server's log; the adapter's own where it has none to give."""
        if self._program is None:
            return self._adapter_log()
        try:
            return self._ask(LogRequest(seq=self._next()), LogText).text
        except AdapterUnsupported:
            return self._adapter_log()

    def stop(self) -> None:
        if self._program is not None:
            self._ask(StopRequest(seq=self._next()), Done)

    def close(self) -> None:
        if self._program is None:
            return
        with contextlib.suppress(AdapterError, AdapterUnsupported):
            self._ask(StopRequest(seq=self._next()), Done, limit=self._patience.goodbye)
        self._give_up()

    # --- the conversation -----------------------------------------------------------------------------

    def _launch(self) -> None:
        self._program = _Program(self._command, self._log_path, self._patience)
        hello = self._ask(HelloRequest(seq=self._next(), settings=self._settings), Hello)
        if hello.protocol != PROTOCOL_VERSION:
            raise self._broken(
                f"it speaks version {hello.protocol} of the adapter contract, expected is {PROTOCOL_VERSION}"
            )
        self._hello = hello

    def _next(self) -> int:
        if self._program is None:
            raise AdapterError(f"{self._named()} is not running; start it first", log=self._adapter_log())
        return self._program.next_seq()

    def _ask(self, request: Request, expected: type[_Ok], *, limit: float | None = None) -> _Ok:
        assert self._program is not None
        op = str(getattr(request, "op", ""))
        try:
            line = self._program.exchange(
                request.model_dump_json().encode() + b"\n",
                limit if limit is not None else self._patience.answer,
            )
        except _BrokenContractError as error:
            raise self._broken(f"{op}: {error}") from None
        answer = self._parse(op, line)
        if answer.seq != request.seq:
            raise self._broken(f"{op}: it answered out of order: seq {answer.seq}, expected is {request.seq}")
        if answer.unsupported is not None:
            limitation = answer.unsupported
            raise AdapterUnsupported(limitation.feature, limitation.reason, limitation.link)
        if answer.error is not None:
            raise AdapterError(f"{self._named()}: {op}: {answer.error.message}", log=self._adapter_log())
        try:
            return expected.model_validate(answer.ok)
        except ValidationError as error:
            raise self._broken(f"{op}: its answer is wrong: {_first(error)}") from None

    def _parse(self, op: str, line: bytes) -> Answer:
        shown = line[:_SHOWN].decode("utf-8", "backslashreplace").strip()
        try:
            return Answer.model_validate(json.loads(line))
        except ValidationError as error:
            problem = _first(error)
        except ValueError as error:  # JSON or UTF-8
            problem = f"it is no JSON: {error}"
        raise self._broken(f"{op}: its answer cannot be read: {problem}; it was {shown!r}")

    def _broken(self, what: str) -> AdapterError:
        self._give_up()
        return AdapterError(f"{self._named()}: {what}", log=self._adapter_log())

    def _give_up(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            program.end()

    def _named(self) -> str:
        return f"the adapter {self._command[0]!r}"

    def _adapter_log(self) -> str:
        if self._program is not None:
            return self._program.log.tail()
        with contextlib.suppress(OSError):
            return self._log_path.read_text("utf-8", "replace")[-8192:]
        return ""


class _BrokenContractError(Exception):
    """The adapter program did not answer as agreed; the message says how."""


class _Program:
    """The running adapter program and its three pipes. Its stdout is read only while an answer is due."""

    def __init__(self, command: Sequence[str], log_path: Path, patience: Patience) -> None:
        self._patience = patience
        self._seq = 0
        self._buffer = bytearray()
        try:
            process = subprocess.Popen(
                launch.command(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=python_environment(),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise AdapterError(
                f"the adapter {command[0]!r} could not be started: {error.strerror}"
            ) from error
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        self._child = Child(process)
        self.log = LogFile(process.stderr, log_path)

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def exchange(self, request: bytes, limit: float) -> bytes:
        """Write one line and return the next one. Raises _BrokenContractError."""
        self._read_some()
        if self._buffer:
            shown = self._buffer[:_SHOWN].decode("utf-8", "backslashreplace").strip()
            raise _BrokenContractError(f"it wrote without being asked: {shown!r}")
        deadline = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdin, selectors.EVENT_WRITE)
            selector.register(self._stdout, selectors.EVENT_READ)
            looked = 0
            while (end := self._buffer.find(b"\n", looked)) < 0:
                looked = len(self._buffer)
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise _BrokenContractError(f"it was silent for {limit:g} s")
                for key, _ in ready:
                    if key.fileobj is self._stdin:
                        request = self._write_some(request)
                        if not request:
                            selector.unregister(self._stdin)
                    elif not self._read_some():
                        raise _BrokenContractError(self._how_it_ended())
                if len(self._buffer) > ANSWER_LIMIT:
                    raise _BrokenContractError(f"it floods: an answer of more than {ANSWER_LIMIT >> 20} MiB")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _write_some(self, request: bytes) -> bytes:
        try:
            return request[os.write(self._stdin.fileno(), request[: 2**16]) :]
        except BlockingIOError:
            return request
        except BrokenPipeError:
            # It may have answered before it closed its end; what it left on stdout decides.
            return b""

    def _read_some(self) -> bool:
        """Read what is there; False at the end of its stdout."""
        try:
            octets = os.read(self._stdout.fileno(), 2**16)
        except BlockingIOError:
            return True
        self._buffer += octets
        return bool(octets)

    def _how_it_ended(self) -> str:
        if not self._child.wait(self._patience.goodbye):
            return "it closed its stdout"
        code = self._child.end(term=False)
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"

    def end(self) -> None:
        """Close its stdin, wait for its exit, and end whatever is left of it and its children."""
        self._stdin.close()
        # An adapter that waits for room on its stdout would never see that its stdin is closed.
        self._stdout.close()
        self._child.wait(self._patience.goodbye)
        self._child.end(limit=self._patience.goodbye)
        self.log.close()


def _fields(configuration: Configuration) -> dict[str, object]:
    return {name: getattr(configuration, name) for name in Configuration.model_fields}


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
