"""The one reader of a wire: hands each packet to the conversation that it belongs to.

A wire has many clients beyond it and one reader at a time. Whoever waits for something reads for all
(`pump`); while nobody does and clients are held that must go on answering, a thread of the station reads.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

from conformance.addresses import Network
from conformance.errors import MachineError
from conformance.packets.templates import layout_of
from conformance.packets.wire import Wire

Handler = Callable[[bytes, bytes], None]
"""Takes the key of a conversation (`templates.Layout.key`) and a packet."""

FIRST_PORT = 40_000
"""Of the clients beyond a wire."""
_PORTS = itertools.cycle(range(FIRST_PORT, 65_536))
"""One supply for all: a second station of a wire would meet what the first one's connections left behind."""
_BATCH = 256


class Station:
    """Where the clients beyond a wire are. Used by one thread, beside its own."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.handlers: dict[bytes, Handler] = {}
        self.stray: Handler | None = None
        """Told of packets that belong to no conversation."""
        self.seen = 0
        """Packets that came."""
        self._given: dict[Network, int] = {}
        self._reading = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._stop_reading, self._stop_writing = os.pipe()
        self._poll = select.poll()
        self._poll.register(wire.fileno(), select.POLLIN)
        self._failure: Exception | None = None

    def next_port(self) -> int:
        """Return a port number that the clients of the next conversation have."""
        return next(_PORTS)

    def sources(self, prefix: Network, count: int) -> list[int]:
        """Return ``count`` addresses of ``prefix`` that nobody was given yet, as numbers.

        The first one is left out (the subnet-router anycast address, RFC 4291 section 2.6.1; the network's
        own for IPv4), and so is the last of IPv4, a broadcast address. Raises MachineError when they are
        used up.
        """
        first = self._given.get(prefix, 1)
        usable = prefix.num_addresses - (1 if prefix.version == 4 else 0)
        if first + count > usable:
            raise MachineError(f"{prefix} has no {count} addresses more; take a shorter prefix")
        self._given[prefix] = first + count
        start = int(prefix.network_address) + first
        return list(range(start, start + count))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Be the reader; the station's own thread waits meanwhile. Raises what that thread has met."""
        with self._reading:
            if self._failure is not None:
                raise self._failure
            yield

    def pump(self, until: float) -> bool:
        """Hand on what waits; wait for the first packet until the moment ``until`` of ``time.monotonic``.

        Returns whether anything came. To be called inside `reading`.
        """
        read = self.wire.read
        packet = read()
        if packet is None:
            remaining = until - time.monotonic()
            if remaining > 0 and self._poll.poll(remaining * 1000):
                packet = read()
        came = 0
        while packet is not None:
            self._hand_on(packet)
            came += 1
            if came == _BATCH:
                break
            packet = read()
        self.seen += came
        return came > 0

    def pump_until(self, met: Callable[[], bool], limit: float) -> None:
        """Be the reader until ``met``, at most ``limit`` seconds."""
        deadline = time.monotonic() + limit
        with self.reading():
            while not met() and time.monotonic() < deadline:
                self.pump(deadline)

    def _hand_on(self, packet: bytes) -> None:
        layout = layout_of(packet)
        if layout is not None:
            key = packet[layout.key]
            handler = self.handlers.get(key, self.stray)
            if handler is not None:
                handler(key, packet)

    def keep(self) -> None:
        """Let a thread answer for the clients that are held, whenever nobody else reads."""
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._run, name="sixpost-station", daemon=True)
            self._keeper.start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self.wire.fileno(), select.POLLIN)
        poll.register(self._stop_reading, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self._stop_reading in ready:
                    return
                with self._reading:
                    self.pump(0.0)
        except Exception as error:  # noqa: BLE001 - told to whoever reads next
            self._failure = error

    def close(self) -> None:
        """Stop answering; the wire stays open. A second call does nothing."""
        if self._stop_reading < 0:
            return
        if self._keeper is not None:
            os.write(self._stop_writing, b".")
            self._keeper.join()
        os.close(self._stop_reading)
        os.close(self._stop_writing)
        self._stop_reading = self._stop_writing = -1
        self.handlers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
