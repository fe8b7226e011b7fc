"""The step ``server``: restart, reinitialize, kill."""

from __future__ import annotations

from conformance.run.context import Context
from conformance.scenario import model


def server(context: Context, step: model.ServerStep) -> None:
    """Do it; kept sessions end with the services that served them."""
    context.transcript.action(f"server: {step.server}")
    if step.server == "kill":
        context.adapter.kill()
        context.alive = False
    elif step.server == "reinitialize":
        context.server_runs(context.adapter.reinitialize(), reopened=True)
    else:
        context.server_runs(context.adapter.restart(), reopened=True)
        context.os_changed = False
    context.close_sessions()
