from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reference_server.listening.control_socket import LONGEST, ControlSocket

from .conftest import KeptLog


class Clock:
    def __init__(self) -> None:
        self.moved: list[float] = []

    async def advance(self, seconds: float) -> Mapping[str, object]:
        self.moved.append(seconds)
        return {"now": "then", "begun": 2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
async def clock(path: Path) -> AsyncIterator[Clock]:
    made = Clock()
    control = ControlSocket(path, made.advance, KeptLog())
    await control.open()
    yield made
    await control.close()
    await control.close()
    assert not path.exists()  # noqa: ASYNC240


async def say(path: Path, *lines: bytes) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        answers = []
        for line in lines:
            writer.write(line + b"\n")
            async with asyncio.timeout(30):
                answers.append(json.loads(await reader.readline()))
        return answers
    finally:
        writer.close()
        await writer.wait_closed()


async def test_it_moves_the_clock(path: Path, clock: Clock) -> None:
    answers = await say(path, b'{"advance": 3600}', b'{"advance": 0.5}', b'{"advance": 0}')
    assert answers == [{"ok": True, "now": "then", "begun": 2}] * 3
    assert clock.moved == [3600, 0.5, 0]


async def test_it_is_its_owners_only(path: Path, clock: Clock) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # noqa: ASYNC240


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"advance", "is not JSON"),
        (b"[1]", "is no order"),
        (b'{"advance": 1, "x": 2}', "is no order"),
        (b'{"advance": true}', "must be a number"),
        (b'{"advance": "1"}', "must be a number"),
        (b'{"advance": NaN}', "must be a number"),
        (b'{"advance": -1}', "must be from 0"),
        (b'{"advance": %d}' % (LONGEST + 1), "must be from 0"),
    ],
)
async def test_what_is_wrong_is_said_and_the_next_order_works(
    path: Path, clock: Clock, line: bytes, error: str
) -> None:
    wrong, right = await say(path, line, b'{"advance": 1}')
    assert wrong["ok"] is False
    assert error in wrong["error"]
    assert right["ok"] is True
    assert clock.moved == [1]


async def test_a_line_without_end_ends_the_connection(path: Path, clock: Clock) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * 100_000)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_what_a_killed_server_left_is_replaced_and_anything_else_is_not(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    control = ControlSocket(path, Clock().advance, KeptLog())
    await control.open()
    await control.close()
    path.write_text("mine")  # noqa: ASYNC240
    with pytest.raises(OSError, match="in use"):
        await control.open()
    assert path.read_text() == "mine"  # noqa: ASYNC240
