"""A right password is cheap afterwards; a wrong one costs the same, whoever is asked for."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from reference_server.storage.passwords import Passwords


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that were really checked."""
    seen: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, stored: str, password: str) -> bool:
        seen.append(stored)
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    return seen


async def test_a_right_password_is_checked_once(checks: list[str]) -> None:
    passwords = Passwords(cheap=True)
    stored = await passwords.hash("päss")
    assert stored.startswith("$argon2id$")
    assert [await passwords.verify(stored, "päss") for _ in range(5)] == [True] * 5
    assert checks == [stored]


async def test_a_wrong_password_is_checked_each_time_and_never_remembered(checks: list[str]) -> None:
    passwords = Passwords(cheap=True)
    stored = await passwords.hash("right")
    assert await passwords.verify(stored, "right")
    checks.clear()
    assert [await passwords.verify(stored, "wrong") for _ in range(3)] == [False] * 3
    assert len(checks) == 3
    assert await passwords.verify(stored, "right")
    assert len(checks) == 3


async def test_an_unknown_name_costs_one_check_of_the_same_kind(checks: list[str]) -> None:
    for cheap in (True, False):
        checks.clear()
        passwords = Passwords(cheap=cheap)
        real = await passwords.hash("x")
        assert not await passwords.verify(None, "x")
        (checked,) = checks
        # Algorithm, version and cost are the same, and the parts as long: only salt and digest differ.
        assert checked.split("$")[:4] == real.split("$")[:4]
        assert [len(part) for part in checked.split("$")] == [len(part) for part in real.split("$")]
        assert checked != real


async def test_what_is_remembered_holds_for_that_hash_alone(checks: list[str]) -> None:
    passwords = Passwords(cheap=True)
    old, new = await passwords.hash("old"), await passwords.hash("new")
    assert await passwords.verify(old, "old")
    assert not await passwords.verify(new, "old")
    same = await passwords.hash("old")
    checks.clear()
    assert await passwords.verify(same, "old")
    assert checks == [same]


async def test_forgotten_means_checked_again(checks: list[str]) -> None:
    passwords = Passwords(cheap=True)
    stored = await passwords.hash("x")
    assert await passwords.verify(stored, "x")
    passwords.forget(stored)
    passwords.forget(stored)
    assert await passwords.verify(stored, "x")
    assert len(checks) == 2


async def test_odd_passwords_are_wrong_and_not_an_error() -> None:
    passwords = Passwords(cheap=True)
    stored = await passwords.hash("x")
    for odd in ("", "\0", "\ud800", "x" * 100_000, "x\0"):
        assert not await passwords.verify(stored, odd)
    assert not await passwords.verify("no hash at all", "x")


def test_the_password_is_nowhere_in_memory() -> None:
    """Not in what is remembered: it is a digest under a key of this process."""
    import asyncio

    async def remember() -> Passwords:
        passwords = Passwords(cheap=True)
        assert await passwords.verify(await passwords.hash("very-secret"), "very-secret")
        return passwords

    one, two = asyncio.run(remember()), asyncio.run(remember())
    assert "very-secret" not in repr(vars(one))
    assert not set(one._verified.values()) & set(two._verified.values())


async def test_two_who_have_the_same_password_do_not_look_alike() -> None:
    passwords = Passwords(cheap=True)
    for _ in range(2):
        assert await passwords.verify(await passwords.hash("same"), "same")
    assert len(set(passwords._verified.values())) == 2
