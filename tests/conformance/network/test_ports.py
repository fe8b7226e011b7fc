"""Numbers are free, unique, outside the ephemeral range, and no other worker's."""

from __future__ import annotations

import itertools
import socket
from ipaddress import ip_address

import pytest

from conformance.addresses import LOOPBACK_V4, LOOPBACK_V6
from conformance.errors import MachineError
from conformance.network import ports
from conformance.network.ports import PortPool

BOTH = (LOOPBACK_V4, LOOPBACK_V6)


@pytest.fixture(autouse=True)
def own_supply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PortPool, "_supplies", {})


def test_no_number_is_given_twice_even_by_two_pools() -> None:
    first, second = PortPool({}), PortPool({})
    numbers = [pool.reserve(BOTH) for _ in range(50) for pool in (first, second)]
    assert len(set(numbers)) == 100


def test_numbers_are_below_the_ephemeral_range() -> None:
    lowest = ports._first_ephemeral()
    assert all(ports.FIRST <= PortPool({}).reserve(BOTH) < lowest for _ in range(20))


def test_workers_share_no_number() -> None:
    pools = [PortPool({"PYTEST_XDIST_WORKER": f"gw{n}", "PYTEST_XDIST_WORKER_COUNT": "3"}) for n in range(3)]
    ranges = [sorted({next(pool._numbers) for _ in range(pool._size)}) for pool in pools]
    for lower, higher in itertools.pairwise(ranges):
        assert lower[-1] < higher[0]


@pytest.mark.parametrize("taken_on", BOTH)
def test_a_number_in_use_on_one_of_the_addresses_is_not_given(taken_on) -> None:
    pool = PortPool({})
    upcoming = next(pool._numbers) + 1
    with socket.create_server(
        (str(taken_on), upcoming), family=socket.AF_INET if taken_on.version == 4 else socket.AF_INET6
    ):
        assert pool.reserve(BOTH) != upcoming


def test_the_number_can_be_listened_on_at_once() -> None:
    number = PortPool({}).reserve(BOTH)
    for address in BOTH:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family) as listener:
            listener.bind((str(address), number))
            listener.listen(1)


def test_addresses_that_we_may_not_bind_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(ports, "_is_free", lambda address, _number: tried.append(address) or True)
    PortPool({}).reserve([ip_address("192.0.2.1"), ip_address("::"), LOOPBACK_V6])
    assert tried == [LOOPBACK_V6]


@pytest.mark.parametrize("address", BOTH)
def test_a_held_number_is_in_use(address) -> None:
    with PortPool({}).hold(address) as held:
        number = held.getsockname()[1]
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind((str(address), number))


def test_no_number_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda _address, _number: False)
    with pytest.raises(MachineError, match="no free port"):
        PortPool({}).reserve(BOTH)
