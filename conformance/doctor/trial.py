"""A program that tries, in a namespace of its own, what only a namespace shows; prints one JSON object.

    python -m conformance.doctor.trial

Keys: ``wire``: "tun", "veth" or ""; ``wire_error``, ``ipv6_switch``, ``capture``, ``processes``: "" when all
is well, else what went wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys

from conformance.errors import MachineError


def ask() -> dict[str, str]:
    """Run this program and return its answer; raises MachineError when it gives none."""
    limit = 60
    try:
        done = subprocess.run(
            [sys.executable, "-m", "conformance.doctor.trial"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MachineError(f"the trial in a namespace came to no end in {limit} s") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise MachineError(f"the trial in a namespace failed: {last}") from None
    return {str(key): str(value) for key, value in answer.items()}


def main() -> int:
    """Try everything."""
    from conformance.network import capture, modes, namespace, netns

    processes = namespace.processes_are_hidden()
    modes.enter("namespace")
    with netns.fresh():
        kind, error = _wire()
        answer = {
            "wire": kind,
            "wire_error": error,
            "ipv6_switch": _switch(),
            "capture": capture.missing(),
            "processes": processes,
        }
    print(json.dumps(answer))
    return 0


def _wire() -> tuple[str, str]:
    from conformance.packets.wire import open_wire

    try:
        with open_wire() as wire:
            return wire.kind, ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        return "", str(error)


def _switch() -> str:
    from conformance.network import interfaces

    try:
        for value in (1, 0):
            interfaces.write("ipv6.conf.all.disable_ipv6", value)
    except MachineError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
