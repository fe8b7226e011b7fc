"""What the table of decisions cannot say: refusals to answer, and agreement with what was seen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conformance.adapters.base import AccountSpec, Configuration, PortSpec, RangeSpec
from conformance.addresses import parse
from conformance.clients.outcome import Outcome
from conformance.errors import UsageError
from conformance.oracle import (
    ExpectedConnection,
    ExpectedDelivery,
    ExpectedLogin,
    expected_connection,
    expected_listener,
    expected_login,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DOOR = PortSpec(name="door", protocol="smtp", address="::1")
SIX, FOUR = parse("::1"), parse("127.0.0.1")


def test_an_unknown_port() -> None:
    with pytest.raises(UsageError, match="no port is named 'gate'"):
        expected_connection(Configuration(ports=(DOOR,)), "gate", SIX, now=NOW)


def test_the_shipped_configuration_is_not_known() -> None:
    with pytest.raises(UsageError, match="write the outcome"):
        expected_connection(Configuration(default=True), "door", SIX, now=NOW)


@pytest.mark.parametrize("at", [None, SIX])
def test_a_client_of_the_other_family_cannot_connect(at) -> None:
    with pytest.raises(UsageError, match="ipv4 cannot connect to an address of ipv6"):
        expected_connection(Configuration(ports=(DOOR,)), "door", FOUR, at=at, now=NOW)


def test_what_the_configuration_cannot_tell_of_a_listener() -> None:
    configuration = Configuration(ports=(DOOR,))
    assert expected_listener(configuration, "door").state == "open"
    assert expected_listener(configuration, "door", taken={"door"}).reason == "the number is in use"
    assert "not on the host" in expected_listener(configuration, "door", foreign={"door"}).reason


@pytest.mark.parametrize("outcome", list(Outcome))
def test_outcomes_that_agree(outcome: Outcome) -> None:
    closes = {Outcome.CLOSED_SILENT, Outcome.RESET, Outcome.CLOSED_AFTER_TEXT}
    assert ExpectedConnection("served", "").agrees(outcome) == (outcome is Outcome.SERVED)
    assert ExpectedConnection("closed", "").agrees(outcome) == (outcome in closes)
    assert ExpectedConnection("refused", "").agrees(outcome) == (outcome is Outcome.REFUSED)
    assert ExpectedConnection("undefined", "").agrees(outcome) == (outcome in closes | {Outcome.SERVED})


def test_deliveries_that_agree() -> None:
    accepted = ExpectedDelivery("accepted", "rcpt", "250", "", "remote_to_local")
    assert accepted.agrees(accepted=True, stage="data", code="250")
    assert not accepted.agrees(accepted=False, stage="data", code="451")
    assert not accepted.agrees(accepted=False, stage="rcpt", code="550")
    remote = ExpectedDelivery("accepted", "rcpt", "250", "", "local_to_remote")
    assert remote.agrees(accepted=False, stage="data", code="451")
    assert not remote.agrees(accepted=False, stage="rcpt", code="550")
    rejected = ExpectedDelivery("rejected", "rcpt", "550", "", "remote_to_remote")
    assert rejected.agrees(accepted=False, stage="rcpt", code="550")
    assert not rejected.agrees(accepted=False, stage="rcpt", code="530")
    assert not rejected.agrees(accepted=False, stage="data", code="550")
    assert not rejected.agrees(accepted=True, stage="data", code="250")


def test_logins_that_agree() -> None:
    refused = ExpectedLogin("refused", "auth", "")
    assert refused.agrees(accepted=False, stage="auth")
    assert not refused.agrees(accepted=False, stage="connect")
    assert not refused.agrees(accepted=True, stage="auth")
    assert ExpectedLogin("undefined", "auth", "").agrees(accepted=True, stage="auth")


def test_ranges_of_equal_priority_that_disagree_about_tls() -> None:
    ranges = (
        RangeSpec(name="A", lower="::1", upper="::1"),
        RangeSpec(name="B", lower="::1", upper="::1", require_tls_for_auth=True),
    )
    configuration = Configuration(
        ports=(DOOR,), ip_ranges=ranges, accounts=(AccountSpec(address="a@b.test", password="pw"),)
    )
    assert expected_login(configuration, "door", SIX, "a@b.test", "pw", NOW).outcome == "undefined"
    assert expected_login(configuration, "door", SIX, "a@b.test", "pw", NOW, tls=True).outcome == "accepted"
