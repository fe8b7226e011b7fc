"""Packets that no kernel's client sends, from any address, inside a network namespace of our own (Linux).

`wire` carries raw IP packets to and from the kernel of the server's host. `templates` writes and reads TCP
segments fast; `station` hands what comes to whom it is for; `peer` makes many connections, `exchange` one by
a script, packet by packet. scapy is imported in `build` alone, and only when an exchange is run.
"""

from __future__ import annotations

import importlib.util
import sys


def missing() -> str:
    """Say why crafted exchanges are impossible here; "" when they are possible."""
    if not sys.platform.startswith("linux"):
        return f"crafted packets need Linux, this is {sys.platform}"
    if importlib.util.find_spec("scapy") is None:
        return "crafted packets need scapy: pip install 'sixpost[packets]'"
    return ""
