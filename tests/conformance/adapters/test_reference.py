"""The reference adapter against the real reference server."""

from __future__ import annotations

import os
import poplib
import smtplib
import socket
from pathlib import Path

import pytest

from conformance.adapters.base import (
    AccountSpec,
    AdminRequest,
    Configuration,
    Endpoint,
    HostSpec,
    LimitsSpec,
    PortSpec,
    RangeSpec,
    Running,
    missing_features,
)
from conformance.adapters.reference import ReferenceAdapter
from conformance.errors import AdapterError, MachineError, UsageError
from conformance.network import safety, without_ipv6

SMTP4 = PortSpec(name="smtp4", protocol="smtp", address="127.0.0.1")
SMTP6 = PortSpec(name="smtp6", protocol="smtp", address="::1")
POP4 = PortSpec(name="pop4", protocol="pop3", address="127.0.0.1")
IMAP6 = PortSpec(name="imap6", protocol="imap", address="0:0:0:0:0:0:0:1")
LOCAL4 = RangeSpec(name="local", lower="127.0.0.1", upper="127.0.0.1", require_auth=())
ANN = AccountSpec(address="ann@example.org", password="secret")
MAIL = Configuration(ports=(SMTP4, POP4), accounts=(ANN,))


def named(running: Running, name: str) -> Endpoint:
    (found,) = (endpoint for endpoint in running.endpoints if endpoint.name == name)
    return found


def first_bytes(endpoint: Endpoint) -> bytes | None:
    """Return what the server says first, b"" when it closes, None when nothing listens."""
    try:
        with socket.create_connection((endpoint.address, endpoint.port), timeout=60) as sock:
            return sock.recv(100)
    except ConnectionRefusedError:
        return None
    except ConnectionResetError:
        return b""


def send(running: Running) -> None:
    endpoint = named(running, "smtp4")
    with smtplib.SMTP(endpoint.address, endpoint.port, timeout=60) as client:
        client.sendmail("x@example.net", [ANN.address], "Subject: x\r\n\r\nbody\r\n")


def count(running: Running) -> int:
    endpoint = named(running, "pop4")
    client = poplib.POP3(endpoint.address, endpoint.port, timeout=60)
    try:
        client.user(ANN.address)
        client.pass_(ANN.password)
        return int(client.stat()[0])
    finally:
        client.quit()


def test_hello_says_what_it_is(reference: ReferenceAdapter) -> None:
    hello = reference.hello()
    assert (hello.name, hello.follows) == ("reference", ("page",))
    assert not missing_features(["ip_ranges", "mail.local", "administration", "kill"], hello)
    (missing,) = missing_features(["dual_stack_listener"], hello)
    assert "IPv6 clients only" in missing.reason


def test_a_start_opens_every_port_and_serves_everybody(reference: ReferenceAdapter, case: Path) -> None:
    running = reference.start("c", case, Configuration(ports=(SMTP4, SMTP6, POP4, IMAP6)))
    assert [(e.name, e.address, e.state) for e in running.endpoints] == [
        ("smtp4", "127.0.0.1", "open"),
        ("smtp6", "::1", "open"),
        ("pop4", "127.0.0.1", "open"),
        ("imap6", "::1", "open"),
    ]
    greetings = [(first_bytes(endpoint) or b"")[:3] for endpoint in running.endpoints]
    assert greetings == [b"220", b"220", b"+OK", b"* O"]
    (pid,) = running.pids
    os.kill(pid, 0)
    assert "listeners.ready" in Path(running.log_file).read_text("utf-8")


def test_everybody_may_deliver_anything_without_authentication(
    reference: ReferenceAdapter, case: Path
) -> None:
    running = reference.start("c", case, MAIL)
    endpoint = named(running, "smtp4")
    with smtplib.SMTP(endpoint.address, endpoint.port, timeout=60) as client:
        client.ehlo()
        for sender in (ANN.address, "x@example.net"):
            client.mail(sender)
            for recipient in (ANN.address, "y@example.net"):
                assert client.rcpt(recipient)[0] == 250, (sender, recipient)
            client.rset()


