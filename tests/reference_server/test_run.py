"""The server as a process: what it opens, what it reports, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import httpx
import pytest

from conformance.network import without_ipv6
from reference_server import run
from reference_server.options import Options

from .conftest import PASSWORD, Client, ServerProcess, StartServer
from .listening.conftest import KeptLog

GREETINGS = {"smtp": b"220 ", "pop3": b"+OK ", "imap": b"* OK "}


def everybody(server: ServerProcess) -> None:
    server.add_range("v4", "0.0.0.0", "255.255.255.255")
    server.add_range("v6", "::", ":".join(["ffff"] * 8), require_auth_remote_to_local=False)


def mail_door(server: ServerProcess) -> int:
    """Return the number of an SMTP port on ::1 of a server with one account."""
    everybody(server)
    server.call("POST", "/domains", {"name": "example.test"})
    server.call(
        "POST", "/domains/example.test/accounts", {"address": "joe@example.test", "password": "joes-own"}
    )
    port = server.add_port("smtp", "::1")
    return int(server.reinitialize()[port]["port"])


def begin_message(port: int) -> Client:
    client = Client("::1", port)
    client.line()
    client.talk(b"EHLO client.example.test")
    assert client.talk(b"MAIL FROM:<ann@example.net>").startswith(b"250")
    assert client.talk(b"RCPT TO:<joe@example.test>").startswith(b"250")
    assert client.talk(b"DATA").startswith(b"354")
    client.say(b"Subject: half\r\n\r\nfirst line\r\n")
    return client


def stored_messages(folder: Path) -> int:
    with sqlite3.connect(folder / "reference-server.sqlite3") as connection:
        (count,) = connection.execute("SELECT count(*) FROM messages").fetchone()
    connection.close()
    return int(count)


def wait_until_closed(port: int) -> None:
    """Return when the listener is gone; nobody else uses the number meanwhile."""
    while True:
        try:
            socket.create_connection(("::1", port), timeout=60).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_all_protocols_over_both_families_and_stops_when_told(
    start_server: StartServer, tmp_path: Path, number: signal.Signals
) -> None:
    server = start_server()
    assert server.until("listeners.ready")["generation"] == 1
    everybody(server)
    ports = {
        server.add_port(protocol, address): (protocol, address)
        for protocol in GREETINGS
        for address in ("127.0.0.1", "::1")
    }
    listeners = server.reinitialize()
    assert listeners.keys() == ports.keys()
    for port_id, (protocol, address) in ports.items():
        listener = listeners[port_id]
        assert listener["open"] is True
        opened = server.until("listener.open", lambda event, port_id=port_id: event["port_id"] == port_id)
        assert (opened["protocol"], opened["address"]) == (protocol, address)
        assert opened["port"] == listener["port"]
        with Client(address, listener["port"]) as client:
            assert client.line().startswith(GREETINGS[protocol])
    status = server.call("GET", "/status")
    assert (status["state"], status["generation"], status["ipv6_available"]) == ("running", 2, True)
    idle = Client("::1", next(each["port"] for each in listeners.values() if each["address"] == "::1"))
    assert idle.line()
    server.signal(number)
    code, output = server.end()
    assert (code, server.events[-1]["event"]) == (0, "server.stopped")
    assert len(server.named("session.accepted")) == len(server.named("session.finished")) == 7
    assert idle.line() != b""  # a word of farewell,
    assert idle.line() == b""  # then the end
    idle.close()
    assert PASSWORD not in output + str(server.events)
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["reference-server.sqlite3"]
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_message_that_is_coming_is_taken_before_it_stops(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    port = mail_door(server)
    with begin_message(port) as client:
        server.signal(signal.SIGTERM)
        wait_until_closed(port)
        assert client.talk(b"last line\r\n.").startswith(b"250")
        assert client.line().startswith(b"421")
        assert client.line() == b""
    assert server.end()[0] == 0
    assert stored_messages(tmp_path / "data") == 1


def test_a_second_signal_does_not_wait_for_it(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    port = mail_door(server)
    with begin_message(port) as client:
        server.signal(signal.SIGTERM)
        wait_until_closed(port)
        server.signal(signal.SIGTERM)
        assert client.line() == b""
    assert server.end()[0] == 0
    assert stored_messages(tmp_path / "data") == 0


def test_the_configuration_is_there_after_a_restart(start_server: StartServer) -> None:
    server = start_server()
    mail_door(server)
    server.signal(signal.SIGTERM)
    assert server.end()[0] == 0
    again = start_server()
    listener = again.until("listener.open")
    assert listener["address"] == "::1"
    again.until("listeners.ready")
    with Client("::1", listener["port"]) as client:
        assert client.line().startswith(b"220 ")


def test_a_data_directory_has_one_process_at_a_time(start_server: StartServer) -> None:
    first = start_server()
    first.until("listeners.ready")
    second = start_server()
    code, output = second.end()
    assert (code, output) == (1, "")
    [event] = second.events
    assert event["event"] == "server.failed"
    assert "another reference-server is using it" in event["error"]
    first.process.kill()
    first.process.wait(60)
    # A killed process leaves no lock.
    third = start_server()
    third.until("listeners.ready")


def test_ports_that_cannot_open_are_named_and_the_others_run(start_server: StartServer) -> None:
    server = start_server()
    everybody(server)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        busy = server.add_port("pop3", "127.0.0.1", number)
        foreign = server.add_port("imap", "2001:db8::25", 1143)
        good = server.add_port("smtp", "::1")
        listeners = server.reinitialize()
    assert [listeners[each]["open"] for each in (busy, foreign, good)] == [False, False, True]
    assert "in use" in listeners[busy]["error"]
    assert "not on this host" in listeners[foreign]["error"]
    failed = {event["port_id"]: event for event in server.named("listener.failed")}
    assert failed.keys() == {busy, foreign}
    assert (failed[busy]["address"], failed[busy]["port"]) == ("127.0.0.1", number)
    assert (failed[foreign]["address"], failed[foreign]["port"]) == ("2001:db8::25", 1143)
    assert failed[foreign]["error"] == listeners[foreign]["error"]
    with Client("::1", listeners[good]["port"]) as client:
        assert client.line().startswith(b"220 ")
    # With the number free again, the next reinitialize opens it.
    assert server.reinitialize()[busy]["open"] is True


def test_reinitialize_applies_the_ports_and_ends_idle_sessions(start_server: StartServer) -> None:
    server = start_server()
    everybody(server)
    old = server.add_port("smtp", "::1")
    number = server.reinitialize()[old]["port"]
    idle = Client("::1", number)
    assert idle.line().startswith(b"220 ")
    server.call("DELETE", f"/ports/{old}")
    new = server.add_port("pop3", "127.0.0.1")
    # Not before the reinitialize:
    with Client("::1", number) as client:
        assert client.line().startswith(b"220 ")
    listeners = server.reinitialize()
    assert listeners.keys() == {new}
    assert idle.line().startswith(b"421")
    assert idle.line() == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", number), timeout=60)
    with Client("127.0.0.1", listeners[new]["port"]) as client:
        assert client.line().startswith(b"+OK")


def test_a_message_that_is_coming_survives_a_reinitialize(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    port = mail_door(server)
    with begin_message(port) as client:
        server.reinitialize()
        assert client.talk(b"last line\r\n.").startswith(b"250")
        assert client.line().startswith(b"421")
    server.signal(signal.SIGTERM)
    assert server.end()[0] == 0
    assert stored_messages(tmp_path / "data") == 1


def test_ranges_and_limits_hold_for_the_next_connection(start_server: StartServer) -> None:
    server = start_server()
    port = server.add_port("smtp", "::1")
    number = server.reinitialize()[port]["port"]

    def first_line() -> bytes:
        with Client("::1", number) as client:
            return client.line()

    assert first_line() == b""
    ip_range = server.add_range("here", "::1", "::1")
    inside = Client("::1", number)
    assert inside.line().startswith(b"220 ")
    server.call("PUT", f"/ipranges/{ip_range}", {"allow_smtp": False})
    assert first_line() == b""
    assert inside.talk(b"NOOP").startswith(b"250")
    server.call("PUT", f"/ipranges/{ip_range}", {"allow_smtp": True})
    server.call("PUT", "/settings", {"max_smtp_connections": 1})
    assert first_line() == b""
    inside.close()
    server.until("session.finished")
    assert first_line().startswith(b"220 ")
    server.signal(signal.SIGTERM)
    server.end()
    reasons = [event["reason"] for event in server.named("session.refused")]
    assert reasons == [
        "no matching range",
        "range does not allow smtp",
        "limit of 1 smtp sessions reached",
    ]


def test_an_administration_that_cannot_open_is_reported_and_the_rest_runs(
    start_server: StartServer,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        server = start_server(
            "--admin-port", str(number), "--admin-address", "127.0.0.1", "--admin-address", "::1"
        )
        failed = server.until("administration.failed")
        ready = server.until("administration.ready")
    assert (failed["address"], failed["port"]) == ("127.0.0.1", number)
    assert "in use" in failed["error"]
    assert ready["url"] == f"http://[::1]:{number}"
    assert server.call("GET", "/status")["state"] == "running"
    assert httpx.get(f"{ready['url']}/api/v1/status", timeout=60).status_code == 401


@pytest.mark.skipif(without_ipv6.missing() != "", reason=without_ipv6.missing() or "-")
def test_without_ipv6_in_the_system_the_ipv4_ports_work(start_server: StartServer) -> None:
    prepared = start_server()
    everybody(prepared)
    ports = {prepared.add_port("smtp", address): address for address in ("127.0.0.1", "::1")}
    prepared.signal(signal.SIGTERM)
    assert prepared.end()[0] == 0
    server = start_server(prefix=_without_ipv6_prefix())
    status = server.call("GET", "/status")
    assert status["ipv6_available"] is False
    found = {ports[each["port_id"]]: each for each in status["listeners"]}
    assert found["::1"]["open"] is False
    assert "no IPv6" in found["::1"]["error"]
    assert server.named("listener.failed")[0]["address"] == "::1"
    with Client("127.0.0.1", found["127.0.0.1"]["port"]) as client:
        assert client.line().startswith(b"220 ")
    server.signal(signal.SIGTERM)
    assert server.end()[0] == 0


def _without_ipv6_prefix() -> list[str]:
    marker = "PROGRAM"
    command = without_ipv6.command([marker])
    assert command[-1] == marker
    return command[:-1]


def test_it_can_be_stopped_while_it_starts(start_server: StartServer) -> None:
    server = start_server()
    server.until("listeners.ready")
    server.signal(signal.SIGTERM)  # the administration is still being imported
    assert server.end()[0] == 0
    assert server.events[-1]["event"] == "server.stopped"


class FakeServer:
    """Stops only when it is hurried, so that a test sees what each signal does."""

    def __init__(self, _options: Options, log: KeptLog, **_: object) -> None:
        self._log = log
        self._hurried = asyncio.Event()

    async def start(self) -> None:
        self._log.info("start")
        os.kill(os.getpid(), signal.SIGTERM)

    async def complete(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        self._log.info("stop")
        os.kill(os.getpid(), signal.SIGINT)
        await self._hurried.wait()
        self._log.info("stopped")

    def hurry(self) -> None:
        self._log.info("hurry")
        self._hurried.set()


def test_the_first_signal_stops_and_the_second_one_hurries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Server", FakeServer)
    monkeypatch.setattr(run, "_raise_descriptor_limit", lambda: None)
    log = KeptLog()
    gc.disable()
    try:
        assert run.run(Options(data_dir=Path("unused")), log, plain_errors=True) == 0
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
    assert [event.name for event in log.events] == ["start", "stop", "hurry", "stopped"]


def test_as_many_descriptors_as_the_system_allows(start_server: StartServer) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard <= 512:
        pytest.skip("this system allows no more than 512 descriptors")
    low = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (512, {hard})); "
    server = start_server(prefix=[sys.executable, "-c", low + "os.execvp(sys.argv[1], sys.argv[1:])"])
    server.until("listeners.ready")
    limits = Path(f"/proc/{server.process.pid}/limits")
    if not limits.exists():
        pytest.skip("this system does not show the limits of a process")
    [line] = [line for line in limits.read_text().splitlines() if line.startswith("Max open files")]
    assert line.split()[3] == str(hard)
