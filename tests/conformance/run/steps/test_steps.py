"""The dispatch of steps."""

from __future__ import annotations

from typing import get_args

import pytest

from conformance.errors import HarnessBug
from conformance.run import steps
from conformance.scenario import model


def test_somebody_does_each_step_that_a_scenario_can_have() -> None:
    assert set(steps._STEPS) == set(get_args(model.AnyStep)) == set(model.STEP_TYPES.values())


def test_a_step_is_called_as_in_the_file() -> None:
    assert steps.action_of(model.ServerStep(server="kill")) == "server"


def test_a_step_that_nobody_does_is_our_bug() -> None:
    with pytest.raises(HarnessBug):
        steps.perform(None, model.Step())  # type: ignore[arg-type]
    with pytest.raises(HarnessBug):
        steps.action_of(model.Step())  # type: ignore[arg-type]
