"""The facts about a machine that the doctor reasons from; tests give a root of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_CAP_SYS_ADMIN = 21
_SECCOMP_FILTER = "2"
_KINDS = (("docker", "docker"), ("libpod", "podman"), ("kubepods", "kubernetes"), ("lxc", "lxc"))
"""What a container's control group is named after."""


@dataclass(frozen=True)
class Machine:
    """This machine, or one of which ``root`` holds the files."""

    root: Path = Path("/")
    system: str = sys.platform
    uid: int = field(default_factory=lambda: os.geteuid() if hasattr(os, "geteuid") else -1)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def read(self, path: str) -> str:
        """Return a file's text without blanks at the ends; "" when there is none to read."""
        try:
            return (self.root / path.lstrip("/")).read_text("utf-8", "replace").strip()
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        """Say whether there is such a file, a dangling link included."""
        return os.path.lexists(self.root / path.lstrip("/"))

    def sysctl(self, name: str) -> str:
        """Return the value of a kernel setting, such as ``user.max_user_namespaces``; "" without it."""
        return self.read("/proc/sys/" + name.replace(".", "/"))

    @property
    def privileged(self) -> bool:
        """Whether this process may make namespaces without a user namespace."""
        effective = self._status("CapEff") or "0"
        return self.uid == 0 and bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)

    @property
    def filtered(self) -> bool:
        """Whether a seccomp filter is on this process."""
        return self._status("Seccomp") == _SECCOMP_FILTER

    @property
    def container(self) -> str:
        """The kind of container that this is: docker, podman, kubernetes, lxc or another; "" for none."""
        if "KUBERNETES_SERVICE_HOST" in self.environment:
            return "kubernetes"
        if self.exists("/run/.containerenv"):
            return "podman"
        if self.exists("/.dockerenv"):
            return "docker"
        group = self.read("/proc/1/cgroup")
        named = self.environment.get("container", "")
        return next((kind for part, kind in _KINDS if part in group), named)

    @property
    def mounts(self) -> dict[str, tuple[str, ...]]:
        """The mounts of this process: the options of each mount point, the uppermost of several."""
        found = {}
        for line in self.read("/proc/self/mountinfo").splitlines():
            fields = line.split()
            found[fields[4]] = tuple(fields[5].split(","))
        return found

    def _status(self, name: str) -> str:
        for line in self.read("/proc/self/status").splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return value.strip()
        return ""