def test_ranges_limits_and_accounts_hold(reference: ReferenceAdapter, case: Path) -> None:
    configuration = Configuration(
        ports=(SMTP4, SMTP6, POP4), ip_ranges=(LOCAL4,), limits=LimitsSpec(smtp=1), accounts=(ANN,)
    )
    running = reference.start("c", case, configuration)
    assert first_bytes(named(running, "smtp6")) == b""
    smtp4 = named(running, "smtp4")
    with socket.create_connection((smtp4.address, smtp4.port), timeout=60) as one:
        assert one.recv(3) == b"220"
        assert first_bytes(smtp4) == b""
    assert count(running) == 0


def test_a_reset_leaves_nothing_of_the_case_before(reference: ReferenceAdapter, case: Path) -> None:
    first = reference.start("c", case, MAIL)
    send(first)
    assert count(first) == 1
    added = AdminRequest(
        operation="add", kind="ip_range", values={"name": "typed", "lower": "::", "upper": "::1"}
    )
    assert reference.admin(added).outcome == "accepted"
    changed = AdminRequest(operation="change", kind="settings", values={"host_name": "other.example"})
    assert reference.admin(changed).outcome == "accepted"
    smtp4 = named(first, "smtp4")
    with socket.create_connection((smtp4.address, smtp4.port), timeout=60) as open_session:
        assert open_session.recv(3) == b"220"
        second = reference.configure(Configuration(ports=(POP4,), accounts=(ANN,)), reset=True)
        while open_session.recv(1000):
            pass
    assert [endpoint.name for endpoint in second.endpoints] == ["pop4"]
    assert first_bytes(smtp4) is None
    assert second.pids == first.pids
    assert count(second) == 0
    read = AdminRequest(operation="read", kind="ip_range", name="typed")
    assert reference.admin(read).outcome == "absent"
    settings = reference.admin(AdminRequest(operation="read", kind="settings"))
    assert settings.values["host_name"] == "localhost"
    empty = reference.configure(Configuration(ports=(POP4,), ip_ranges=()), reset=True)
    assert first_bytes(named(empty, "pop4")) == b""
    assert "other.example" not in reference.log()


def test_a_reset_of_limits_is_a_reset(reference: ReferenceAdapter, case: Path) -> None:
    reference.start("c", case, Configuration(ports=(SMTP4,), limits=LimitsSpec(smtp=1)))
    running = reference.configure(Configuration(ports=(SMTP4,)), reset=True)
    smtp4 = named(running, "smtp4")
    with socket.create_connection((smtp4.address, smtp4.port), timeout=60) as one:
        assert one.recv(3) == b"220"
        assert (first_bytes(smtp4) or b"").startswith(b"220")


def test_changes_hold_as_an_administrator_makes_them(reference: ReferenceAdapter, case: Path) -> None:
    before = Configuration(ports=(SMTP4,), ip_ranges=(LOCAL4,))
    running = reference.start("c", case, before)
    assert (first_bytes(named(running, "smtp4")) or b"").startswith(b"220")
    off = LOCAL4.model_copy(update={"allow": ("imap",)})
    changed = reference.configure(Configuration(ports=(SMTP4, POP4), ip_ranges=(off,)))
    assert [endpoint.name for endpoint in changed.endpoints] == ["smtp4"]
    assert first_bytes(named(changed, "smtp4")) == b""
    after = Configuration(ports=(POP4,), ip_ranges=(LOCAL4,), limits=LimitsSpec(pop3=5), accounts=(ANN,))
    still = reference.configure(after)
    assert [endpoint.name for endpoint in still.endpoints] == ["smtp4"]
    assert (first_bytes(named(still, "smtp4")) or b"").startswith(b"220")
    running = reference.reinitialize()
    assert [endpoint.name for endpoint in running.endpoints] == ["pop4"]
    assert count(running) == 0


def test_a_change_leaves_what_was_typed(reference: ReferenceAdapter, case: Path) -> None:
    reference.start("c", case, Configuration(ports=(SMTP4,), ip_ranges=(LOCAL4,)))
    typed = {"name": "typed", "lower": "::", "upper": "::1"}
    reference.admin(AdminRequest(operation="add", kind="ip_range", values=dict(typed)))
    reference.configure(Configuration(ports=(SMTP4,), ip_ranges=()))
    assert (
        reference.admin(AdminRequest(operation="read", kind="ip_range", name="typed")).outcome == "accepted"
    )
    assert reference.admin(AdminRequest(operation="read", kind="ip_range", name="local")).outcome == "absent"


