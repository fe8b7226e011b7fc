"""What our own processes may do in our namespaces, and the servers under test may not (Linux only).

Where we are root nothing is needed. Otherwise a process has all capabilities in its new user namespace
until it executes a program; the ambient set takes some of them along (capabilities(7)). `launch` clears it
for servers.
"""

from __future__ import annotations

import ctypes
import os
import struct

from conformance.errors import MachineError

_NET_ADMIN, _NET_RAW, _SYS_ADMIN = 12, 13, 21
OURS = (_NET_ADMIN, _NET_RAW, _SYS_ADMIN)
"""Interfaces and routes; captures and crafted packets; namespaces and mounts."""
_VERSION_3 = 0x2008_0522
_PR_CAP_AMBIENT, _RAISE = 47, 2


def keep_for_children() -> None:
    """Let the programs that this process executes keep `OURS`. Raises MachineError."""
    if os.geteuid() == 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0))
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets) != 0:
        raise MachineError(f"capget: {os.strerror(ctypes.get_errno())}")
    words = list(struct.unpack("6I", sets.raw[:24]))  # effective, permitted, inheritable; twice 32 bits
    for number in OURS:
        words[2] |= 1 << number
    if libc.capset(header, struct.pack("6I", *words)) != 0:
        raise MachineError(f"capset: {os.strerror(ctypes.get_errno())}")
    for number in OURS:
        words_of_prctl = (ctypes.c_ulong(word) for word in (_RAISE, number, 0, 0))
        if libc.prctl(_PR_CAP_AMBIENT, *words_of_prctl) != 0:
            raise MachineError(f"prctl(PR_CAP_AMBIENT): {os.strerror(ctypes.get_errno())}")
