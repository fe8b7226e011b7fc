"""Is IPv6 there? Asked once, when the process starts, and kept until it is restarted.

The page prescribes that: whoever enables IPv6 in the operating system restarts the service. `reinitialize`
does not ask again; it restarts the services inside the process, not the process.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

_INTERFACE_ADDRESSES = Path("/proc/net/if_inet6")


def available() -> bool:
    """Say whether this system has IPv6 in use: a socket can be made, and there is an address to bind it to.

    `socket.has_ipv6` says only how Python was compiled.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        # Without ::1 (lo has no IPv6) another interface may still have an address.
        return error.errno == errno.EADDRNOTAVAIL and _some_interface_has_it()
    return True


def _some_interface_has_it() -> bool:
    try:
        return bool(_INTERFACE_ADDRESSES.read_text("ascii").strip())
    except OSError:
        return False
