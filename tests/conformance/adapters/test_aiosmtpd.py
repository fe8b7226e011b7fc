"""aiosmtpd through the ``exec:`` contract: a real server over IPv4 and IPv6, and honest limits."""

from __future__ import annotations

import json
import os
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from conformance.adapters import create
from conformance.adapters.base import (
    AccountSpec,
    Adapter,
    AdminRequest,
    Configuration,
    Endpoint,
    Feature,
    HostSpec,
    LimitsSpec,
    PortSpec,
    RangeSpec,
)
from conformance.adapters.servers import python_environment
from conformance.errors import AdapterError, AdapterUnsupported
from conformance.network import without_ipv6

MODULE = "conformance.adapters.programs.aiosmtpd_adapter"
V4 = PortSpec(name="four", protocol="smtp", address="127.0.0.1")
V6 = PortSpec(name="six", protocol="smtp", address="0:0:0:0:0:0:0:1")
BOTH = Configuration(ports=(V4, V6))


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    made = create(f"exec:{sys.executable} -m {MODULE}", {}, tmp_path)
    yield made
    made.close()


def deliver(endpoint: Endpoint) -> None:
    with smtplib.SMTP(endpoint.address, endpoint.port, timeout=30) as client:
        assert client.sendmail("a@example.org", ["b@example.net"], "Subject: x\r\n\r\nbody\r\n") == {}


