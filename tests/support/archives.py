"""Archived sessions: making them, dying at it, and restoring them."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.sessions.sessions import SessionView
from tests.support.crashing import Killed
from tests.support.factories import Shop
from tests.support.settling import settle

ALL = "SELECT * FROM bids ORDER BY sequence"
RANKINGS = "SELECT rank, user_id, sequence, price, score FROM rankings ORDER BY rank"
BIDS = 7
Rows = list[tuple[Any, ...]]


def settled(shop: Shop, **terms: Any) -> SessionView:
    """A closed session with seven bids by six members, of which nothing is left to do."""
    session, bidders = shop.session(**terms), [shop.bidder() for _ in range(BIDS - 1)]
    for number, bidder in enumerate([*bidders, bidders[0]]):
        shop.bid(bidder, session, f"{120 + number}.37")
    shop.close(session)
    settle(shop, session)
    return session


def execute(shop: Shop, *statements: str, **parameters: Any) -> None:
    with shop.services.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), parameters)


def recorded(shop: Shop) -> list[Path]:
    return [Path(file) for (file,) in shop.rows("SELECT file FROM archives")]


def restore(shop: Shop) -> Rows:
    """The bids after what docs/how-to/backup.md says."""
    [path] = recorded(shop)
    connection: Any = shop.services.engine.raw_connection()
    with path.open() as file:
        connection.cursor().copy_expert("COPY bids FROM STDIN WITH (FORMAT csv, HEADER)", file)
    connection.commit()
    connection.close()
    execute(shop, "DELETE FROM archives")
    return shop.rows(ALL)


def known_sequences(shop: Shop) -> set[int]:
    """Those in the table, and those in a file that counts."""
    known = {row[0] for row in shop.rows("SELECT sequence FROM bids")}
    for path in recorded(shop):
        with path.open(newline="") as file:
            known |= {int(row["sequence"]) for row in csv.DictReader(file)}
    return known


def wrong(shop: Shop, session: SessionView) -> list[str]:
    checks = shop.services.audit.verify(session.session_id)
    return [line for check in checks for line in check.shown]


def archive_and_die(
    shop: Shop, session: SessionView, folder: Path, owner: Any, step: str, number: int = 1
) -> None:
    """The process ends when it makes this step for the `number`th time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, dies_at(getattr(owner, step), number))
        with pytest.raises(Killed):
            shop.services.archiving.archive(session.session_id, folder)


def dies_at(call: Callable[..., Any], number: int) -> Callable[..., Any]:
    numbers = iter(range(1, number))

    def wrapped(*args: Any, **named: Any) -> Any:
        if next(numbers, None) is None:
            raise Killed
        return call(*args, **named)

    return wrapped
