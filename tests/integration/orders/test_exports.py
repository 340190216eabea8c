"""Exports: what is in them, and what comes of jobs that run twice, die or find no space."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg2.errors
import pytest

from core import errors
from core.orders import export_files, export_rows, exports
from core.orders.exports import ExportState, FileFormat, Kind
from core.sessions.sessions import SessionView
from tests.integration.orders.test_export_files import file_size_limit
from tests.support.crashing import Killed
from tests.support.factories import Shop
from tests.support.racing import table_locked, together

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}


@pytest.fixture
def sale(shop: Shop) -> SessionView:
    """A closed session: cid, then bob, then ada, who has bid twice; the first two have offers."""
    session = shop.session(inventory=1, **BY_PRICE)
    ada, bob, cid = (shop.bidder(name) for name in ("ada", "bob", "cid"))
    for bidder, price in ((ada, "100"), (bob, "200.1"), (cid, "300"), (ada, "150")):
        shop.bid(bidder, session, price)
    shop.close(session)
    execute(shop, "DELETE FROM offers")
    execute(shop, "UPDATE rankings SET price_to_pay = CASE rank WHEN 3 THEN NULL ELSE 99.9 END")
    execute(
        shop,
        "INSERT INTO offers (id, session_id, user_id, rank, place, state, expires_at, settled_at)"
        " SELECT gen_random_uuid(), session_id, user_id, rank, 1,"
        "        CASE rank WHEN 1 THEN 'declined' ELSE 'open' END, '2030-01-31 19:00+01',"
        "        CASE rank WHEN 1 THEN '2030-01-31 18:00+01'::timestamptz END"
        "   FROM rankings WHERE rank <= 2",
    )
    return session


def execute(shop: Shop, statement: str, **values: Any) -> None:
    with shop.services.engine.begin() as connection:
        connection.exec_driver_sql(statement, values)


def request(shop: Shop, session: SessionView, kind: Kind = Kind.BIDS) -> UUID:
    asked = shop.services.exports.request(
        session.session_id, kind, FileFormat.CSV, requested_by=uuid4()
    )
    assert (asked.state, asked.row_count) == (ExportState.WAITING, None)
    return asked.export_id


def made(shop: Shop, session: SessionView, kind: Kind) -> list[dict[str, str]]:
    export_id = request(shop, session, kind)
    shop.services.exports.make(export_id)
    view, path = shop.services.exports.file(export_id)
    rows = read(path)
    assert (view.state, view.row_count) == (ExportState.DONE, len(rows))
    return rows


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def columns(rows: list[dict[str, str]], *names: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


# --- What is in them


def test_results_have_every_rank(shop: Shop, sale: SessionView) -> None:
    rows = made(shop, sale, Kind.RESULTS)
    assert columns(rows, "rank", "username", "price", "is_winner", "price_to_pay") == [
        ("1", "cid", "300.00", "true", "99.90"),
        ("2", "bob", "200.10", "false", "99.90"),
        ("3", "ada", "150.00", "false", ""),
    ]
    assert list(rows[0])[-3:] == ["sequence", "response_time", "weight"]


def test_bids_have_every_bid_with_the_score_as_it_was_computed(
    shop: Shop, sale: SessionView
) -> None:
    rows = made(shop, sale, Kind.BIDS)
    assert columns(rows, "sequence", "username", "price") == [
        ("1", "ada", "100.00"),
        ("2", "bob", "200.10"),
        ("3", "cid", "300.00"),
        ("4", "ada", "150.00"),
    ]
    stored = shop.rows("SELECT score, response_time, weight FROM bids ORDER BY sequence")
    numbers = [(row["score"], row["response_time"], row["weight"]) for row in rows]
    assert [tuple(map(float, each)) for each in numbers] == stored
    assert all(row["accepted_at"].endswith("+00:00") for row in rows)


def test_offers_have_the_address_and_the_price_to_pay(shop: Shop, sale: SessionView) -> None:
    rows = made(shop, sale, Kind.OFFERS)
    names = ("rank", "place", "username", "state", "price_to_pay", "expires_at", "settled_at")
    expiry, settled = "2030-01-31T18:00:00.000000+00:00", "2030-01-31T17:00:00.000000+00:00"
    assert columns(rows, *names) == [
        ("1", "1", "cid", "declined", "99.90", expiry, settled),
        ("2", "1", "bob", "open", "99.90", expiry, ""),
    ]
    assert all("@example.com" in row["email"] for row in rows)


@pytest.mark.parametrize("kind", Kind)
def test_an_erased_members_rows_stay(shop: Shop, sale: SessionView, kind: Kind) -> None:
    before = made(shop, sale, kind)
    shop.services.erasure.erase(shop.services.erasure.find("bob"))
    after = made(shop, sale, kind)
    [erased] = [row for row in after if row["username"] == "deleted member"]
    assert erased.get("email", "") == ""
    assert columns(before, "user_id") == columns(after, "user_id")


def test_ndjson_has_the_same_rows(shop: Shop, sale: SessionView, tmp_path: Path) -> None:
    path = tmp_path / "results"
    write = shop.services.exports.write
    assert write(sale.session_id, Kind.RESULTS, FileFormat.NDJSON, path).rows == 3
    assert [json.loads(line)["username"] for line in path.read_text().splitlines()] == [
        "cid",
        "bob",
        "ada",
    ]


@pytest.mark.parametrize("part_bids", [1, 2, 3, 4, 5])
def test_parts_of_bids_are_the_picture_of_one_moment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part_bids: int
) -> None:
    monkeypatch.setattr(export_rows, "PART_BIDS", part_bids)
    session, bidder = shop.session(), shop.bidder()
    for price in range(101, 105):
        shop.bid(bidder, session, str(price))
    shop.drain(session)

    def parts() -> Iterator[Any]:
        for part in export_rows.parts(shop.services.database, session.session_id, Kind.BIDS):
            yield part
            shop.bid(bidder, session, str(200 + len(shop.rows("SELECT 1 FROM bids"))))
            shop.drain(session)

    path = tmp_path / "bids.csv"
    assert export_files.write(shop.services.engine, parts(), path, FileFormat.CSV).rows == 4
    rows = read(path)
    assert [row["sequence"] for row in rows] == ["1", "2", "3", "4"]


def test_results_and_offers_of_a_running_session_are_refused_and_bids_are_not(shop: Shop) -> None:
    session = shop.session()
    for kind in (Kind.RESULTS, Kind.OFFERS):
        with pytest.raises(errors.SessionNotEnded):
            request(shop, session, kind)
    assert made(shop, session, Kind.BIDS) == []
    shop.end(session)
    with pytest.raises(errors.ResultsPending):
        request(shop, session, Kind.RESULTS)


def test_few_results_are_written_at_once(
    shop: Shop, sale: SessionView, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shop.services.exports.results_csv(sale.session_id).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert columns(rows, "rank", "username", "price") == [
        ("1", "cid", "300.00"),
        ("2", "bob", "200.10"),
        ("3", "ada", "150.00"),
    ]
    # What only the shop may know.
    assert "weight" not in rows[0]
    monkeypatch.setattr(exports, "MAX_DIRECT_ROWS", 2)
    with pytest.raises(errors.ResultsTooLarge, match="3 rows"):
        shop.services.exports.results_csv(sale.session_id)


def test_a_statement_that_takes_too_long_holds_its_transaction_no_longer(
    shop: Shop, sale: SessionView, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export_files, "MAX_PART_SECONDS", 1)
    with (
        table_locked(shop, "users", "ACCESS EXCLUSIVE"),
        pytest.raises(psycopg2.errors.QueryCanceled),
    ):
        shop.services.exports.write(sale.session_id, Kind.BIDS, FileFormat.CSV, tmp_path / "bids")
    assert list(tmp_path.iterdir()) == []
    # What the snapshot was set to is not what the connection's next user gets.
    assert shop.rows("SHOW statement_timeout") == [("0",)]
    assert shop.rows("SHOW transaction_read_only") == [("off",)]


# --- Jobs


def files(shop: Shop) -> set[str]:
    return {path.name for path in Path(shop.services.settings.exports_folder).glob("*")}


@pytest.fixture(autouse=True)
def empty_folder(shop: Shop) -> None:
    for name in files(shop):
        Path(shop.services.settings.exports_folder, name).unlink()


def test_a_job_that_runs_twice_writes_once(shop: Shop, sale: SessionView) -> None:
    export_id = request(shop, sale)
    assert shop.services.exports.make(export_id) is not None
    assert shop.services.exports.make(export_id) is None
    assert len(files(shop)) == 1


@pytest.mark.parametrize("has_lease", [True, False])
def test_two_jobs_at_once_agree_on_one_file(
    shop: Shop, sale: SessionView, monkeypatch: pytest.MonkeyPatch, has_lease: bool
) -> None:
    """The lease saves the second job's work; without it, both write and the row names one."""
    if not has_lease:
        monkeypatch.setattr(exports.leases, "held", lambda *_: nullcontext("token"))
    export_id = request(shop, sale)
    done = together(*[lambda: shop.services.exports.make(export_id)] * 3)
    assert sum(each is not None for each in done) == 1
    view, path = shop.services.exports.file(export_id)
    assert export_files.read_back(path, FileFormat.CSV).sha256 == view.sha256


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> Iterator[None]:
    """Every job dies when it has written some rows."""

    def copy_some(*_: Any, **__: Any) -> int:
        act()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(export_files, "copy_rows", copy_some)
        yield


