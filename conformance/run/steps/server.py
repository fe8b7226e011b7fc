"""The step ``server``: restart, reinitialize, kill."""

from __future__ import annotations

from conformance.adapters.base import Advance
from conformance.run.context import Context
from conformance.scenario import model


def server(context: Context, step: model.ServerStep) -> None:
    """Do it; kept sessions end with the services that served them."""
    context.transcript.action(f"server: {step.server}")
    if step.server == "kill":
        context.adapter.kill()
        context.alive = False
        context.kills += 1
    elif step.server == "reinitialize":
        context.server_runs(context.adapter.reinitialize(), reopened=True)
    else:
        context.server_runs(context.adapter.restart(), reopened=True)
        context.os_changed = False
        if context.clock_ahead:
            # The clock of a new process is the system's: as far ahead as that of the old one was.
            context.adapter.advance(Advance(seconds=context.clock_ahead.total_seconds()))
    context.close_sessions()
