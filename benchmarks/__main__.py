"""``python -m benchmarks [--json] [--repeat N]``: measure, and print each number beside its limit."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import mail, range_table, reinitialize, startup
from benchmarks.measure import CannotMeasure, as_json, table
from benchmarks.server import Server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all; return 1 when a median is beyond its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the reference server.")
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
        ]
        try:
            found += mail.measure(Path(folder) / "mail", given.repeat)
        except CannotMeasure as error:
            # Beside the numbers, so that nobody takes what is missing for what is good.
            print(
                f"not measured: mail beside Postfix: {error}", file=sys.stderr if given.json else sys.stdout
            )
    print(as_json(found) if given.json else table(found))
    return 0 if all(each.kept for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
