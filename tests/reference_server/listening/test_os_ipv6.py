"""Whether IPv6 is there, on systems that have it, have it switched off, or have no such family."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from reference_server.listening import os_ipv6


class NoSuchFamily:
    """Stands for `socket.socket` on a system without IPv6."""

    def __init__(self, family: int, *_: Any) -> None:
        assert family == socket.AF_INET6
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")


class SwitchedOff:
    """Stands for `socket.socket` where ``disable_ipv6`` is 1: sockets can be made, ::1 is not there."""

    closed = 0

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> SwitchedOff:
        return self

    def __exit__(self, *_: object) -> None:
        SwitchedOff.closed += 1

    def bind(self, address: tuple[str, int]) -> None:
        assert address == ("::1", 0)
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")


def test_it_is_there_when_the_local_address_can_be_bound() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert os_ipv6.available() is True


def test_without_the_family_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket.has_ipv6  # it lies
    monkeypatch.setattr(socket, "socket", NoSuchFamily)
    assert os_ipv6.available() is False


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [("", False), ("fe80000000000000021122fffe334455 02 40 20 80     eth0\n", True), (None, False)],
)
def test_switched_off_it_is_there_only_if_some_interface_has_an_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, addresses: str | None, expected: bool
) -> None:
    table = tmp_path / "if_inet6"
    if addresses is not None:
        table.write_text(addresses)
    monkeypatch.setattr(os_ipv6, "_INTERFACE_ADDRESSES", table)
    monkeypatch.setattr(socket, "socket", SwitchedOff)
    closed = SwitchedOff.closed
    assert os_ipv6.available() is expected
    assert SwitchedOff.closed == closed + 1
