"""``python -m torture [--seed N]``: kill the server, print what became of the mail; 1 when some is lost."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Sequence

from torture import plan, storm
from torture.storm import Summary

MESSAGES, KILLS, SUBMITTERS = 2000, 200, 8
LIMIT = 3600.0
SHOWN = 20
"""Lines of one kind at most."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once; return 0 when every message is accounted for, else 1."""
    given = _parse(arguments)
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    print(f"seed {seed} (again: python -m torture --seed {seed})", file=sys.stderr, flush=True)
    summary = storm.run(
        plan.make(seed, given.messages, given.kills, given.submitters),
        fault=given.fault,
        limit=given.limit,
        progress=_progress(),
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(json.dumps(summary.as_record(), indent=2) if given.json else text(summary))
    return 0 if summary.good else 1


def text(summary: Summary) -> str:
    """Return the summary for people."""
    verdict = summary.verdict
    rows = [
        ("messages", f"{summary.messages:,}, in {summary.attempts:,} attempts"),
        ("acknowledged", f"{summary.acknowledged:,}"),
        (
            "kills",
            f"{summary.kills} of {summary.planned}: {summary.kills_while_sending} while relaying, "
            f"{summary.kills_while_starting} while starting, {summary.kills_without_events} idle",
        ),
        ("lost", f"{len(verdict.lost)}"),
        ("damaged", f"{len(verdict.damaged)}"),
        ("strange", f"{len(verdict.strange)}"),
        (
            "duplicates explained",
            f"{len(verdict.explained)}, killed {verdict.longest_gap:.3f} s after the dot at most",
        ),
        ("duplicates unexplained", f"{len(verdict.unexplained)}"),
        ("arrived, never acknowledged", f"{verdict.unacknowledged_arrived}"),
        ("seconds", f"{summary.seconds:.1f}"),
        ("seed", f"{summary.seed}"),
    ]
    lines = [f"{name:28} {value}" for name, value in rows]
    for name, found in (
        ("lost", verdict.lost),
        ("damaged", verdict.damaged),
        ("strange", verdict.strange),
        ("unexplained", verdict.unexplained),
        ("fault", summary.faults),
    ):
        lines += [f"{name}: {each}" for each in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"{name}: and {len(found) - SHOWN} more")
    lines.append("every message is accounted for" if summary.good else "NOT every message is accounted for")
    return "\n".join(lines)


def _progress() -> Callable[[Summary], None]:
    """Return what shows the progress: one line on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda _summary: None

    def show(summary: Summary) -> None:
        line = (
            f"{summary.kills}/{summary.planned} kills, {summary.acknowledged}/{summary.messages} acknowledged"
        )
        print(f"\r{line}, {summary.seconds:.0f} s  ", end="", file=sys.stderr, flush=True)

    return show


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m torture", description="Kill the server; account for its mail."
    )
    add = parser.add_argument
    add("--seed", type=int, metavar="N", help="of the messages and the kills (default: a new one, printed)")
    add("--messages", type=_count, default=MESSAGES, metavar="N", help="default: %(default)s")
    add("--kills", type=_count, default=KILLS, metavar="N", help="default: %(default)s")
    add(
        "--submitters",
        type=_count,
        default=SUBMITTERS,
        metavar="N",
        help="clients at a time (default: %(default)s)",
    )
    add(
        "--limit",
        type=float,
        default=LIMIT,
        metavar="S",
        help="seconds after which it fails (default: %(default)s)",
    )
    add("--fault", metavar="NAME", help="build a fault of `conformance selftest` in: the run must fail")
    add("--json", action="store_true", help="print JSON instead of text")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1000000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
