"""Racing registrations: one admin, one owner of a name."""

from threading import Barrier

import pytest
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from core import errors
from core.members import accounts
from core.members.accounts import Account
from core.postgres.models import User
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS, of, together


def is_first_as_both_see_it(barrier: Barrier, db: Session) -> bool:
    """Look, and wait until the other has looked too."""
    anybody = db.scalar(select(exists().select_from(User)))
    barrier.wait(BARRIER_SECONDS)
    return not anybody


@pytest.mark.parametrize("racers", [2, 8])
def test_racing_first_registrations_give_one_admin(shop: Shop, racers: int) -> None:
    registered = together(*[shop.account] * racers)
    assert sorted(account.is_admin for account in registered) == [False] * (racers - 1) + [True]


def test_without_the_lock_two_first_registrations_give_two_admins(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier = Barrier(2)
    monkeypatch.setattr(
        accounts, "_is_first_account", lambda db: is_first_as_both_see_it(barrier, db)
    )
    registered = together(shop.account, shop.account)
    assert [account.is_admin for account in registered] == [True, True]


def test_of_racing_registrations_one_gets_the_name(shop: Shop) -> None:
    outcomes = together(*[lambda name=name: shop.account(name) for name in ("ann", "ANN") * 4])
    assert len(of(Account, outcomes)) == 1
    assert len(of(errors.UsernameTaken, outcomes)) == 7
