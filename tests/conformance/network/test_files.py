"""resolv.conf, hosts and nsswitch.conf of our own, over the system's, for us alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.errors import MachineError
from conformance.network import files

SEEN = r"""
import json, os, socket, subprocess, sys
from ipaddress import ip_address
from pathlib import Path
from conformance.network import files, modes
modes.enter("namespace")
folder = Path(os.environ["SIXPOST_TEMPORARY"])
mine = files.HostFiles(folder / "etc")
LOOK = '''import json, socket
print(json.dumps(sorted({one[4][0] for one in socket.getaddrinfo("relay.test", 25)})))
'''
relay = [ip_address("2001:db8::25"), ip_address("192.0.2.25")]
mine.write([ip_address("2001:db8::53")], {"relay.test": relay})
child = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
print(json.dumps({
    "mounted": mine.mounted,
    "resolver": Path("/etc/resolv.conf").read_text() if "resolv.conf" in mine.mounted else "",
    "hosts": json.loads(child.stdout),
    "lookup": [line for line in Path("/etc/nsswitch.conf").read_text().splitlines() if "hosts:" in line]
        if "nsswitch.conf" in mine.mounted else [],
}))
"""


def test_outside_a_namespace_nothing_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="inside a namespace of our own only"):
        files.HostFiles(tmp_path / "etc")
    assert not (tmp_path / "etc").exists()


@pytest.mark.needs_namespace
def test_what_we_start_looks_names_up_in_our_files_and_nobody_else_does(
    python: Any, user: int | None
) -> None:
    names = ("resolv.conf", "hosts", "nsswitch.conf")
    before = {name: _text(name) for name in names}
    seen = python(SEEN, user=user)
    assert {name: _text(name) for name in names} == before
    assert set(seen["mounted"]) == {name for name in names if before[name] is not None}
    assert seen["hosts"] == ["192.0.2.25", "2001:db8::25"]
    if "resolv.conf" in seen["mounted"]:
        assert "nameserver 2001:db8::53\n" in seen["resolver"]
    if "nsswitch.conf" in seen["mounted"]:
        assert seen["lookup"] == ["hosts: files dns"]


def _text(name: str) -> str | None:
    file = Path("/etc") / name
    return file.read_text() if file.is_file() else None
