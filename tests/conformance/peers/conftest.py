"""Smart hosts and clients of them, on loopback."""

from __future__ import annotations

import smtplib
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from conformance.addresses import parse
from conformance.peers import sockets
from conformance.peers.behaviour import Behaviour
from conformance.peers.certificates import Authority, authority
from conformance.peers.recording import Recording
from conformance.peers.smart_host import SmartHost

LIMIT = 60.0
"""Seconds for what happens at once on an idle machine."""


class Lab:
    """Opens smart hosts that share one recording, and clients that end with the test."""

    LIMIT = LIMIT

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.recording = Recording()
        self.said: list[tuple[str, str, str]] = []

    def host(self, *addresses: str, names: tuple[str, ...] = (), **behaviour: Any) -> SmartHost:
        parsed = tuple(parse(address) for address in addresses or ("::1",))
        host = SmartHost(
            "relay",
            parsed,
            sockets.claim(parsed),
            self.recording,
            names=names,
            record=lambda *words: self.said.append(words),
        )
        host.open(Behaviour.model_validate(behaviour))
        self._stack.callback(host.close)
        return host

    def client(
        self, host: SmartHost, *, tls: ssl.SSLContext | None = None, at: str | None = None
    ) -> smtplib.SMTP:
        address = at or str(host.addresses[0])
        if tls is not None:
            client: smtplib.SMTP = smtplib.SMTP_SSL(address, host.port, "me.test", timeout=LIMIT, context=tls)
        else:
            client = smtplib.SMTP(address, host.port, "me.test", timeout=LIMIT)
        self._stack.callback(client.close)
        return client

    def settled(self, visits: int = 1) -> None:
        """Wait until so many visits have ended."""
        assert self.recording.wait_for(lambda all_: sum(bool(one.ended) for one in all_) >= visits, LIMIT)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack)
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]


@pytest.fixture(scope="session")
def ca() -> Authority:
    return authority()
