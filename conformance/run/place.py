"""Where the cases of one process run: cases that need the same network follow each other in it.

Building a network is quick, starting a server in it is not: as long as the network stays, the server does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.network import world
from conformance.network.plan import SHARED, NetworkPlan
from conformance.network.world import World

if TYPE_CHECKING:
    from conformance.packets.wire import Wire


class Place:
    """The network that this thread is in; at first the one that this process has entered."""

    def __init__(self, leaving: Callable[[], object]) -> None:
        """``leaving`` ends what runs in a network, before that ends."""
        self._leaving = leaving
        self._stack = ExitStack()
        self._plan = SHARED
        self.world = World(SHARED)
        self.wire: Wire | None = None
        """What crafted packets go over, where there is one."""

    @contextlib.contextmanager
    def visit(self, plan: NetworkPlan) -> Iterator[None]:
        """Be where a case wants to be. Raises MachineError where that cannot be built."""
        common = replace(plan, addresses=())
        if common != self._plan or plan.alone:
            self._leaving()  # the network of this process, too: the next server starts in another
            self.leave()
            self._enter(common)
        added = []
        try:
            for address in plan.addresses:
                self.world.add_address(None, address)
                added.append(address)
            yield
        except BaseException:
            self.leave()
            raise
        if plan.alone:
            self.leave()
        else:
            for address in added:
                self.world.remove_address(None, address)

    def _enter(self, plan: NetworkPlan) -> None:
        if not plan.own:
            return
        try:
            self.world = self._stack.enter_context(world.of(plan))
            self._plan = plan
            if plan.wire:
                from conformance.packets.wire import open_wire

                self.wire = self._stack.enter_context(open_wire())
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Go back to the network of this process. Idempotent."""
        if self._plan != SHARED:
            self._leaving()
        self._plan, self.world, self.wire = SHARED, World(SHARED), None
        self._stack.close()
