"""Full handshakes a second of the user-space TCP peer, from templates and by scapy, each from a source of its own.

Both meet the same C server, which accepts and closes, in turns, over a wire in a network namespace of a child
process. Needs a C compiler (``cc``, or what CC names).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import CannotMeasure, Measurement
from benchmarks.sweep import accept_and_close, build
from conformance.addresses import Address, parse, parse_interface, parse_network
from conformance.errors import MachineError
from conformance.network import interfaces, modes, netns
from conformance.network.plan import SERVER_V6
from conformance.packets import exchange, peer
from conformance.packets.station import Station
from conformance.packets.wire import open_wire
from conformance.scenario.actions import Exchange

HANDSHAKES = 10_000
BY_SCAPY = 200
LEAST = 6_000.0
"""Handshakes a second from templates."""
_PREFIX = parse_network("2001:db8:c::/48")
_SCAPYS_PREFIX = parse("2001:db8:5::")
_SCRIPT = tuple(
    Exchange.model_validate(turn)
    for turn in ({"send": {"flags": "SYN"}}, {"await": {"flags": "SYN-ACK"}}, {"send": {"flags": "ACK"}})
)
_LIMIT = 600.0  # seconds for what takes a few


def from_templates(station: Station, port: int) -> float:
    """Return handshakes a second; every client goes away when the server closes."""
    crowd = peer.complete_handshakes(station, SERVER_V6, port, _PREFIX, HANDSHAKES)
    station.pump_until(lambda: crowd.open == 0, _LIMIT)
    crowd.close()
    if crowd.established != HANDSHAKES:
        raise CannotMeasure(f"only {crowd.established} of {HANDSHAKES} handshakes were completed")
    return crowd.established / crowd.seconds


def by_scapy(station: Station, port: int, first: int) -> float:
    """Return handshakes a second whose packets scapy builds and parses, one after the other."""
    sources: list[Address] = [_SCAPYS_PREFIX + first + number for number in range(BY_SCAPY)]
    began = time.perf_counter()
    for source in sources:
        result = exchange.run(station, source, SERVER_V6, port, _SCRIPT, lambda *_event: None)
        if not result.completed:
            raise CannotMeasure(f"a handshake by scapy failed: {result.expected}, {result.actual}")
    return BY_SCAPY / (time.perf_counter() - began)


def inside(folder: Path, repeat: int) -> tuple[str, list[tuple[float, float]]]:
    """Return the kind of wire and so many pairs of rates, measured in turns; after one for nothing."""
    with netns.fresh(), open_wire() as wire, Station(wire) as station:
        interfaces.add_address("lo", parse_interface(f"{SERVER_V6}/128"))
        with accept_and_close(folder / "accept_close", SERVER_V6) as port:
            pairs = [
                (from_templates(station, port), by_scapy(station, port, 1 + number * BY_SCAPY))
                for number in range(repeat + 1)
            ]
    return wire.kind, pairs[1:]


def measure(repeat: int) -> list[Measurement]:
    """Measure so often, in a child process with a network of its own. Raises CannotMeasure."""
    with tempfile.TemporaryDirectory(prefix="sixpost-benchmarks-") as folder:
        build("accept_close", Path(folder))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.handshakes", folder, str(repeat)],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT,
        )
    if done.returncode != 0:
        raise CannotMeasure(done.stderr.strip())
    kind, pairs = json.loads(done.stdout)
    templates, scapys = (tuple(rate) for rate in zip(*pairs, strict=True))
    ratios = tuple(ours / theirs for ours, theirs in pairs)
    return [
        Measurement(f"handshakes from templates over {kind}", "1/s", templates, LEAST, at_least=True),
        Measurement(f"handshakes by scapy over {kind}", "1/s", scapys),
        Measurement("templates beside scapy", "times", ratios),
    ]


def main(folder: str, repeat: str) -> int:
    """Print the kind of wire and the pairs; 3 with a line for a machine that cannot."""
    try:
        modes.enter("namespace")
        print(json.dumps(inside(Path(folder), int(repeat))))
    except (CannotMeasure, MachineError) as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