def test_mail_and_configuration_survive_kill_and_restart(reference: ReferenceAdapter, case: Path) -> None:
    first = reference.start("c", case, MAIL)
    send(first)
    reference.kill()
    assert first_bytes(named(first, "smtp4")) is None
    with pytest.raises(AdapterError, match="does not run"):
        reference.status()
    second = reference.restart()
    assert second.pids != first.pids
    assert count(second) == 1
    third = reference.restart()
    assert count(third) == 1
    assert reference.log().count('"administration.ready"') == 6


def test_a_reinitialize_is_the_same_process(reference: ReferenceAdapter, case: Path) -> None:
    first = reference.start("c", case, MAIL)
    second = reference.reinitialize()
    assert second.pids == first.pids
    assert count(second) == 0


def test_a_port_in_use_is_reported_and_the_others_run(reference: ReferenceAdapter, case: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        busy = PortSpec(name="busy", protocol="smtp", address="127.0.0.1", number=number)
        running = reference.start("c", case, Configuration(ports=(busy, SMTP6)))
    failed = named(running, "busy")
    assert (failed.state, failed.port) == ("failed", number)
    assert failed.error
    assert "listener.failed" in reference.log()
    assert (first_bytes(named(running, "smtp6")) or b"").startswith(b"220")


@pytest.mark.parametrize("over", ["ipv4", "ipv6"])
def test_administration_over_both_families(over: str, reference: ReferenceAdapter, case: Path) -> None:
    reference.start("c", case, Configuration())

    def ask(**fields: object) -> tuple[str, str]:
        answer = reference.admin(AdminRequest.model_validate({"over": over, **fields}))
        return answer.outcome, answer.message

    good = {"name": "r", "lower": " ::1", "upper": "0:0:0:0:0:0:0:FF"}
    assert ask(operation="add", kind="ip_range", values=good)[0] == "accepted"
    assert ask(operation="add", kind="ip_range", values=good)[0] == "refused"
    outcome, message = ask(operation="add", kind="ip_range", values={**good, "name": "s", "upper": "oops"})
    assert outcome == "refused"
    assert "upper" in message
    for password in ("wrong", "none"):
        assert ask(operation="add", kind="ip_range", values=good, password=password)[0] == "unauthorized"
        assert ask(operation="read", kind="ip_range", name="r", password=password)[0] == "unauthorized"
        assert ask(operation="delete", kind="ip_range", name="r", password=password)[0] == "unauthorized"
        assert ask(operation="read", kind="settings", password=password)[0] == "unauthorized"
    assert ask(operation="change", kind="ip_range", name="r", values={"priority": 77})[0] == "accepted"
    read = reference.admin(AdminRequest(operation="read", kind="ip_range", name="r"))
    assert (read.values["lower"], read.values["upper"], read.values["priority"]) == ("::1", "::ff", 77)
    assert ask(operation="delete", kind="ip_range", name="r")[0] == "accepted"
    for operation in ("read", "delete", "change"):
        assert ask(operation=operation, kind="ip_range", name="r", values={})[0] == "absent"


def test_ports_are_typed_read_and_opened(reference: ReferenceAdapter, case: Path) -> None:
    reference.start("c", case, Configuration(ports=(SMTP4,)))
    typed = {"protocol": "imap", "address": " 0:0::1 ", "port": 0}
    answer = reference.admin(AdminRequest(operation="add", kind="port", name="door", values=dict(typed)))
    assert answer.outcome == "accepted"
    read = reference.admin(AdminRequest(operation="read", kind="port", name="door"))
    assert (read.values["address"], read.values["protocol"]) == ("::1", "imap")
    change = AdminRequest(operation="change", kind="port", name="door", values={"protocol": "pop3"})
    assert reference.admin(change).outcome == "accepted"
    running = reference.restart()
    assert (first_bytes(named(running, "door")) or b"").startswith(b"+OK")
    assert reference.admin(AdminRequest(operation="delete", kind="port", name="smtp4")).outcome == "accepted"
    assert [endpoint.name for endpoint in reference.restart().endpoints] == ["door"]


def test_status_says_whether_ipv6_is_there(reference: ReferenceAdapter, case: Path) -> None:
    reference.start("c", case, Configuration())
    status = reference.status()
    assert status.ipv6_available is True
    assert '"generation": 1' in status.text


@pytest.mark.skipif(bool(without_ipv6.missing()), reason=without_ipv6.missing() or "-")
def test_without_ipv6_the_ipv4_ports_run(reference: ReferenceAdapter, case: Path) -> None:
    configuration = Configuration(ports=(SMTP6, SMTP4), host=HostSpec(ipv6=False))
    running = reference.start("c", case, configuration)
    assert [(e.name, e.state) for e in running.endpoints] == [("smtp6", "failed"), ("smtp4", "open")]
    assert (first_bytes(named(running, "smtp4")) or b"").startswith(b"220")
    assert reference.status().ipv6_available is False
    over = AdminRequest(operation="read", kind="settings", over="ipv6")
    assert reference.admin(over).outcome == "unreachable"
    with_it = reference.configure(Configuration(ports=(SMTP6,)), reset=True)
    assert named(with_it, "smtp6").state == "open"


@pytest.mark.skipif(
    safety.inside_own_namespace(), reason="inside a namespace of our own every address is ours"
)
def test_no_door_to_other_machines_is_opened(reference: ReferenceAdapter, case: Path) -> None:
    for address in ("0.0.0.0", "::", "192.0.2.1"):
        wide = Configuration(ports=(PortSpec(name="wide", protocol="smtp", address=address),))
        with pytest.raises(MachineError, match="outside a network namespace"):
            reference.start("c", case, wide)
    with pytest.raises(MachineError, match="only in a network namespace"):
        reference.start("c", case, Configuration(default=True))
    reference.start("c", case, Configuration())
    typed = {"protocol": "smtp", "address": "::", "port": 0}
    assert (
        reference.admin(AdminRequest(operation="add", kind="port", values=dict(typed))).outcome == "accepted"
    )
    with pytest.raises(MachineError, match="outside a network namespace"):
        reference.restart()
    with pytest.raises(MachineError, match="outside a network namespace"):
        reference.reinitialize()
    reference.kill()
    with pytest.raises(MachineError, match="outside a network namespace"):
        reference.restart()


def test_twenty_starts_and_stops_leave_no_process_and_no_file(
    reference: ReferenceAdapter, case: Path
) -> None:
    pids = set()
    for _ in range(20):
        running = reference.start("c", case, Configuration(ports=(SMTP4, SMTP6)))
        pids.update(running.pids)
        reference.stop()
        assert not list(case.iterdir())
        assert all(first_bytes(endpoint) is None for endpoint in running.endpoints)
    assert len(pids) == 20
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    reference.stop()


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path, case: Path) -> None:
    adapter = ReferenceAdapter({"command": "/bin/sh -c 'echo broken badly >&2; exit 7' x"}, tmp_path)
    with pytest.raises(AdapterError, match="exit code 7") as raised:
        adapter.start("c", case, Configuration())
    assert "broken badly" in raised.value.log
    assert not list(case.iterdir())
    with pytest.raises(AdapterError, match="could not be started"):
        ReferenceAdapter({"command": "/no/such/server"}, tmp_path).start("c", case, Configuration())


def test_a_server_that_died_is_an_error_with_its_log(reference: ReferenceAdapter, case: Path) -> None:
    (pid,) = reference.start("c", case, Configuration()).pids
    os.kill(pid, 9)
    assert reference._server is not None
    assert reference._server.child.wait(60)
    with pytest.raises(AdapterError, match="has ended, exit code -9") as raised:
        reference.status()
    assert "listeners.ready" in raised.value.log
    assert reference.restart().pids != (pid,)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--set colour"):
        ReferenceAdapter({"colour": "blue"}, tmp_path)
    with pytest.raises(UsageError, match="no-such-fault"):
        ReferenceAdapter({"fault": "no-such-fault"}, tmp_path)
    with pytest.raises(UsageError, match="leave out command"):
        ReferenceAdapter({"fault": "no-such-fault", "command": "x"}, tmp_path)
