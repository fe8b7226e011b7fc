"""Passwords never appear in a report."""

from __future__ import annotations

import base64

from conformance.run.secrets import passwords, redacted, secret_values

PLAIN = base64.b64encode(b"\0a@example.org\0geheim").decode()
SERVER = """
ports: [{name: door, protocol: smtp, address: "::1"}]
accounts: [{address: a@example.org, password: geheim}]
"""
STEPS = """
- {login: {to: door, user: a@example.org, password: other-one}, expect: refused}
- admin: {change: settings, values: {admin_password: third-one, max_smtp_connections: 12345}}
  expect: accepted
- send: {to: door, mail_from: b@example.com, rcpt_to: a@example.org,
         login: {user: a@example.org, password: fourth-one}}
  expect: oracle
- {connect: {to: door}, expect: served}
"""


def test_every_password_of_a_scenario_is_known(stage) -> None:
    found = passwords(stage.case(STEPS, server=SERVER).scenario)
    assert {"geheim", "other-one", "third-one", "fourth-one", PLAIN} <= set(found)
    assert "12345" not in found


def test_they_are_hidden_wherever_they_stand(stage) -> None:
    record = stage.run("- {connect: {to: door}, expect: served}", server=SERVER)
    said = [line.model_copy(update={"text": f"AUTH {PLAIN}, geheim?"}) for line in record.transcript]
    judged = [one.model_copy(update={"actual": "250 geheim"}) for one in record.judgements]
    shown = record.model_copy(
        update={
            "transcript": tuple(said),
            "judgements": tuple(judged),
            "reason": "geheim",
            "log_tail": "login geheim\nok",
            "parameters": {"password": "geheim"},
        }
    )
    hidden = redacted(shown, ["geheim", PLAIN])
    text = hidden.model_dump_json()
    assert "geheim" not in text
    assert PLAIN not in text
    assert hidden.log_tail == "login ***\nok"
    assert (hidden.id, hidden.verdict, hidden.requirements) == (
        record.id,
        record.verdict,
        record.requirements,
    )


def test_a_short_password_makes_no_holes_in_words(stage) -> None:
    record = stage.run("- {connect: {to: door}, expect: served}").model_copy(
        update={"reason": "abc cab a ab"}
    )
    assert redacted(record, ["ab"]).reason == "abc cab a ***"


def test_nothing_is_changed_without_secrets(stage) -> None:
    record = stage.run("- {connect: {to: door}, expect: served}")
    assert redacted(record, ["", "never-said"]) == record


def test_secret_settings_of_an_adapter() -> None:
    assert secret_values({"password": "one", "api_token": "two", "prefix": "three", "secret": ""}) == (
        "one",
        "two",
    )
