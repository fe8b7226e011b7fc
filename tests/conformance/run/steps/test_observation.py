"""The steps ``listening``, ``status``, ``descriptors`` and ``sockets``."""

from __future__ import annotations

import os

import pytest

from conformance.adapters.base import Endpoint, Status
from conformance.run.steps.observation import is_reported

SERVED = "- {connect: {to: door}, expect: served}"
CONTROL = "- {connect: {to: door}, expect: {outcome: served, control: true}}"
FAILED = Endpoint(name="other", protocol="smtp", address="::2", port=2525, state="failed", error="no luck")


def test_a_port_that_is_open(stage) -> None:
    record = stage.run("- {listening: {port: door}, expect: {state: open}}")
    assert (record.verdict, record.judgements[0].actual) == ("pass", "the port door open")


def test_a_port_that_is_open_and_should_not_be(stage) -> None:
    record = stage.run(f"- {{listening: {{port: door}}, expect: {{state: failed}}}}\n{CONTROL}")
    assert (record.verdict, record.judgements[0].expected) == ("fail", "the port door failed")


@pytest.mark.parametrize(
    ("error", "log", "verdict"),
    [
        ("cannot listen on ::1 port 2525", "", "pass"),
        ("", "12:00 error [::1]:2525 in use", "pass"),
        ("no luck", "a line\n::1 failed\n2525 failed", "fail"),
        ("", "", "fail"),
    ],
)
def test_a_failure_is_reported_by_address_and_number(stage, error, log, verdict) -> None:
    stage.adapter.text = log
    stage.adapter.reports["other"] = FAILED.model_copy(update={"address": "::1", "error": error})
    server = """
        ports:
          - {name: door, protocol: smtp, address: "::1"}
          - {name: other, protocol: smtp, address: "::1", number: in_use}
        """
    steps = f"- {{listening: {{port: other}}, expect: {{state: failed, reported: true}}}}\n{CONTROL}"
    record = stage.run(steps, server=server)
    assert record.verdict == verdict, record.reason


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("cannot open [::2]:2525", True),
        ("::2:2525 failed", True),
        ("port 2525 of 0:0:0:0:0:0:0:2", True),
        ("listener smtp, address ::2, port 2525: in use", True),
        ('{"address": "::2", "port": 2525, "event": "listener.failed"}', True),
        ("cannot open [::2]:25250", False),
        ("cannot open [::2]:12525", False),
        ("cannot open [::22]:2525", False),
        ("cannot open [::2]\nport 2525", False),
        ("port 2525 failed", False),
        ("", False),
    ],
)
def test_a_report_names_both_in_one_line(text, reported) -> None:
    assert is_reported(FAILED, text) is reported


def test_an_ipv4_address_in_a_report() -> None:
    endpoint = FAILED.model_copy(update={"address": "127.0.0.1"})
    assert is_reported(endpoint, "bind 127.0.0.1:2525: in use")
    assert is_reported(endpoint, "12:00:01 bind 127.0.0.1 port 2525.")
    assert not is_reported(endpoint, "bind 127.0.0.11:2525: in use")


@pytest.mark.parametrize(("says", "verdict"), [(True, "fail"), (False, "pass"), (None, "fail")])
def test_what_the_server_says_of_ipv6(stage, says, verdict) -> None:
    stage.adapter.says = Status(ipv6_available=says, text="IPv6: see there")
    record = stage.run(f"- {{status: {{}}, expect: {{ipv6_available: false}}}}\n{SERVED}")
    assert record.verdict == verdict
    assert "status: IPv6: see there" in stage.said(record)


DESCRIPTORS = f"""\
- {{descriptors: {{mark: before}}}}
- {{change: {{limits: {{smtp: 7}}}}}}
- {{descriptors: {{since: before}}, expect: {{growth_at_most: 3}}}}
{SERVED}
"""


@pytest.mark.parametrize(("more", "verdict"), [(0, "pass"), (3, "pass"), (4, "fail")])
def test_descriptors_that_a_server_keeps(stage, more, verdict) -> None:
    opened: list[int] = []
    stage.adapter.does["configure"] = lambda: opened.extend(
        os.open(os.devnull, os.O_RDONLY) for _ in range(more)
    )
    try:
        record = stage.run(DESCRIPTORS)
    finally:
        for number in opened:
            os.close(number)
    assert stage.verdicts(record)[0] == ("BIND-2", verdict), record.judgements
    before, after = (int(part.split()[0]) for part in record.judgements[0].actual.split(", "))
    assert after - before == more


@pytest.mark.parametrize(
    ("address", "expect", "verdict"),
    [
        ("::1", "some", "pass"),
        ("::1", "none", "fail"),
        ("127.0.0.1", "none", "pass"),
        ("127.0.0.1", "some", "fail"),
    ],
)
def test_the_families_of_the_listening_sockets(stage, address, expect, verdict) -> None:
    server = f'ports: [{{name: door, protocol: smtp, address: "{address}"}}]'
    record = stage.run(f"- {{sockets: {{}}, expect: {{ipv6: {expect}}}}}\n{SERVED}", server=server)
    assert stage.verdicts(record)[0] == ("BIND-2", verdict), record.judgements
