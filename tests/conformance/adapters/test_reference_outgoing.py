"""The reference adapter and outgoing mail: settings, queue and clock of the real server."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.adapters.base import (
    Advance,
    Configuration,
    DeliverySpec,
    DnsSpec,
    PortSpec,
    QueueChange,
    RelaySpec,
)
from conformance.adapters.reference import ReferenceAdapter
from conformance.errors import AdapterError
from conformance.run.patience import again_until

SMTP = PortSpec(name="door", protocol="smtp", address="127.0.0.1")
NOWHERE = RelaySpec(to="127.0.0.1", port=1, security="starttls_required", user="us", password="geheim")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    (tmp_path / "case").mkdir()
    return tmp_path / "case"


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[ReferenceAdapter]:
    adapter = ReferenceAdapter({}, tmp_path)
    yield adapter
    adapter.close()


def send(port: int, times: int = 1) -> None:
    for _ in range(times):
        with smtplib.SMTP("127.0.0.1", port, "me.test", timeout=60) as client:
            client.sendmail("a@b.test", ["c@d.test", "e@f.test"], "Subject: x\r\n\r\nx\r\n")


def test_settings_are_those_of_the_case_and_of_no_earlier_one(
    reference: ReferenceAdapter, case: Path
) -> None:
    delivery = DeliverySpec(bind="::1", ipv6_preferred=True, tries=7, minutes_between_tries=3, verify=False)
    dns = DnsSpec(address="::1", port=5300)
    reference.start("c", case, Configuration(ports=(SMTP,), relay=NOWHERE, delivery=delivery, dns=dns))
    settings = reference._http().call("GET", "/settings")
    wanted = {
        "smtp_relayer": "127.0.0.1",
        "smtp_relayer_port": 1,
        "smtp_relayer_connection_security": "starttls_required",
        "smtp_relayer_requires_authentication": True,
        "smtp_relayer_username": "us",
        "smtp_delivery_bind_to_ip": "::1",
        "smtp_no_of_tries": 7,
        "smtp_minutes_between_try": 3,
        "ipv6_preferred": True,
        "verify_remote_ssl_certificate": False,
        "dns_server": "[::1]:5300",
    }
    assert {key: settings[key] for key in wanted} == wanted
    reference.configure(Configuration(ports=(SMTP,)), reset=True)
    settings = reference._http().call("GET", "/settings")
    assert (settings["smtp_relayer"], settings["smtp_delivery_bind_to_ip"]) == ("", "")
    # Nobody outside is asked, whatever a case forgets to say.
    assert settings["dns_server"] == "127.0.0.1:1"


def test_what_waits_is_seen_and_gone_with_the_case(reference: ReferenceAdapter, case: Path) -> None:
    running = reference.start("c", case, Configuration(ports=(SMTP,), relay=NOWHERE))
    assert reference.queue().messages == ()
    send(running.endpoints[0].port, 2)
    first, second = reference.queue().messages
    assert (first.mail_from, first.rcpt_to) == ("a@b.test", ("c@d.test", "e@f.test"))
    assert first.id != second.id
    tried = again_until(lambda queue: not any(one.due for one in queue.messages), reference.queue, 60)
    assert len(tried.messages) == 2
    assert not any(one.due for one in tried.messages)
    reference.change_queue(QueueChange(action="retry"))
    reference.change_queue(QueueChange(action="delete"))
    assert reference.queue().messages == ()
    send(running.endpoints[0].port)
    reference.configure(Configuration(ports=(SMTP,), relay=NOWHERE), reset=True)
    assert reference.queue().messages == ()


def test_the_clock_goes_on(reference: ReferenceAdapter, case: Path) -> None:
    reference.start("c", case, Configuration())
    before = reference._clock().advance(0)
    reference.advance(Advance(seconds=3600))
    assert (reference._clock().advance(0) - before).total_seconds() >= 3600
    reference.kill()
    with pytest.raises(AdapterError, match="does not run"):
        reference.advance(Advance(seconds=1))


def test_another_authority_takes_another_process(reference: ReferenceAdapter, case: Path) -> None:
    plain = reference.start("c", case, Configuration())
    trust = case / "trusted.pem"
    trusting = reference.configure(Configuration(trust=str(trust)), reset=True)
    assert plain.pids != trusting.pids
    environment = Path(f"/proc/{trusting.pids[0]}/environ").read_bytes().split(b"\0")
    assert f"SSL_CERT_FILE={trust}".encode() in environment
    assert reference.configure(Configuration(), reset=True).pids == trusting.pids
