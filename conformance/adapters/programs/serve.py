"""The loop of an adapter program in Python: requests from stdin, answers to stdout, the log to stderr."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from pydantic import BaseModel, TypeAdapter, ValidationError

from conformance.adapters.base import Adapter, AdminRequest, Advance, Configuration, QueueChange
from conformance.adapters.messages import (
    REQUESTS,
    AdminOperationRequest,
    AdvanceRequest,
    AnyRequest,
    ChangeQueueRequest,
    ConfigureRequest,
    Done,
    HelloRequest,
    KillRequest,
    LogRequest,
    LogText,
    QueueRequest,
    ReinitializeRequest,
    RestartRequest,
    StartRequest,
    StatusRequest,
)
from conformance.errors import AdapterUnsupported, ConformanceError

_REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(AnyRequest)


def serve(make: Callable[[dict[str, str]], Adapter]) -> int:
    """Answer requests until stdin ends; then end the server. Return the exit code.

    ``make`` builds the adapter from the user's settings; it is called at the first ``hello``.
    """
    signal.signal(signal.SIGTERM, _exit)
    conversation = _Conversation(make)
    try:
        for line in sys.stdin.buffer:
            _write(sys.stdout.buffer, conversation.answer(line))
    finally:
        conversation.close()
    return 0


def _exit(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _write(stream: BinaryIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


class _Conversation:
    def __init__(self, make: Callable[[dict[str, str]], Adapter]) -> None:
        self._make = make
        self._adapter: Adapter | None = None

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one request; every failure is one."""
        seq = 0
        try:
            raw = json.loads(line)
            seq = raw["seq"] if isinstance(raw, dict) and isinstance(raw.get("seq"), int) else 0
            if isinstance(raw, dict) and raw.get("op") not in REQUESTS:
                return _unsupported(seq, f"op {raw.get('op')}", "this adapter does not know it")
            result = self._dispatch(_REQUEST.validate_python(raw))
        except AdapterUnsupported as limit:
            return _unsupported(seq, limit.feature, limit.reason, limit.link)
        except ValidationError as error:
            return _not_understood(seq, error)
        except (ConformanceError, OSError, ValueError) as error:
            traceback.print_exc(file=sys.stderr)
            return {"seq": seq, "error": {"message": str(error)}}
        return {"seq": seq, "ok": result.model_dump(mode="json")}

    def close(self) -> None:
        if self._adapter is not None:
            self._adapter.close()

    def _dispatch(self, request: AnyRequest) -> BaseModel:
        if isinstance(request, HelloRequest):
            if self._adapter is None:
                self._adapter = self._make(request.settings)
            return self._adapter.hello()
        adapter = self._adapter
        if adapter is None:
            raise ValueError("hello comes first")
        match request:
            case StartRequest():
                return adapter.start(request.case, Path(request.workdir), _configuration(request))
            case ConfigureRequest():
                return adapter.configure(_configuration(request), reset=request.reset)
            case RestartRequest():
                return adapter.restart()
            case ReinitializeRequest():
                return adapter.reinitialize()
            case AdminOperationRequest():
                fields = {name: getattr(request, name) for name in AdminRequest.model_fields}
                return adapter.admin(AdminRequest.model_validate(fields))
            case StatusRequest():
                return adapter.status()
            case QueueRequest():
                return adapter.queue()
            case ChangeQueueRequest():
                adapter.change_queue(QueueChange(action=request.action))
            case AdvanceRequest():
                adapter.advance(Advance(seconds=request.seconds))
            case LogRequest():
                return LogText(text=adapter.log())
            case KillRequest():
                adapter.kill()
            case _:
                adapter.stop()
        return Done()


def _configuration(request: StartRequest | ConfigureRequest) -> Configuration:
    return Configuration.model_validate({name: getattr(request, name) for name in Configuration.model_fields})


def _unsupported(seq: int, feature: str, reason: str, link: str = "") -> dict[str, Any]:
    return {"seq": seq, "unsupported": {"feature": feature, "reason": reason, "link": link}}


def _not_understood(seq: int, error: ValidationError) -> dict[str, Any]:
    """A key or value that this version does not know is a feature that it does not have."""
    problem = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return _unsupported(seq, place, f"this adapter does not understand it: {problem['msg']}")