def test_a_killed_jobs_export_is_found_and_made(
    shop: Shop, sale: SessionView, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_id = request(shop, sale)
    with dying(monkeypatch, lambda: None), pytest.raises(Killed):
        shop.services.exports.make(export_id)
    with pytest.raises(errors.ExportNotReady):
        shop.services.exports.file(export_id)
    assert shop.services.exports.claim_unfinished() == [export_id]
    # Claimed: its job is enqueued.
    assert shop.services.exports.claim_unfinished() == []
    assert shop.services.exports.make(export_id) is not None
    assert shop.services.exports.get(export_id).state is ExportState.DONE


def test_an_export_that_is_being_made_is_not_claimed(
    shop: Shop, sale: SessionView, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_id = request(shop, sale)
    claimed: list[Any] = []
    find = shop.services.exports.claim_unfinished
    with dying(monkeypatch, lambda: claimed.append(find())), pytest.raises(Killed):
        shop.services.exports.make(export_id)
    assert claimed == [[]]


def test_an_export_whose_jobs_always_die_is_given_up(
    shop: Shop, sale: SessionView, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_id = request(shop, sale)
    with dying(monkeypatch, lambda: None):
        for _ in range(exports.MAX_ATTEMPTS):
            with pytest.raises(Killed):
                shop.services.exports.make(export_id)
    assert shop.services.exports.make(export_id) is None
    assert_failed(shop, export_id, "interrupted 5 times")


def test_a_full_disk_is_a_sentence_and_no_loop(shop: Shop, sale: SessionView) -> None:
    export_id = request(shop, sale)
    with file_size_limit(100):
        assert shop.services.exports.make(export_id) is None
    assert_failed(shop, export_id, r"could not be written: File too large\.")


def assert_failed(shop: Shop, export_id: UUID, sentence: str) -> None:
    assert shop.services.exports.claim_unfinished() == []
    with pytest.raises(errors.ExportFailed, match=sentence):
        shop.services.exports.file(export_id)
    assert files(shop) == set()


def test_what_expired_and_what_killed_jobs_left_is_deleted(shop: Shop, sale: SessionView) -> None:
    old, new = request(shop, sale), request(shop, sale)
    for export_id in (old, new):
        shop.services.exports.make(export_id)
    kept = shop.services.exports.file(new)[1]
    folder = kept.parent
    left, being_written = folder / "left.csv.part", folder / "being-written.csv.part"
    for path in (left, being_written):
        path.touch()
    for path in folder.iterdir():
        if path != being_written:
            os.utime(path, (0, 0))
    execute(
        shop,
        "UPDATE exports SET expires_at = clock_timestamp() WHERE id = %(id)s",
        id=str(old),
    )
    assert shop.services.exports.purge() == 2
    assert files(shop) == {kept.name, being_written.name}
    with pytest.raises(errors.ExportNotFound):
        shop.services.exports.file(old)


def test_a_file_that_this_host_lacks_is_a_sentence(shop: Shop, sale: SessionView) -> None:
    export_id = request(shop, sale)
    shop.services.exports.make(export_id)
    shop.services.exports.file(export_id)[1].unlink()
    with pytest.raises(errors.ExportFileMissing, match="EXPORTS_FOLDER"):
        shop.services.exports.file(export_id)
