"""Machines to examine, made of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.doctor.machine import Machine

NOBODY = "Name:\tx\nCapEff:\t0000000000000000\nSeccomp:\t0\n"
MOUNTS = "22 27 0:21 / /proc rw,relatime - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n"
PLAIN = {
    "proc/self/ns/net": "",
    "proc/self/ns/user": "",
    "proc/self/status": NOBODY,
    "proc/self/mountinfo": MOUNTS,
    "proc/1/cgroup": "0::/init.scope\n",
    "proc/sys/user/max_user_namespaces": "96365\n",
    "proc/sys/user/max_net_namespaces": "96365\n",
    "proc/sys/kernel/unprivileged_userns_clone": "1\n",
    "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n",
}


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    """Make a machine of `PLAIN`, with other files; None: without that one."""

    def make(files: dict[str, str | None] | None = None, *, uid: int = 1000, **environment: str) -> Machine:
        for name, text in {**PLAIN, **(files or {})}.items():
            path = tmp_path / "machine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(text)
        return Machine(tmp_path / "machine", "linux", uid, environment)

    return make
