"""What each kind of step does: one module per kind, each function takes the context and its step.

`perform` dispatches. A step that judges calls `Context.judge` with a finding for each expectation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conformance.errors import HarnessBug
from conformance.run.context import Context
from conformance.run.steps import (
    administration,
    connections,
    mail,
    observation,
    operating_system,
    outgoing,
    packets,
    relayed,
    server,
    sweep,
)
from conformance.scenario import model

_STEPS: dict[type[model.Step], Callable[[Context, Any], None]] = {
    model.ConnectStep: connections.connect,
    model.TalkStep: connections.talk,
    model.DisconnectStep: connections.disconnect,
    model.LoginStep: mail.login,
    model.SendStep: mail.send,
    model.FetchStep: mail.fetch,
    model.AdminStep: administration.admin,
    model.ChangeStep: administration.change,
    model.ServerStep: server.server,
    model.ListeningStep: observation.listening,
    model.StatusStep: observation.status,
    model.DescriptorsStep: observation.descriptors,
    model.SocketsStep: observation.sockets,
    model.OsStep: operating_system.os,
    model.SweepStep: sweep.sweep,
    model.PacketsStep: packets.packets,
    model.RelayedStep: relayed.relayed,
    model.SmartHostStep: outgoing.smart_host,
    model.DnsStep: outgoing.dns,
    model.ClockStep: outgoing.clock,
    model.QueueStep: outgoing.queue,
}


def perform(context: Context, step: model.AnyStep) -> None:
    """Do one step."""
    do = _STEPS.get(type(step))
    if do is None:
        raise HarnessBug(f"nobody does the step {type(step).__name__}")
    do(context, step)


def action_of(step: model.AnyStep) -> str:
    """Return the step's key, as it stands in the file: ``connect``, ``admin``, …"""
    for name, kind in model.STEP_TYPES.items():
        if isinstance(step, kind):
            return name
    raise HarnessBug(f"the step {type(step).__name__} has no key")
