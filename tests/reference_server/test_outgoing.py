"""Outgoing mail of a real server process: kept, sent, tried again, never lost."""

from __future__ import annotations

import asyncio
import json
import signal
import smtplib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import LIMIT, ServerProcess, StartServer
from .delivery.conftest import CUT, SILENT, Hop
from .delivery.test_resolver import Zone

TEXT = "Subject: hello\r\n\r\n.dot\r\nend\r\n"


class Site:
    """A server with one SMTP port on ::1, one account, and a hop to relay to."""

    def __init__(self, start_server: StartServer, folder: Path, hop: Hop) -> None:
        self._start = start_server
        self.control = folder / "control"
        self.hop = hop
        self.server = self.start()
        everything = {
            "deliver_local_to_remote": True,
            "deliver_remote_to_remote": True,
            "require_auth_local_to_remote": False,
            "require_auth_remote_to_remote": False,
        }
        self.server.add_range("here", "::1", "::1", **everything)
        self.server.call("POST", "/domains", {"name": "example.test"})
        account = {"address": "ann@example.test", "password": "anns-own"}
        self.server.call("POST", "/domains/example.test/accounts", account)
        self.server.call("PUT", "/settings", {"smtp_relayer": "[::1]", "smtp_relayer_port": hop.port})
        port = self.server.add_port("smtp", "::1")
        self.port = int(self.server.reinitialize()[port]["port"])
        self.port_id = port

    def start(self) -> ServerProcess:
        return self._start("--control-socket", str(self.control))

    def restart(self) -> None:
        """Go on with the same database after the last server has ended."""
        self.server = self.start()
        self.port = self.server.until("listener.open")["port"]

    def send(self, *recipients: str, sender: str = "ann@example.test", text: str = TEXT) -> None:
        with smtplib.SMTP("::1", self.port, timeout=LIMIT) as client:
            assert client.sendmail(sender, recipients, text) == {}

    def advance(self, seconds: float) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(LIMIT)
            control.connect(str(self.control))
            control.sendall(json.dumps({"advance": seconds}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(control.makefile().readline())
        assert answer["ok"] is True
        return answer

    def queue(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.call("GET", "/queue")
        return found

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait(LIMIT)


@pytest.fixture
async def hop() -> AsyncIterator[Hop]:
    made = Hop()
    await made.listen()
    yield made
    await made.close()


@pytest.fixture
async def site(start_server: StartServer, tmp_path: Path, hop: Hop) -> Site:
    return await asyncio.to_thread(Site, start_server, tmp_path, hop)


async def of(call: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Return what a blocking call returns; the hop is served meanwhile."""
    return await asyncio.to_thread(call, *args, **more)


async def test_mail_for_elsewhere_goes_to_the_relay(site: Site, hop: Hop) -> None:
    await of(site.send, "joe@far.test", "sue@other.test", "ann@example.test", sender="x@remote.test")
    await of(site.server.until, "queue.delivered")
    [message] = hop.messages
    assert message.startswith(b"Received: from ")
    assert b"([IPv6:::1])\r\n" in message
    assert message.endswith(b"Subject: hello\r\n\r\n..dot\r\nend\r\n")
    assert hop.commands[0] == "EHLO [IPv6:::1]"
    assert [each for each in hop.commands if each.startswith("RCPT")] == [
        "RCPT TO:<joe@far.test>",
        "RCPT TO:<sue@other.test>",
    ]
    assert await of(site.queue) == []


async def test_a_relay_by_name_is_looked_up_at_the_server_of_the_settings(site: Site, hop: Hop) -> None:
    zone = Zone()
    zone.records = {("relay.test", "CNAME"): ["six.test."], ("six.test", "AAAA"): ["::1"]}
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: zone, local_addr=("::1", 0))
    number = udp.get_extra_info("sockname")[1]
    try:
        settings = {"smtp_relayer": "relay.test", "dns_server": f"[::1]:{number}", "ipv6_preferred": True}
        await of(site.server.call, "PUT", "/settings", settings)
        await of(site.send, "joe@far.test")
        await of(site.server.until, "queue.delivered")
    finally:
        udp.close()
    assert len(hop.messages) == 1
    assert {("udp", "relay.test", "AAAA"), ("udp", "six.test", "AAAA")} <= set(zone.asked)


async def test_it_waits_is_shown_retried_and_deleted(site: Site, hop: Hop) -> None:
    hop.replies["MAIL"] = "451 4.3.0 not now"
    for name in ("joe", "sue"):
        await of(site.send, f"{name}@far.test")
    first, second = await of(_deferred, site, 2)
    assert (first["from"], first["recipients"]) == ("ann@example.test", ["joe@far.test"])
    assert first["next_try"] > "2026-01-01 00:00:00"
    await of(site.server.call, "DELETE", f"/queue/{second['id']}")
    hop.replies.clear()
    await of(site.server.call, "POST", f"/queue/{first['id']}/retry")
    await of(site.server.until, "queue.delivered")
    assert [b"hello" in message for message in hop.messages if message] == [True]
    assert await of(site.queue) == []


def _deferred(site: Site, number: int) -> list[dict[str, Any]]:
    seen: set[int] = set()
    site.server.until("queue.deferred", lambda event: seen.add(event["message"]) or len(seen) == number)
    return site.queue()


async def test_the_clock_brings_the_next_try_and_at_last_the_report(site: Site, hop: Hop) -> None:
    await of(site.server.call, "PUT", "/settings", {"smtp_no_of_tries": 3, "smtp_minutes_between_try": 30})
    hop.replies["MAIL"] = "451 4.3.0 not now"
    await of(site.send, "joe@far.test")
    await of(_deferred, site, 1)
    assert (await of(site.advance, 1700))["begun"] == 0
    assert (await of(site.advance, 100))["begun"] == 1
    await hop.until(lambda: hop.commands.count("RSET") == 2)
    while (await of(site.advance, 1800))["begun"] == 0:
        pass  # the second try is still being settled
    event = await of(site.server.until, "queue.returned")
    assert event["reason"] == "451 4.3.0 not now"
    assert await of(site.queue) == []


@pytest.mark.parametrize("where", ["MAIL", "DATA", "END"])
async def test_what_was_being_sent_when_the_server_was_killed_is_sent_again(
    site: Site, hop: Hop, where: str
) -> None:
    hop.replies[where] = SILENT
    await of(site.send, "joe@far.test")
    await hop.until(lambda: hop.messages if where == "END" else f"{where}" in " ".join(hop.commands))
    await of(site.kill)
    hop.replies.clear()
    await of(site.restart)
    await of(site.server.until, "queue.delivered")
    # A second copy only where the hop had the first one whole.
    assert len(hop.messages) == (2 if where == "END" else 1)
    assert len(set(hop.messages)) == 1


async def test_mail_that_waits_survives_stops(site: Site, hop: Hop) -> None:
    hop.replies["GREETING"] = CUT
    await of(site.send, "joe@far.test")
    await of(_deferred, site, 1)
    site.server.signal(signal.SIGTERM)
    assert (await of(site.server.end))[0] == 0
    await of(site.restart)
    hop.replies.clear()
    assert len(await of(site.queue)) == 1
    assert (await of(site.advance, 3600))["begun"] == 1
    await of(site.server.until, "queue.delivered")


async def test_a_second_signal_does_not_wait_for_a_delivery(site: Site, hop: Hop) -> None:
    hop.replies["END"] = SILENT
    await of(site.send, "joe@far.test")
    await hop.until(lambda: hop.messages)
    site.server.signal(signal.SIGTERM)
    site.server.signal(signal.SIGTERM)  # and will not wait for it
    assert (await of(site.server.end))[0] == 0
    hop.replies.clear()
    await of(site.restart)
    await of(site.server.until, "queue.delivered")


async def test_it_goes_on_over_a_reinitialize(site: Site, hop: Hop) -> None:
    hop.replies["END"] = SILENT
    await of(site.send, "joe@far.test")
    await hop.until(lambda: hop.messages)
    listeners = await of(site.server.reinitialize)
    site.port = listeners[site.port_id]["port"]
    hop.replies.clear()
    await of(site.send, "sue@far.test")
    await of(site.server.until, "queue.delivered")
    assert len(hop.messages) == 2


async def test_a_relay_that_is_the_server_itself_is_refused(site: Site) -> None:
    await of(site.server.call, "PUT", "/settings", {"smtp_relayer": "::1", "smtp_relayer_port": site.port})
    await of(site.send, "joe@far.test")
    [waiting] = await of(_deferred, site, 1)
    assert waiting["recipients"] == ["joe@far.test"]
    [event] = site.server.named("queue.deferred")
    assert "is this server itself" in event["reason"]
    # One client came: ours.
    assert len(site.server.named("session.accepted")) == 1


async def test_a_range_expires_when_the_clock_is_moved(site: Site) -> None:
    soon = {"expires": True, "expires_time": "2999-01-01 00:00:00"}
    [ip_range] = await of(site.server.call, "GET", "/ipranges")
    await of(site.server.call, "PUT", f"/ipranges/{ip_range['id']}", soon)
    await of(site.send, "joe@far.test")
    for _ in range(10):
        await of(site.advance, 100 * 365 * 86400)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        await of(site.send, "joe@far.test")


async def test_a_control_socket_that_cannot_open_is_reported(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server("--control-socket", str(tmp_path))
    assert "in use" in (await of(server.until, "control.failed"))["error"]
    await of(server.until, "listeners.ready")
