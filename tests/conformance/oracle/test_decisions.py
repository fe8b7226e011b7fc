"""The oracle against decisions that were computed by hand (decisions.yaml)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from conformance.adapters.base import Configuration
from conformance.addresses import parse
from conformance.oracle import expected_connection, expected_delivery, expected_listener, expected_login

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
DOOR = {"ports": [{"name": "door", "protocol": "smtp", "address": "::1"}]}
GROUPS: list[dict[str, Any]] = YAML(typ="safe").load(
    (Path(__file__).parent / "decisions.yaml").read_text("utf-8")
)


def rows(kind: str) -> list[Any]:
    return [
        pytest.param(
            Configuration(**{**DOOR, **group["configuration"]}), row, id=f"{group['group']}-{number}"
        )
        for group in GROUPS
        for number, row in enumerate(group.get(kind, ()), start=1)
    ]


@pytest.mark.parametrize(("configuration", "row"), rows("connections"))
def test_connection(configuration: Configuration, row: list[Any]) -> None:
    port, client, outcome, reason, *rest = row
    options = dict(rest[0]) if rest else {}
    if "at" in options:
        options["at"] = parse(options["at"])
    if "open" in options:
        options["open_sessions"] = options.pop("open")
    decided = expected_connection(configuration, port, parse(client), now=NOW, **options)
    assert decided.outcome == outcome, decided.reason
    assert reason in decided.reason


@pytest.mark.parametrize(("configuration", "row"), rows("deliveries"))
def test_delivery(configuration: Configuration, row: list[Any]) -> None:
    client, sender, recipient, authenticated, code = row
    decided = expected_delivery(configuration, "door", parse(client), sender, recipient, authenticated, NOW)
    found = "undefined" if decided.outcome == "undefined" else decided.code or decided.stage
    assert found == code, decided.reason
    assert (decided.outcome == "accepted") == (code == "250")


@pytest.mark.parametrize(("configuration", "row"), rows("logins"))
def test_login(configuration: Configuration, row: list[Any]) -> None:
    client, user, password, tls, outcome, stage = row
    decided = expected_login(configuration, "door", parse(client), user, password, NOW, tls=tls)
    assert (decided.outcome, decided.stage) == (outcome, stage), decided.reason


@pytest.mark.parametrize(("configuration", "row"), rows("listeners"))
def test_listener(configuration: Configuration, row: list[Any]) -> None:
    port, state = row
    assert expected_listener(configuration, port).state == state


def test_there_are_enough_and_no_group_is_written_in_vain() -> None:
    kinds = ("connections", "deliveries", "logins", "listeners")
    assert sum(len(rows(kind)) for kind in kinds) >= 200
    for group in GROUPS:
        assert set(group) - {"group", "configuration"} <= set(kinds)
        assert any(kind in group for kind in kinds)
    assert len({group["group"] for group in GROUPS}) == len(GROUPS)
