"""A sweep of 10,000 distinct sources with a verdict on each, beside a C client that only connects from them.

Both meet the same C server, which accepts and closes, in turns, in a network namespace of a child process.
Needs a C compiler (``cc``, or what CC names).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import CannotMeasure, Measurement
from conformance.adapters.base import Configuration, PortSpec, RangeSpec
from conformance.addresses import LOOPBACK_V6, Address, canonical
from conformance.clients.sweep import AT_ONCE, sweep
from conformance.errors import MachineError
from conformance.network import modes
from conformance.oracle import expected_connection
from conformance.oracle.boundaries import Decisions, sources
from conformance.run.steps.sweep import judged
from conformance.scenario.model import SweepExpectation

SOURCES = 10_000
RANGES = 50
LEAST = 60.0
"""Per cent of the C client's rate."""
_C = Path(__file__).with_name("c")
_LIMIT = 600.0  # seconds for what takes a few


def build(name: str, folder: Path) -> Path:
    """Compile one of the programs in C. Raises CannotMeasure with the remedy when there is no compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise CannotMeasure(
            "no C compiler: install one (Debian: apt install gcc libc6-dev), or name it in CC"
        )
    program = folder / name
    command = [compiler, "-O2", "-pthread", "-o", str(program), str(_C / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotMeasure(f"{name}.c does not compile: {done.stderr.strip()}")
    return program


@contextlib.contextmanager
def accept_and_close(program: Path, address: Address) -> Iterator[int]:
    """Run the server on ``address`` and give its port number."""
    command = [str(program), canonical(address), "0"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        line = server.stdout.readline()
        if not line:
            raise CannotMeasure(server.stderr.read().strip())
        try:
            yield int(line)
        finally:
            server.stdin.close()


def some_ranges() -> tuple[RangeSpec, ...]:
    """Return ranges that let nobody in by SMTP, the same ones every time."""
    return tuple(
        RangeSpec(
            name=f"range {number}",
            priority=number,
            lower=f"2001:db8:{number:x}::",
            upper=f"2001:db8:{number + number % 7:x}::{number + 1:x}",
            allow=("imap",),
        )
        for number in range(RANGES)
    )


def ours(port: int, addresses: Sequence[Address], ranges: tuple[RangeSpec, ...]) -> float:
    """Sweep, hold every source against what must happen, and return the seconds of both."""
    configuration = Configuration(
        ports=(PortSpec(name="door", protocol="smtp", address="::1", number=port),), ip_ranges=ranges
    )
    moment = datetime.now(UTC)
    began = time.perf_counter()
    swept = sweep(LOOPBACK_V6, port, protocol="smtp", sources=addresses)
    decisions = Decisions(
        ranges, "ipv6", lambda source: expected_connection(configuration, "door", source, now=moment)
    )
    verdicts = judged(SweepExpectation(), lambda one: decisions.of(one).outcome, addresses, swept)
    seconds = time.perf_counter() - began
    if not verdicts.finding.met or swept.left_out:
        raise CannotMeasure(f"the sweep did not come to its end: {verdicts.finding.actual}")
    return seconds


def theirs(program: Path, port: int, addresses: Sequence[Address]) -> float:
    """Let the C client connect from the same addresses, as many at a time, and return its seconds."""
    done = subprocess.run(
        [str(program), canonical(LOOPBACK_V6), str(port), str(AT_ONCE)],
        input="\n".join(map(canonical, addresses)),
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT,
    )
    closed, _, seconds = done.stdout.partition(" ")
    if done.returncode != 0 or int(closed) != len(addresses):
        raise CannotMeasure(f"the C client did not come to its end: {done.stdout}{done.stderr}")
    return float(seconds)


def inside(folder: Path, repeat: int) -> list[tuple[float, float]]:
    """Return so many pairs of rates, ours and the C client's, measured in turns; after one for nothing."""
    server, client = (folder / name for name in ("accept_close", "epoll_client"))
    ranges = some_ranges()
    addresses = sources(ranges, "ipv6", count=SOURCES, seed=1).addresses[:SOURCES]
    pairs = []
    with accept_and_close(server, LOOPBACK_V6) as port:
        for number in range(repeat + 1):
            if number % 2:
                other = theirs(client, port, addresses)
                own = ours(port, addresses, ranges)
            else:
                own = ours(port, addresses, ranges)
                other = theirs(client, port, addresses)
            pairs.append((len(addresses) / own, len(addresses) / other))
    return pairs[1:]


def measure(repeat: int) -> list[Measurement]:
    """Measure so often, in a child process with a network of its own. Raises CannotMeasure."""
    with tempfile.TemporaryDirectory(prefix="sixpost-benchmarks-") as folder:
        for name in ("accept_close", "epoll_client"):
            build(name, Path(folder))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.sweep", folder, str(repeat)],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT,
        )
    if done.returncode != 0:
        raise CannotMeasure(done.stderr.strip() or f"the child process ended with {done.returncode}")
    pairs = json.loads(done.stdout)
    return [
        Measurement(f"sweep of {SOURCES:,} sources, with verdicts", "per s", tuple(own for own, _ in pairs)),
        Measurement("the same sources by C and epoll", "per s", tuple(other for _, other in pairs)),
        Measurement(
            "ours in per cent of C",
            "%",
            tuple(100 * own / other for own, other in pairs),
            LEAST,
            at_least=True,
        ),
    ]


def main(arguments: Sequence[str]) -> int:
    """Be the child: enter a namespace, measure, print JSON."""
    folder, repeat = arguments
    try:
        modes.enter("namespace")
        print(json.dumps(inside(Path(folder), int(repeat))))
    except (MachineError, CannotMeasure) as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
