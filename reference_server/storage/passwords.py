"""Passwords: stored as Argon2 hashes, and remembered as keyed digests once they were right.

A hash takes some 100 ms to check, on purpose. HTTP Basic sends the password with every request, and mail
clients log in every few minutes: a password that was right is remembered, in memory only, as a digest
under a key of this process, and holds for that very hash alone. A wrong password always costs a full
check, for an unknown name too: the time says nothing about which names exist.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE = 2
"""Checks at one time: each takes 64 MiB and a core; a flood of log-ins must not take all there is."""


class Passwords:
    """Hashes and checks passwords. ``cheap`` is for tests: hashes that protect nothing, in no time."""

    def __init__(self, *, cheap: bool = False) -> None:
        self._hasher = (
            PasswordHasher(time_cost=1, memory_cost=8, parallelism=1) if cheap else PasswordHasher()
        )
        self._unknown = _hash_of_nothing(self._hasher)
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, bytes] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return the text to store for ``password``."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Say whether ``password`` is the one of the ``stored`` hash; None, for an unknown name, never is."""
        digest = self._digest(stored, password)
        if stored is not None and hmac.compare_digest(self._verified.get(stored, b""), digest):
            return True
        async with self._turns:
            right = await asyncio.to_thread(self._check, stored or self._unknown, password)
        if stored is None or not right:
            return False
        self._verified[stored] = digest
        return True

    def forget(self, stored: str) -> None:
        """Drop what is remembered of a hash that is no longer in use."""
        self._verified.pop(stored, None)

    def _digest(self, stored: str | None, password: str) -> bytes:
        words = f"{stored}\0{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(words, key=self._key).digest()

    def _check(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False


def _hash_of_nothing(hasher: PasswordHasher) -> str:
    """Return a hash that no password has, as costly to check as ``hasher``'s own."""

    def random(octets: int) -> str:
        return base64.b64encode(secrets.token_bytes(octets)).decode().rstrip("=")

    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${cost}${random(hasher.salt_len)}${random(hasher.hash_len)}"
