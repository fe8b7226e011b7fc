"""Which program the reference server is: that of this package, one with a fault, or another build."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping

from conformance.errors import UsageError

SETTINGS = ("command", "fault")
"""``command``: another reference-server program; ``fault``: a fault of the self-test, built in at start."""


def command(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the program without its own options."""
    if "command" in settings:
        if "fault" in settings:
            raise UsageError(
                "--set fault is built into the reference server of this package: leave out command"
            )
        return tuple(shlex.split(settings["command"]))
    if "fault" in settings:
        from conformance.selftest.faults import find

        return (sys.executable, "-P", "-m", "conformance.selftest", find(settings["fault"]).id, "--")
    return (sys.executable, "-P", "-m", "reference_server")
