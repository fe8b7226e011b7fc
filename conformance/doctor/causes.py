"""Why a machine has no network namespace for us, and the remedy: by looking, not by trying.

The kernel says "Operation not permitted" for nearly all of it. What is found is what stands in the way as
far as anybody can see: several things may, and all of them are named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conformance.doctor.machine import Machine

_UNKNOWN = "Nothing that is known forbids it: run it as root, or allow unprivileged user namespaces."


@dataclass(frozen=True, slots=True)
class Cause:
    """What was found, in one line, and the remedy: lines, commands after two blanks."""

    found: str
    remedy: str


def causes(machine: Machine, reason: str) -> tuple[Cause, ...]:
    """Return what stands in the way of a namespace; ``reason`` is what trying said."""
    if not machine.system.startswith("linux"):
        return (
            Cause(
                f"namespaces need Linux, this is {machine.system}",
                "Run it on Linux: a virtual machine, or a container (see conformance/network/README.md).",
            ),
        )
    if "pyroute2" in reason:
        return (Cause(reason, "Install what it is made with:\n  pip install pyroute2"),)
    if "threads" in reason:
        return (Cause(reason, "Ask again from a shell: conformance doctor."),)
    found = tuple(cause for look in _LOOKS if (cause := look(machine)) is not None)
    if found:
        return found
    kind = machine.container
    if kind:
        return (
            Cause(
                f"this is a container ({kind}) without the privileges for it ({reason})",
                _container_remedy(machine, kind),
            ),
        )
    return (Cause(reason, _UNKNOWN),)


def _no_such_namespaces(machine: Machine) -> Cause | None:
    lacking = [
        f"CONFIG_{name.upper()}_NS"
        for name, needed in (("net", True), ("user", not machine.privileged))
        if needed and not machine.exists(f"/proc/self/ns/{name}")
    ]
    if not lacking:
        return None
    return Cause(
        f"the kernel was built without {' and '.join(lacking)}",
        "Use a kernel that has it, as those of the distributions do.",
    )


def _none_allowed(machine: Machine) -> Cause | None:
    for name, needed in (
        ("user.max_net_namespaces", True),
        ("user.max_user_namespaces", not machine.privileged),
    ):
        if needed and machine.sysctl(name) == "0":
            return Cause(f"{name} is 0", _set(machine, name, "15000"))
    return None


def _debian(machine: Machine) -> Cause | None:
    name = "kernel.unprivileged_userns_clone"
    if machine.privileged or machine.sysctl(name) != "0":
        return None
    return Cause(f"{name} is 0: user namespaces are root's", _set(machine, name, "1"))


def _ubuntu(machine: Machine) -> Cause | None:
    name = "kernel.apparmor_restrict_unprivileged_userns"
    if machine.privileged or machine.sysctl(name) != "1":
        return None
    return Cause(
        f"{name} is 1: AppArmor takes the privileges in user namespaces away (Ubuntu 23.10 and later)",
        _set(machine, name, "0")
        + "\nOr allow it to this Python alone, in a file in /etc/apparmor.d, then reload AppArmor:"
        + "\n  abi <abi/4.0>,"
        + "\n  profile sixpost /path/to/.venv/bin/python3 flags=(unconfined) { userns, }",
    )


def _container(machine: Machine) -> Cause | None:
    kind = machine.container
    if not kind:
        return None
    wrong = []
    if machine.filtered:
        wrong.append("its seccomp filter refuses unshare")
    if "ro" in machine.mounts.get("/proc/sys", ()):
        wrong.append("its /proc/sys is read-only")
    if not wrong:
        return None
    return Cause(f"this is a container ({kind}): {', and '.join(wrong)}", _container_remedy(machine, kind))


def _container_remedy(machine: Machine, kind: str) -> str:
    if "GITHUB_ACTIONS" in machine.environment:
        return "In the workflow, give the job's container the option:\n  options: --privileged"
    if "GITLAB_CI" in machine.environment:
        return "In the runner's config.toml, below [runners.docker]:\n  privileged = true"
    match kind:
        case "podman":
            return (
                "Start it with:\n  podman run --security-opt seccomp=unconfined --security-opt unmask=ALL …"
                "\nOr, with all privileges:\n  podman run --privileged …"
            )
        case "kubernetes":
            return "In the container's securityContext:\n  privileged: true"
        case "lxc":
            return "On the host:\n  lxc config set NAME security.nesting true"
        case _:
            return (
                "Start it with:"
                "\n  docker run --security-opt seccomp=unconfined \\"
                "\n    --security-opt apparmor=unconfined \\"
                "\n    --security-opt systempaths=unconfined …"
                "\nOr, with all privileges:\n  docker run --privileged …"
                "\nA GitLab runner: privileged = true below [runners.docker] in its config.toml."
            )


def _filter(machine: Machine) -> Cause | None:
    if machine.container or not machine.filtered:
        return None
    return Cause(
        "a seccomp filter is on this process; it may refuse unshare",
        "Start it outside the sandbox. In a systemd unit:\n  RestrictNamespaces=no",
    )


def _changed_root(machine: Machine) -> Cause | None:
    mounts = machine.mounts
    if machine.privileged or not mounts or "/" in mounts:
        return None
    return Cause(
        "this is a chroot, in which the kernel allows no user namespace",
        "Run it outside the chroot, or as root in it.",
    )


def _set(machine: Machine, name: str, value: str) -> str:
    """Return the lines that set a kernel setting, now and for good."""
    command = f"sudo sysctl -w {name}={value}"
    if "GITHUB_ACTIONS" in machine.environment and not machine.container:
        return f"In the workflow, a step before the run:\n  - run: {command}"
    where = "On the host of the container:" if machine.container else "Until the next boot:"
    for_good = f"echo '{name}={value}' | sudo tee /etc/sysctl.d/60-sixpost.conf"
    return f"{where}\n  {command}\nFor good:\n  {for_good}"


_LOOKS: tuple[Callable[[Machine], Cause | None], ...] = (
    _no_such_namespaces,
    _none_allowed,
    _debian,
    _ubuntu,
    _container,
    _filter,
    _changed_root,
)
