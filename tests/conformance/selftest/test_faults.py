"""Each fault is there in a running server that has it, and is not in a healthy one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from conformance import requirements
from conformance.adapters.servers import python_environment
from conformance.errors import UsageError
from conformance.selftest.faults import FAULTS, UNSEEN, find

PROBES = Path(__file__).with_name("probes.py")


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"selftest_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its own module up
    spec.loader.exec_module(module)
    return module


probes = _load(PROBES)
ON_LOOPBACK = {**probes.ON_LOOPBACK, **_load(PROBES.with_name("probes_outgoing.py")).ON_LOOPBACK}


@pytest.mark.parametrize("name", sorted(ON_LOOPBACK))
def test_the_fault_is_active(name: str, tmp_path: Path) -> None:
    assert probes.shows(ON_LOOPBACK[name], tmp_path, fault=name) is True


@pytest.mark.parametrize("name", sorted(ON_LOOPBACK))
def test_the_healthy_server_has_it_not(name: str, tmp_path: Path) -> None:
    assert probes.shows(ON_LOOPBACK[name], tmp_path, fault=None) is False


@pytest.mark.needs_namespace
@pytest.mark.parametrize("faulty", ["yes", "no"])
@pytest.mark.parametrize("name", sorted(probes.IN_A_NAMESPACE))
def test_in_a_namespace(name: str, faulty: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(PROBES), name, faulty, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=python_environment(),
    )
    if result.returncode == 3:
        pytest.skip(result.stdout.strip())
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) is (faulty == "yes")


@pytest.mark.parametrize(("faulty", "synchronous"), [(False, 2), (True, 0)])
def test_storage_not_synced(faulty: bool, synchronous: int, tmp_path: Path) -> None:
    """SQLite: 2 is FULL, 0 is OFF."""
    program = f"""
import asyncio
from conformance.selftest.faults import find
if {faulty}:
    find("storage-not-synced").apply()
from reference_server.storage.database import Database
async def main():
    database = await Database.open("sqlite:///{tmp_path}/db/mail.sqlite")
    print(await database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar()))
    await database.close()
asyncio.run(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        env=python_environment(),
    )
    assert int(result.stdout) == synchronous


def test_every_fault_has_a_probe_and_breaks_requirements_that_exist() -> None:
    names = [fault.id for fault in (*FAULTS, *UNSEEN)]
    assert len(names) == len(set(names))
    assert {fault.id for fault in FAULTS} == {*ON_LOOPBACK, *probes.IN_A_NAMESPACE}
    catalogue = requirements.load()
    for fault in FAULTS:
        assert fault.breaks
        assert all(catalogue[requirement].excluded is None for requirement in fault.breaks)
    assert all(fault.breaks == () for fault in UNSEEN)


def test_a_wrong_name_gets_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean lowest-priority-wins"):
        find("lowest-priority")


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance.selftest", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=python_environment(),
    )


def test_the_launcher_says_how_it_is_used() -> None:
    for arguments in ((), ("lowest-priority-wins",), ("lowest-priority-wins", "--help")):
        result = launch(*arguments)
        assert result.returncode == 2
        assert "lowest-priority-wins" in result.stderr
    assert "no fault 'x'" in launch("x", "--").stderr


def test_the_launcher_is_the_reference_server() -> None:
    result = launch("lowest-priority-wins", "--", "--help")
    assert result.returncode == 0
    assert "--data-dir" in result.stdout
    assert json.loads(result.stderr.splitlines()[0]) == {
        "event": "selftest.fault",
        "fault": "lowest-priority-wins",
    }
