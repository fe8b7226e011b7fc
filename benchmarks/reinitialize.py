"""From the request to reinitialize to running services, with idle sessions inside that have to leave."""

from __future__ import annotations

import time

from benchmarks.measure import Measurement
from benchmarks.server import Server

LIMIT = 100.0
IDLE_SESSIONS = 12


def measure(server: Server, repeat: int) -> list[Measurement]:
    """Reinitialize a running ``server`` so often, as its administrator sees it: request, then status."""
    seconds = []
    with server.running():
        server.wait_for_administration()
        for _ in range(repeat):
            generation = server.call("GET", "/status")["generation"]
            inside = [server.greeting(server.ports[i % len(server.ports)]) for i in range(IDLE_SESSIONS)]
            began = time.perf_counter()
            server.call("POST", "/server/reinitialize")
            while server.call("GET", "/status")["generation"] == generation:
                pass
            seconds.append((time.perf_counter() - began) * 1000)
            for client in inside:
                client.close()
    return [Measurement(f"reinitialize, {IDLE_SESSIONS} sessions inside", "ms", tuple(seconds), LIMIT)]
