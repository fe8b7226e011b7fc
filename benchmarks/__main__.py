"""``python -m benchmarks [--json] [--repeat N]``: measure, and print each number beside its limit."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import handshakes, mail, range_table, reinitialize, startup, sweep
from benchmarks.measure import CannotMeasure, Measurement, as_json, table
from benchmarks.server import Server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all; return 1 when a median is beyond its limit."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the reference server, and the harness."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeat", type=int, default=11, metavar="N", help="values per number (default: 11)")
    given = parser.parse_args(arguments)
    if given.repeat < 1:
        parser.error("--repeat takes a number above 0")
    with tempfile.TemporaryDirectory(prefix="sixpost-benchmarks-") as folder:
        server = Server(Path(folder))
        server.prepare()
        found = [
            *startup.measure(server, given.repeat),
            *reinitialize.measure(server, given.repeat),
            *range_table.measure(given.repeat),
            *_where_possible("sweep", sweep.measure, given.repeat),
            *_where_possible("handshakes", handshakes.measure, given.repeat),
            *_where_possible(
                "mail beside Postfix",
                lambda repeat: mail.measure(Path(folder) / "mail", repeat),
                given.repeat,
            ),
        ]
    print(as_json(found) if given.json else table(found))
    return 0 if all(each.kept for each in found) else 1


def _where_possible(name: str, measure: Callable[[int], list[Measurement]], repeat: int) -> list[Measurement]:
    """Measure; on a machine that cannot, say why, and go on."""
    try:
        return measure(repeat)
    except CannotMeasure as error:
        print(f"{name}: not measured: {error}", file=sys.stderr)
        return []


if __name__ == "__main__":
    sys.exit(main())
