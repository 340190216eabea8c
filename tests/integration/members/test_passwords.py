"""The gate of password hashes: few at once, none waits long, and all refusals cost the same."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type, hash_secret
from sqlalchemy import text

from core import errors
from core.members.accounts import Accounts
from core.members.passwords import DEFAULT_HASHER, HASHES_AT_ONCE, Passwords
from tests.support.factories import PASSWORD, Shop

TIMEOUT_SECONDS = 20
CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
BCRYPT = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"
NO_HASHES = [
    BCRYPT,
    "",
    "!",
    "plain text",
    "Straße",
    "$argon2id$",
    "$argon2id$v=19$m=8,t=1,p=1$short",
    "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21l$",
    "pbkdf2:sha256:600000$salt$00ff",
    "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
]


class CountingHasher(PasswordHasher):
    """A real hasher that notes how many work at once, and waits where it is told to."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**{**CHEAP, **parameters})
        self.verified = self.most_at_once = self._at_once = 0
        self.may_go_on = Event()
        self.may_go_on.set()
        self._lock = Lock()

    def verify(self, *args: Any, **kwargs: Any) -> bool:
        with self._lock:
            self.verified += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            assert self.may_go_on.wait(TIMEOUT_SECONDS)
            return super().verify(*args, **kwargs)
        finally:
            with self._lock:
                self._at_once -= 1


@pytest.fixture
def hasher() -> Iterator[CountingHasher]:
    hasher = CountingHasher()
    yield hasher
    hasher.may_go_on.set()


def waits(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_hashes_pass_one_at_a_time_however_many_ask(hasher: CountingHasher) -> None:
    passwords = Passwords(hasher)
    with ThreadPoolExecutor(32) as pool:
        assert not any(pool.map(lambda n: passwords.matches(None, f"{n}"), range(200)))
    assert hasher.verified == 200
    assert hasher.most_at_once <= HASHES_AT_ONCE == 1


def test_without_the_gate_they_would_work_at_once(hasher: CountingHasher) -> None:
    """The control."""
    passwords = Passwords(hasher, at_once=32)
    hasher.may_go_on.clear()
    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(passwords.matches, None, "x") for _ in range(32)]
        waits(lambda: hasher.most_at_once == 32)
        hasher.may_go_on.set()
        assert not any(answer.result() for answer in asked)


def test_who_would_wait_too_long_is_refused_and_may_come_again(hasher: CountingHasher) -> None:
    passwords = Passwords(hasher, max_wait_seconds=0.01)
    hasher.may_go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(passwords.matches, None, "x")
        waits(lambda: hasher.verified == 1)
        for ask in (lambda: passwords.matches(None, "x"), lambda: passwords.hash("x")):
            with pytest.raises(errors.ServiceBusy) as refused:
                ask()
            assert refused.value.retry_after_seconds
        hasher.may_go_on.set()
        assert first.result() is False
    assert Passwords(hasher).matches(passwords.hash("x"), "x")


def test_the_gate_opens_again_after_an_error(hasher: CountingHasher) -> None:
    passwords = Passwords(hasher, max_wait_seconds=0.01)
    for _ in range(3):
        with pytest.raises(AttributeError):
            passwords.hash(7)  # type: ignore[arg-type]
    assert passwords.hash("x")


@pytest.mark.parametrize("stored", NO_HASHES)
def test_a_hash_of_another_kind_opens_no_account_and_costs_one(
    hasher: CountingHasher, stored: str
) -> None:
    before = hasher.verified
    assert Passwords(hasher).matches(stored, PASSWORD) is False
    # The unreadable one costs nothing, so the one of nobody is verified as well.
    assert hasher.verified - before == 2


def test_an_unknown_name_costs_one_hash_like_a_known_one(hasher: CountingHasher) -> None:
    passwords = Passwords(hasher)
    known = passwords.hash("right")
    for stored in (None, known):
        before = hasher.verified
        assert passwords.matches(stored, "wrong") is False
        assert hasher.verified - before == 1


@pytest.mark.parametrize("kind", [Type.I, Type.D, Type.ID])
def test_older_kinds_of_argon2_match_and_are_outdated(kind: Type) -> None:
    stored = hash_secret(b"right", b"somesalt", 1, 64, 1, 16, kind).decode()
    passwords = Passwords(PasswordHasher(**CHEAP))
    assert passwords.matches(stored, "right")
    assert not passwords.matches(stored, "wrong")
    assert passwords.is_outdated(stored)


def test_new_hashes_have_owasp_s_smallest_memory() -> None:
    hasher = DEFAULT_HASHER
    assert (hasher.memory_cost, hasher.time_cost, hasher.parallelism) == (19_456, 2, 1)
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in Passwords().hash("x")


def test_a_hash_of_the_former_profile_is_renewed_at_login(shop: Shop) -> None:
    account = shop.account("ann")
    former = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4).hash(PASSWORD)
    set_hash(shop, former)
    services = shop.services
    accounts = Accounts(services.database, services.redis, first_account_is_admin=True)
    assert accounts.authenticate("ann", PASSWORD).user_id == account.user_id
    [(stored,)] = shop.rows("SELECT password_hash FROM users")
    assert "m=19456,t=2,p=1" in stored
    assert accounts.authenticate("ann", PASSWORD).user_id == account.user_id


@pytest.mark.parametrize("stored", NO_HASHES)
def test_an_account_with_a_hash_of_another_kind_is_refused_like_a_wrong_password(
    shop: Shop, stored: str
) -> None:
    shop.account("ann")
    set_hash(shop, stored)
    with pytest.raises(errors.InvalidCredentials):
        shop.services.accounts.authenticate("ann", PASSWORD)
    assert shop.rows("SELECT password_hash FROM users") == [(stored,)]


def set_hash(shop: Shop, stored: str) -> None:
    with shop.services.engine.begin() as connection:
        connection.execute(text("UPDATE users SET password_hash = :hash"), {"hash": stored})
