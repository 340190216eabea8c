"""Password hashes behind a narrow gate.

A hash is the most expensive work of the service in memory and time, and anybody may ask for
one. So few are computed at once, and a caller that would wait too long is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import BoundedSemaphore

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError

from core import errors

log = structlog.get_logger(__name__)

# In one process: each takes a core, and its memory.
HASHES_AT_ONCE = 1
# OWASP's profile with the least memory, 19 MiB.
DEFAULT_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class Passwords:
    """Hashes and verifies passwords. Every method that hashes raises ServiceBusy."""

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        at_once: int = HASHES_AT_ONCE,
        max_wait_seconds: float = float("inf"),
    ) -> None:
        self.hasher = hasher or DEFAULT_HASHER
        self._gate = BoundedSemaphore(at_once)
        self._max_wait_seconds = None if max_wait_seconds == float("inf") else max_wait_seconds
        # Computed here, so that the first unknown name takes no longer than the next.
        self._hash_of_nobody = _hash_of_nobody(self.hasher)

    def hash(self, password: str) -> str:
        """A new hash, with the current parameters."""
        with self._pass_gate():
            return self.hasher.hash(password)

    def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the hash is this password's. None, an unknown name, costs the same."""
        with self._pass_gate():
            if password_hash is not None:
                try:
                    return self.hasher.verify(password_hash, password)
                except VerifyMismatchError:
                    return False
                except (VerificationError, ValueError):
                    # Not argon2's, or damaged: as from another system. No password matches.
                    log.warning("password_hash_unreadable")
            self._verify_nobody(password)
            return False

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash that matched has other parameters than new ones."""
        return self.hasher.check_needs_rehash(password_hash)

    def _verify_nobody(self, password: str) -> None:
        with suppress(VerifyMismatchError):
            self.hasher.verify(self._hash_of_nobody, password)

    @contextmanager
    def _pass_gate(self) -> Iterator[None]:
        if not self._gate.acquire(timeout=self._max_wait_seconds):
            raise errors.ServiceBusy
        try:
            yield
        finally:
            self._gate.release()


@cache
def _hash_of_nobody(hasher: PasswordHasher) -> str:
    return hasher.hash("dummy password")
