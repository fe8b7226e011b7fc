"""The mode that a run has, and what it lacks for a case.

**loopback**: no privileges, any machine; 127.0.0.0/8 and ::1. **namespace**: a network of our own (Linux),
where every address is ours. `enter` must be called before any thread exists.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from dataclasses import dataclass
from typing import Literal

from conformance.errors import MachineError, UsageError
from conformance.network import processes, safety, without_ipv6

Mode = Literal["loopback", "namespace"]
Need = Literal[
    "wildcard_listener",
    "any_source",
    "own_network",
    "wire",
    "crafted_packets",
    "no_ipv6_filter",
    "process_table",
]
"""What a case may need beyond loopback addresses.

``wildcard_listener``: a server that listens on every address; ``any_source``: addresses that are not
loopback, of clients or listeners; ``own_network``: a network that the case may change, with links and
hosts; ``wire``: packets from user space; ``crafted_packets``: such that scapy builds;
``no_ipv6_filter``: IPv6 taken away from the server; ``process_table``:
descriptors and sockets of other processes.
"""

_WORDS: dict[str, str] = {
    "wildcard_listener": "a server that listens on every address",
    "any_source": "addresses other than loopback",
    "own_network": "a network that the case may change",
    "wire": "packets from user space",
    "crafted_packets": "crafted packets",
}


@dataclass(frozen=True, slots=True)
class Network:
    """The mode of this run; ``fallback`` says why it is not the namespace when that was wanted."""

    mode: Mode
    fallback: str = ""

    def missing(self, need: Need) -> str:
        """Return "" when ``need`` is available, else what is missing."""
        if need == "no_ipv6_filter":
            return without_ipv6.missing()
        if need == "process_table":
            return processes.missing()
        if self.mode == "namespace":
            return _without_scapy() if need == "crafted_packets" else ""
        because = f" ({self.fallback})" if self.fallback else ""
        return f"{_WORDS[need]}: only in a network namespace of our own, and this run is on loopback{because}"


def enter(requested: str = "auto", require: str | None = None, *, worker: bool = False) -> Network:
    """Enter the mode and return what it is; may be called again, and in processes started from inside.

    Where a namespace is entered, this returns in a child (see `supervisor`), and the caller waits for that.
    ``worker``: this process was started inside by a process of the same run, and gets a network of its own.

    ``requested``: "auto" (namespace where possible), "loopback" or "namespace"; ``require``: the mode that it
    must come to, or None. Raises MachineError with the remedy when that is not possible, UsageError for
    another word.
    """
    for word in (requested, require or "auto"):
        if word not in ("auto", "loopback", "namespace"):
            raise UsageError(f"unknown network mode {word!r}; use auto, loopback or namespace")
    network = _enter("namespace" if require == "namespace" and requested == "auto" else requested, worker)
    if require not in (None, "auto", network.mode):
        raise MachineError(f"network mode {require} is required, but this run has {network.mode}")
    return network


def _enter(requested: str, worker: bool) -> Network:
    if requested == "loopback":
        return Network("loopback")
    if safety.inside_own_namespace():
        if worker:
            from conformance.network import namespace

            namespace.enter_again()
        return Network("namespace")
    reason = probe()
    if not reason:
        from conformance.network import namespace

        namespace.enter()
        return Network("namespace")
    if requested == "namespace":
        raise MachineError(
            f"no network namespace: {reason}; run on Linux as root or with unprivileged user namespaces, "
            "or use --network loopback (conformance doctor says what is missing here)"
        )
    return Network("loopback", fallback=reason)


def probe() -> str:
    """Say why no namespace can be entered here; "" when it can. Changes nothing in this process."""
    if not sys.platform.startswith("linux"):
        return f"namespaces need Linux, this is {sys.platform}"
    return _probed()


def _without_scapy() -> str:
    if importlib.util.find_spec("scapy") is not None:
        return ""
    return "crafted packets need scapy: pip install 'sixpost[packets]'"


@functools.cache
def _probed() -> str:
    from conformance.network import namespace

    return namespace.probe()