def is_closed(endpoint: Endpoint) -> bool:
    try:
        socket.create_connection((endpoint.address, endpoint.port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


def test_hello_names_every_feature_once_with_a_reason(adapter: Adapter) -> None:
    hello = adapter.hello()
    assert (hello.name, hello.follows) == ("aiosmtpd", ())
    limited = {limitation.feature for limitation in hello.limitations}
    assert limited | set(hello.capabilities) == set(get_args(Feature))
    assert not limited & set(hello.capabilities)
    assert all(
        limitation.reason and limitation.link.startswith("https://aiosmtpd.readthedocs.io/")
        for limitation in hello.limitations
    )


def test_it_takes_mail_over_both_families(adapter: Adapter, case: Path) -> None:
    running = adapter.start("c", case, BOTH)
    assert [(e.name, e.address, e.state) for e in running.endpoints] == [
        ("four", "127.0.0.1", "open"),
        ("six", "::1", "open"),
    ]
    for endpoint in running.endpoints:
        deliver(endpoint)
    stored = list((case / "aiosmtpd" / "mail" / "new").iterdir())
    assert len(stored) == 2
    assert "listener.open" in adapter.log()
    assert Path(running.log_file).exists()
    (pid,) = running.pids
    os.kill(pid, 0)


def test_reset_forgets_mail_and_ports(adapter: Adapter, case: Path) -> None:
    first = adapter.start("c", case, BOTH)
    deliver(first.endpoints[0])
    second = adapter.configure(Configuration(ports=(V6,)), reset=True)
    assert [endpoint.name for endpoint in second.endpoints] == ["six"]
    assert is_closed(first.endpoints[0])
    assert not list((case / "aiosmtpd" / "mail").glob("new/*"))
    deliver(second.endpoints[0])


def test_a_kill_keeps_the_mail_and_a_restart_opens_changed_ports(adapter: Adapter, case: Path) -> None:
    first = adapter.start("c", case, Configuration(ports=(V4,)))
    deliver(first.endpoints[0])
    assert adapter.configure(BOTH) == first
    adapter.kill()
    assert is_closed(first.endpoints[0])
    with pytest.raises(AdapterError, match="does not run"):
        adapter.kill()
    again = adapter.restart()
    assert [endpoint.name for endpoint in again.endpoints] == ["four", "six"]
    assert again.pids != first.pids
    assert len(list((case / "aiosmtpd" / "mail" / "new").iterdir())) == 1


def test_a_port_in_use_is_reported_and_the_others_run(adapter: Adapter, case: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        busy = PortSpec(name="busy", protocol="smtp", address="127.0.0.1", number=number)
        running = adapter.start("c", case, Configuration(ports=(busy, V6)))
    failed, opened = running.endpoints
    assert (failed.name, failed.state, failed.port) == ("busy", "failed", number)
    assert str(number) in failed.error
    assert "127.0.0.1" in failed.error
    assert failed.error in adapter.log()
    deliver(opened)


@pytest.mark.skipif(bool(without_ipv6.missing()), reason=without_ipv6.missing() or "-")
def test_without_ipv6_the_ipv4_port_runs_and_the_other_is_reported(adapter: Adapter, case: Path) -> None:
    running = adapter.start("c", case, Configuration(ports=(V6, V4), host=HostSpec(ipv6=False)))
    assert [(e.name, e.state) for e in running.endpoints] == [("six", "failed"), ("four", "open")]
    assert "not supported" in running.endpoints[0].error
    deliver(running.endpoints[1])


@pytest.mark.parametrize(
    ("configuration", "feature"),
    [
        (Configuration(default=True), "default_configuration"),
        (Configuration(ip_ranges=(RangeSpec(name="r", lower="::", upper="::1"),)), "ip_ranges"),
        (Configuration(ip_ranges=()), "ip_ranges"),
        (Configuration(limits=LimitsSpec(smtp=1)), "connection_limit"),
        (Configuration(accounts=(AccountSpec(address="a@b", password="p"),)), "accounts"),
        (Configuration(ports=(PortSpec(name="p", protocol="pop3", address="::1"),)), "protocol.pop3"),
        (Configuration(ports=(PortSpec(name="p", protocol="imap", address="::1"),)), "protocol.imap"),
    ],
)
def test_what_it_cannot_be_told_is_unsupported(
    configuration: Configuration, feature: str, adapter: Adapter, case: Path
) -> None:
    with pytest.raises(AdapterUnsupported) as raised:
        adapter.start("c", case, configuration)
    assert raised.value.feature == feature
    assert raised.value.link


def test_the_verbs_that_it_lacks_are_unsupported(adapter: Adapter, case: Path) -> None:
    adapter.start("c", case, BOTH)
    request = AdminRequest(operation="read", kind="settings")
    for verb in (adapter.reinitialize, adapter.status, lambda: adapter.admin(request)):
        with pytest.raises(AdapterUnsupported):
            verb()


def test_a_door_to_other_machines_is_not_opened(adapter: Adapter, case: Path) -> None:
    wide = Configuration(ports=(PortSpec(name="wide", protocol="smtp", address="0.0.0.0"),))
    with pytest.raises(AdapterError, match="outside a network namespace"):
        adapter.start("c", case, wide)


def test_twenty_starts_and_stops_leave_nothing(adapter: Adapter, case: Path) -> None:
    pids = set()
    for _ in range(20):
        running = adapter.start("c", case, BOTH)
        pids.update(running.pids)
        adapter.stop()
        assert not list(case.iterdir())
        assert all(is_closed(endpoint) for endpoint in running.endpoints)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def converse(*lines: str) -> list[dict[str, Any]]:
    """Return the program's answers to ``lines``, as any other program would see them."""
    result = subprocess.run(
        [sys.executable, "-m", MODULE],
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        env=python_environment(),
    )
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_program_answers_unsupported_to_what_it_does_not_know() -> None:
    answers = converse(
        '{"seq": 1, "op": "hello", "protocol": 1}',
        '{"seq": 2, "op": "fly"}',
        '{"seq": 3, "op": "configure", "teleport": true}',
        '{"seq": 4, "op": "start", "case": "c", "workdir": "/", "ports": [{"name": "p", "protocol": "x"}]}',
        "no json",
        '{"seq": 5, "op": "restart"}',
    )
    assert [answer["seq"] for answer in answers] == [1, 2, 3, 4, 0, 5]
    assert answers[0]["ok"]["name"] == "aiosmtpd"
    assert answers[1]["unsupported"]["feature"] == "op fly"
    assert "teleport" in answers[2]["unsupported"]["feature"]
    assert "protocol" in answers[3]["unsupported"]["feature"]
    assert "message" in answers[4]["error"]
    assert "not started" in answers[5]["error"]["message"]


def test_settings_that_it_does_not_take_are_an_error() -> None:
    (answer,) = converse('{"seq": 1, "op": "hello", "settings": {"colour": "blue"}}')
    assert "colour" in answer["error"]["message"]
