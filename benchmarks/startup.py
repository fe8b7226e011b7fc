"""From exec, on an existing data directory, to the first greeting, and to the administration's answer."""

from __future__ import annotations

import time

from benchmarks.measure import Measurement
from benchmarks.server import Server

GREETING_LIMIT = 1000.0
ADMINISTRATION_LIMIT = 2000.0


def measure(server: Server, repeat: int) -> list[Measurement]:
    """Start ``server`` so often. The administration's answer includes the check of the stored password."""
    greeted, answered = [], []
    for _ in range(repeat):
        with server.running():
            client = server.greeting(server.ports[0])
            greeted.append((time.perf_counter() - server.started) * 1000)
            client.close()
            server.wait_for_administration()
            answered.append((time.perf_counter() - server.started) * 1000)
    return [
        Measurement("a listener greets after exec", "ms", tuple(greeted), GREETING_LIMIT),
        Measurement("the administration answers after exec", "ms", tuple(answered), ADMINISTRATION_LIMIT),
    ]
