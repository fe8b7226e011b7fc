"""What servers under test look names up in: resolv.conf, hosts, nsswitch.conf of our own (Linux only).

They are mounted over the system's in the mount namespace of this process: nothing outside sees them, and
they are gone with it. No name is looked up outside the namespace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from conformance.addresses import LOOPBACK_V4, Address, canonical
from conformance.errors import MachineError
from conformance.network import netns, safety

PRIVATE_MOUNTS = "SIXPOST_PRIVATE_MOUNTS"
"""In the environment where what we mount is seen by nobody else; set when the namespace is entered."""
_MS_BIND = 0x1000
_ETC = Path("/etc")
_LOCAL = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def available() -> bool:
    """Say whether the files can be put over the system's here, for us and what we start alone."""
    return PRIVATE_MOUNTS in os.environ and safety.inside_own_namespace()


class HostFiles:
    """The three files; a file that the system does not have is left out, for there is nothing to mount on."""

    def __init__(self, directory: Path, etc: Path = _ETC) -> None:
        """Write them into ``directory`` and mount them. Raises MachineError, outside a namespace too."""
        if not available():
            raise MachineError("files are put over the system's inside a namespace of our own only")
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.mounted: list[str] = []
        self.write()
        self._put("nsswitch.conf", _own_lookup(etc / "nsswitch.conf"))
        for name in ("resolv.conf", "hosts", "nsswitch.conf"):
            if (etc / name).is_file():
                netns.mount(str(directory / name), str(etc / name), None, _MS_BIND)
                self.mounted.append(name)

    def write(
        self,
        nameservers: Iterable[Address] = (LOOPBACK_V4,),
        hosts: Mapping[str, Iterable[Address]] | None = None,
    ) -> None:
        """Change what is read from now on: the DNS servers, on port 53, and addresses of names."""
        resolver = "".join(f"nameserver {canonical(one)}\n" for one in nameservers)
        self._put("resolv.conf", f"{resolver}options timeout:2 attempts:2\n")
        lines = [f"{canonical(one)}\t{name}\n" for name, found in (hosts or {}).items() for one in found]
        self._put("hosts", f"{_LOCAL}127.0.1.1\t{socket.gethostname()}\n{''.join(lines)}")

    def _put(self, name: str, text: str) -> None:
        # Into the same file, which is what is mounted: no new one in its place.
        (self._directory / name).write_text(text, "utf-8")


def _own_lookup(system: Path) -> str:
    """Return the system's nsswitch.conf with names looked up in hosts and DNS alone, past any cache of it."""
    try:
        lines = system.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    kept = [line for line in lines if not line.lstrip().startswith("hosts:")]
    return "\n".join([*kept, "hosts: files dns", ""])
