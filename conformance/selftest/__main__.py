"""``python -m conformance.selftest FAULT -- ARGUMENTS``: run the reference server with one fault built in."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from conformance.errors import UsageError
from conformance.selftest.faults import FAULTS, find


def main(arguments: Sequence[str]) -> int:
    """Apply the fault, then be ``reference-server ARGUMENTS``; return its exit code."""
    if len(arguments) < 2 or arguments[1] != "--":
        names = "\n  ".join(fault.id for fault in FAULTS)
        print(
            f"usage: python -m conformance.selftest FAULT -- ARGUMENTS\nfaults:\n  {names}", file=sys.stderr
        )
        return 2
    try:
        fault = find(arguments[0])
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    fault.apply()
    # In the log, so that nobody takes this server for a healthy one.
    print(json.dumps({"event": "selftest.fault", "fault": fault.id}), file=sys.stderr, flush=True)
    from reference_server.__main__ import main as run

    return run(arguments[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
