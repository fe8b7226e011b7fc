"""Each cause is recognised by what the machine shows, and has its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.doctor.causes import causes
from conformance.doctor.machine import Machine

REFUSED = "the system allows no namespace of our own (unshare: Operation not permitted)"
NOBODY = "Name:\tx\nCapEff:\t0000000000000000\nSeccomp:\t0\n"
ROOT = NOBODY.replace("0000000000000000", "000001ffffffffff")
FILTERED = NOBODY.replace("Seccomp:\t0", "Seccomp:\t2")
MOUNTS = "22 27 0:21 / /proc rw,relatime - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n"
CLONE = "proc/sys/kernel/unprivileged_userns_clone"
APPARMOR = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"


@pytest.mark.parametrize(
    ("files", "environment", "found", "remedy"),
    [
        (
            {"proc/sys/user/max_user_namespaces": "0\n"},
            {},
            "user.max_user_namespaces is 0",
            "\n  sudo sysctl -w user.max_user_namespaces=15000\n",
        ),
        (
            {"proc/sys/user/max_net_namespaces": "0\n"},
            {},
            "user.max_net_namespaces is 0",
            "\n  sudo sysctl -w user.max_net_namespaces=15000\n",
        ),
        (
            {CLONE: "0\n"},
            {},
            "kernel.unprivileged_userns_clone is 0",
            "\n  sudo sysctl -w kernel.unprivileged_userns_clone=1\nFor good:\n  echo ",
        ),
        (
            {APPARMOR: "1\n"},
            {},
            "kernel.apparmor_restrict_unprivileged_userns is 1",
            "\n  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n",
        ),
        ({APPARMOR: "1\n"}, {}, "Ubuntu 23.10", "userns, }"),
        (
            {APPARMOR: "1\n"},
            {"GITHUB_ACTIONS": "true"},
            "AppArmor",
            "\n  - run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            {".dockerenv": "", "proc/self/status": FILTERED},
            {},
            "container (docker): its seccomp filter refuses unshare",
            "docker run --security-opt seccomp=unconfined",
        ),
        (
            {
                ".dockerenv": "",
                "proc/self/mountinfo": MOUNTS + "30 22 0:21 /sys /proc/sys ro - proc proc rw\n",
            },
            {},
            "container (docker): its /proc/sys is read-only",
            "systempaths=unconfined",
        ),
        ({".dockerenv": ""}, {}, "without the privileges for it", "docker run --privileged"),
        (
            {"run/.containerenv": "", "proc/self/status": FILTERED},
            {},
            "container (podman)",
            "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL",
        ),
        ({"proc/1/cgroup": "0::/kubepods/x\n"}, {}, "container (kubernetes)", "  privileged: true"),
        ({}, {"KUBERNETES_SERVICE_HOST": "x"}, "container (kubernetes)", "  privileged: true"),
        ({}, {"container": "lxc"}, "container (lxc)", "security.nesting true"),
        (
            {".dockerenv": ""},
            {"GITLAB_CI": "true"},
            "container (docker)",
            "[runners.docker]:\n  privileged = true",
        ),
        ({".dockerenv": ""}, {"GITHUB_ACTIONS": "true"}, "container", "options: --privileged"),
        ({"proc/self/status": FILTERED}, {}, "a seccomp filter", "RestrictNamespaces=no"),
        (
            {"proc/self/mountinfo": MOUNTS.replace(" / / rw", " / /jail rw")},
            {},
            "this is a chroot",
            "outside the chroot",
        ),
        ({"proc/self/ns/user": None}, {}, "built without CONFIG_USER_NS", "a kernel that has it"),
        ({"proc/self/ns/net": None}, {}, "built without CONFIG_NET_NS", "a kernel that has it"),
    ],
)
def test_one_cause(
    machine, files: dict[str, str | None], environment: dict[str, str], found: str, remedy: str
) -> None:
    (cause,) = causes(machine(files, **environment), REFUSED)
    assert found in cause.found
    assert remedy in cause.remedy
    assert "\n" not in cause.found


def test_several_causes_are_all_named(machine) -> None:
    here = machine({CLONE: "0", APPARMOR: "1", ".dockerenv": "", "proc/self/status": FILTERED})
    found = [cause.found for cause in causes(here, REFUSED)]
    assert len(found) == 3
    for cause, word in zip(found, ("unprivileged_userns_clone", "AppArmor", "docker"), strict=True):
        assert word in cause
    assert "On the host of the container" in causes(here, REFUSED)[0].remedy


def test_what_forbids_ordinary_users_only_is_no_matter_for_root(machine) -> None:
    files: dict[str, str | None] = {
        CLONE: "0",
        APPARMOR: "1",
        "proc/sys/user/max_user_namespaces": "0",
        "proc/self/ns/user": None,
        "proc/self/status": ROOT,
    }
    (cause,) = causes(machine(files, uid=0), "unshare: something new")
    assert "something new" in cause.found
    assert not machine({"proc/self/status": NOBODY}, uid=0).privileged, "root without its privileges"


def test_a_cause_that_nobody_knows_is_told_in_the_systems_words(machine) -> None:
    (cause,) = causes(machine({}), REFUSED)
    assert cause.found == REFUSED
    assert "as root" in cause.remedy


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("the namespace needs pyroute2: No module", "  pip install pyroute2"),
        ("4 threads already", "conformance doctor"),
    ],
)
def test_what_is_not_the_machines(machine, reason: str, remedy: str) -> None:
    (cause,) = causes(machine({CLONE: "0"}), reason)
    assert (cause.found, remedy in cause.remedy) == (reason, True)


def test_another_system(tmp_path: Path) -> None:
    (cause,) = causes(Machine(tmp_path, "darwin", 501, {}), "namespaces need Linux")
    assert "this is darwin" in cause.found
    assert "Run it on Linux" in cause.remedy
