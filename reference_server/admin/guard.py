"""The door of the administration: nothing is read, shown or done without the password.

An ASGI application in front of another one. It stands before routing and parsing, so that a request
without the password learns nothing, not even whether a path exists or its body was good.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_LENGTH = 64 * 1024
"""Octets of a request's body: the largest record of the contract has some 30 KiB."""


class Guard:
    """Lets requests with the right HTTP Basic credentials through, with a body of bounded size."""

    def __init__(self, app: Application, check: Callable[[str, str], Awaitable[bool]]) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 401 or 400, or pass the request on."""
        if scope["type"] != "http":
            return
        given = credentials(dict(scope["headers"]).get(b"authorization", b""))
        if given is None or not await self._check(*given):
            realm = [(b"www-authenticate", b'Basic realm="reference-server", charset="UTF-8"')]
            await _refuse(send, 401, "the administrator's name and password are needed (HTTP Basic)", realm)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client has gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > BODY_LENGTH:
                await _refuse(send, 400, f"body: has more than {BODY_LENGTH} octets", [])
                return
        await self._app(scope, _replay(bytes(body), receive), send)


def credentials(header: bytes) -> tuple[str, str] | None:
    """Return name and password of an ``Authorization`` header (RFC 7617), or None."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _refuse(send: Send, status: int, error: str, headers: list[tuple[bytes, bytes]]) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
