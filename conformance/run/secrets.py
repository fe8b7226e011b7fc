"""Passwords never appear in a report: what is secret in a scenario, and a record without it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from conformance.clients.record import HIDDEN, credentials
from conformance.scenario import model
from conformance.scenario.needs_outgoing import behaviours_of, relays_of
from conformance.verdict.model import CaseRecord

SHORT = 4
"""Characters; a shorter secret is hidden where it stands alone, or every text would be full of holes."""
_SECRET_KEY = re.compile("password|passwd|secret|token|credential", re.IGNORECASE)
_UNTOUCHED = frozenset({"type", "id", "scenario", "requirements", "verdict", "fault"})


def is_secret(key: str) -> bool:
    """Say whether the value of a setting or a field with this name is not to be shown."""
    return _SECRET_KEY.search(key) is not None


def secret_values(settings: Mapping[str, object]) -> tuple[str, ...]:
    """Return the values of the secret ones among ``settings``."""
    return tuple(str(value) for key, value in settings.items() if is_secret(key) and str(value))


def passwords(scenario: model.Scenario) -> tuple[str, ...]:
    """Return every text in which a password of ``scenario`` can appear, the longest first."""
    found = {text for user, password in _logins(scenario) for text in credentials(user, password)}
    for step in (*scenario.steps, *scenario.finally_):
        if isinstance(step, model.AdminStep):
            found.update(secret_values(step.admin.values))
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def _logins(scenario: model.Scenario) -> Iterator[tuple[str, str]]:
    if isinstance(scenario.server, model.Server):
        yield from ((account.address, account.password) for account in scenario.server.accounts)
    for relay in relays_of(scenario):
        if relay.login is not None:
            yield relay.login.user, relay.login.password
    for behaviour in behaviours_of(scenario):
        if behaviour.login is not None:
            yield behaviour.login.user, behaviour.login.password
    for step in (*scenario.steps, *scenario.finally_):
        match step:
            case model.LoginStep(login=login):
                yield login.user, login.password
            case model.FetchStep(fetch=fetch):
                yield fetch.user, fetch.password
            case model.SendStep(send=model.Send(login=model.Credentials() as login)):
                yield login.user, login.password
            case _:
                pass


def redacted(record: CaseRecord, secrets: Iterable[str]) -> CaseRecord:
    """Return ``record`` with every secret hidden, in whatever text it stands."""
    patterns = [
        re.escape(secret) if len(secret) >= SHORT else rf"(?<!\w){re.escape(secret)}(?!\w)"
        for secret in secrets
        if secret
    ]
    if not patterns:
        return record
    pattern = re.compile("|".join(patterns))
    values = {
        name: value if name in _UNTOUCHED else _hidden(pattern, value)
        for name, value in record.model_dump(mode="json").items()
    }
    return CaseRecord.model_validate(values)


def _hidden(pattern: re.Pattern[str], value: Any) -> Any:
    if isinstance(value, str):
        return pattern.sub(HIDDEN, value)
    if isinstance(value, list):
        return [_hidden(pattern, one) for one in value]
    if isinstance(value, dict):
        return {
            key: one if key in ("kind", "verdict", "requirement", "step") else _hidden(pattern, one)
            for key, one in value.items()
        }
    return value
