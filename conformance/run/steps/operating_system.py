"""The step ``os``: what happens to the operating system while the server runs."""

from __future__ import annotations

from conformance.addresses import parse_interface
from conformance.run.context import Context
from conformance.scenario import model


def os(context: Context, step: model.OsStep) -> None:
    """Do it, in the network that is the case's own. What the server makes of it is judged by other steps."""
    action = step.os
    words = ", ".join(f"{name} {value}" for name, value in action.model_dump(exclude_none=True).items())
    context.transcript.action(f"os: {words}")
    if action.ipv6 is not None:
        context.world.switch_ipv6(on=action.ipv6 == "enabled")
        context.os_changed = True
    if action.bindv6only is not None:
        context.world.set_bindv6only(on=action.bindv6only)
    if action.remove_address is not None:
        context.world.remove_address(action.link, parse_interface(action.remove_address))
    if action.add_address is not None:
        context.world.add_address(action.link, parse_interface(action.add_address))
