"""The rule that nothing leaves this machine: outside a namespace of our own, 127.0.0.0/8 and ::1 only.

Everything that binds or connects for the harness asks `check` first, with the address itself. The answer does
not depend on what a caller says about the mode: the namespace is looked at.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from conformance.addresses import Address, canonical, is_loopback
from conformance.errors import MachineError

VARIABLE = "SIXPOST_NETWORK_NAMESPACE"
"""Names the namespace that we made, for the processes that we start in it: ``device:inode``."""

_OWN_NAMESPACE = Path("/proc/thread-self/ns/net")
_OUR_DRIVERS = ("veth", "bridge", "tun")
"""Interfaces that lead nowhere but to where we lead them; no network card is among them."""


class UnsafeAddress(MachineError):  # noqa: N818 - a refusal
    """An address that may not be used here."""


def identity(namespace: Path = _OWN_NAMESPACE) -> str:
    """Return ``device:inode`` of a network namespace; "" where the system has none."""
    try:
        status = namespace.stat()
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


def inside_own_namespace() -> bool:
    """Say whether this process is in a network namespace that we made.

    The environment only names it: it must be the one that this thread is in, and no interface may be up in it
    but ``lo`` and the virtual ones that we make, so that a forged or inherited name opens no way to a real
    network.
    """
    named = os.environ.get(VARIABLE, "")
    return named != "" and named == identity() and _only_ours_are_up()


def check(address: Address, purpose: str) -> None:
    """Raise `UnsafeAddress` unless ``address`` may be used (``purpose``: "connect to", "listen on", …)."""
    if allowed(address):
        return
    raise UnsafeAddress(
        f"refused to {purpose} {canonical(address)}: outside a network namespace of its own the harness uses "
        "127.0.0.0/8 and ::1 only; run with --network namespace (conformance doctor says what that needs)"
    )


def allowed(address: Address) -> bool:
    """Say whether ``address`` may be bound, connected to, or given to a server to listen on."""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return is_loopback(mapped or address) or inside_own_namespace()


def _only_ours_are_up() -> bool:
    import fcntl

    get_flags, is_up = 0x8913, 0x1  # SIOCGIFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _index, name in socket.if_nameindex():
            if name == "lo":
                continue
            answer = fcntl.ioctl(probe, get_flags, struct.pack("16sH14x", name.encode(), 0))
            if struct.unpack("16sH14x", answer)[1] & is_up and _driver(probe, name) not in _OUR_DRIVERS:
                return False
    return True


def _driver(probe: socket.socket, name: str) -> str:
    """Return the name of an interface's driver, which the kernel says and nobody can choose."""
    import array
    import fcntl

    ethtool, get_driver_info, driver, version = 0x8946, 0x3, 4, 36  # SIOCETHTOOL; offsets in the answer
    answer = array.array("B", struct.pack("I", get_driver_info).ljust(196, b"\0"))
    request = struct.pack("16sP8x", name.encode(), answer.buffer_info()[0])
    try:
        fcntl.ioctl(probe, ethtool, request)
    except OSError:
        return ""
    return answer.tobytes()[driver:version].partition(b"\0")[0].decode("ascii", "replace")
