from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from itertools import product

import pytest

from reference_server.delivery.router import Accept, Envelope, Reject, decide
from reference_server.settings import IpRange

NOTHING = IpRange(
    id=1,
    name="x",
    priority=1,
    lower=ip_address("::"),
    upper=ip_address("::"),
    deliver_local_to_local=False,
    deliver_local_to_remote=False,
    deliver_remote_to_local=False,
    deliver_remote_to_remote=False,
    require_auth_local_to_local=False,
    require_auth_local_to_remote=False,
    require_auth_remote_to_local=False,
    require_auth_remote_to_remote=False,
)
SIDES = ("local", "remote")
DIRECTIONS = list(product(SIDES, SIDES))


def envelope(sender: str, recipient: str, *, authenticated: bool = False, known: bool = True) -> Envelope:
    return Envelope(sender == "local", recipient == "local", known, authenticated)


@pytest.mark.parametrize(("sender", "recipient"), DIRECTIONS)
def test_each_direction_has_its_own_permission(sender: str, recipient: str) -> None:
    allowed = replace(NOTHING, **{f"deliver_{sender}_to_{recipient}": True})
    for other in DIRECTIONS:
        decision = decide(allowed, envelope(*other))
        if other == (sender, recipient):
            assert decision == Accept(local=recipient == "local")
        else:
            assert isinstance(decision, Reject)
            assert decision.code == 550
            assert f"from {other[0]} sender to {other[1]} recipient" in decision.text


@pytest.mark.parametrize(("sender", "recipient"), DIRECTIONS)
def test_each_direction_has_its_own_authentication(sender: str, recipient: str) -> None:
    everything = replace(NOTHING, **{f"deliver_{a}_to_{b}": True for a, b in DIRECTIONS})
    wanting = replace(everything, **{f"require_auth_{sender}_to_{recipient}": True})
    for other in DIRECTIONS:
        decision = decide(wanting, envelope(*other))
        if other == (sender, recipient):
            assert decision == Reject(530, "5.7.0 Authentication required")
        else:
            assert decision == Accept(local=other[1] == "local")
        assert decide(wanting, envelope(*other, authenticated=True)) == Accept(local=other[1] == "local")


def test_a_direction_that_is_not_allowed_stays_so_with_authentication() -> None:
    decision = decide(replace(NOTHING, require_auth_local_to_local=True), envelope("local", "local"))
    assert isinstance(decision, Reject)
    assert decision.code == 550
    assert decide(NOTHING, envelope("local", "local", authenticated=True)) == decision


def test_an_unknown_user_is_named_after_the_permissions() -> None:
    allowed = replace(NOTHING, deliver_remote_to_local=True)
    unknown = decide(allowed, envelope("remote", "local", known=False))
    assert isinstance(unknown, Reject)
    assert unknown.reply.startswith("550 5.1.1 ")
    wanting = replace(allowed, require_auth_remote_to_local=True)
    # Who is here is told to nobody who may not send.
    assert decide(wanting, envelope("remote", "local", known=False)) == Reject(
        530, "5.7.0 Authentication required"
    )
    assert isinstance(decide(NOTHING, envelope("remote", "local", known=False)), Reject)


def test_a_remote_recipient_need_not_be_known() -> None:
    allowed = replace(NOTHING, deliver_remote_to_remote=True)
    assert decide(allowed, envelope("remote", "remote", known=False)) == Accept(local=False)
