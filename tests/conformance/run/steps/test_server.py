"""The step ``server``."""

from __future__ import annotations

import pytest

SERVED = "- {connect: {to: door}, expect: served}"


@pytest.mark.parametrize("action", ["restart", "reinitialize"])
def test_the_server_comes_back(stage, action) -> None:
    record = stage.run(f"{SERVED}\n- {{server: {action}}}\n{SERVED}")
    assert record.verdict == "pass"
    assert stage.adapter.calls == ["hello", "start", action]
    assert len(stage.adapter.past) == 1


def test_after_a_kill_a_restart_brings_it_back(stage) -> None:
    steps = (
        f"{SERVED}\n- {{server: kill}}\n- {{connect: {{to: door}}, expect: oracle}}\n"
        f"- {{server: restart}}\n{SERVED}"
    )
    record = stage.run(steps)
    assert record.verdict == "pass", record.reason
    assert [one.expected for one in record.judgements] == ["served", "refused", "served"]


@pytest.mark.parametrize("action", ["restart", "reinitialize", "kill"])
def test_kept_sessions_end_with_the_services(stage, action) -> None:
    record = stage.run(
        f"""
        - {{connect: {{to: door, as: one}}, expect: served}}
        - {{server: {action}}}
        - {{disconnect: {{session: one}}}}
        """
    )
    assert record.verdict == "pass"
    assert "the session one was never opened" in stage.said(record)
