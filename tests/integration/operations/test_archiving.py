"""Archiving bids: nothing is lost wherever it ends."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from core.operations import archiving
from core.operations.archiving import Archiving, NotArchived
from core.orders import export_files
from core.redis import keys
from tests.support.archives import (
    ALL,
    BIDS,
    RANKINGS,
    archive_and_die,
    execute,
    known_sequences,
    recorded,
    restore,
    settled,
    wrong,
)
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "_PART_ROWS", 3)
    monkeypatch.setattr(archiving, "_BATCH_ROWS", 2)


def test_archived_bids_are_in_the_file_alone_and_come_back_exactly(
    shop: Shop, tmp_path: Path
) -> None:
    session = settled(shop)
    bids, rankings = shop.rows(ALL), shop.rows(RANKINGS)
    archive = shop.services.archiving.archive(session.session_id, tmp_path)
    assert shop.rows(ALL) == []
    assert (archive.row_count, archive.first_sequence, archive.last_sequence) == (BIDS, 1, BIDS)
    assert [Path(archive.file)] == list(tmp_path.iterdir())
    assert Path(archive.file).stat().st_mode & 0o077 == 0
    assert shop.rows("SELECT count(finished_at) FROM archives") == [(1,)]
    assert shop.rows(RANKINGS) == rankings
    assert shop.services.archiving.candidates(timedelta(0)) == []
    assert restore(shop) == bids
    assert wrong(shop, session) == []


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ("UPDATE sessions SET published_at = NULL", "its results are not complete"),
        ("UPDATE sessions SET weighed_at = NULL", "its results are not complete"),
        ("UPDATE announcements SET finished_at = NULL", "its bidders are not yet notified"),
        (
            """DELETE FROM offers;
               INSERT INTO offers (id, session_id, user_id, rank, place, expires_at)
               SELECT gen_random_uuid(), session_id, user_id, 1, 1, now() FROM rankings LIMIT 1""",
            "it has an open offer",
        ),
        (
            """INSERT INTO shop_events (session_id, event, subject_id, data)
               SELECT id, 'offer.paid', id, '{}' FROM sessions""",
            "a delivery is waiting",
        ),
        (
            """INSERT INTO notifications (session_id, user_id, kind)
               SELECT session_id, user_id, 'session_ended' FROM rankings LIMIT 1;
               INSERT INTO email_deliveries (notification_id) SELECT id FROM notifications""",
            "a delivery is waiting",
        ),
    ],
)
def test_an_unsettled_session_says_why(shop: Shop, change: str, obstacle: str) -> None:
    settled(shop)
    [before] = shop.services.archiving.candidates(timedelta(0))
    execute(shop, *change.split(";"))
    [after] = shop.services.archiving.candidates(timedelta(0))
    assert (before.obstacle, after.obstacle) == (None, obstacle)
    assert (before.bids, before.name) == (BIDS, "Item")


def test_only_sessions_that_were_closed_long_ago_are_candidates(shop: Shop) -> None:
    shop.bid(shop.bidder(), shop.session(), "120")
    session = settled(shop)
    execute(
        shop,
        "UPDATE sessions SET closed_at = now() - interval '400 days 1 hour'"
        " WHERE closed_at IS NOT NULL",
    )
    archives = shop.services.archiving
    [found] = archives.candidates(timedelta(days=400))
    assert found.session_id == session.session_id
    assert archives.candidates(timedelta(days=401)) == []


def test_a_bid_that_is_only_in_redis_keeps_its_session_from_being_archived(shop: Shop) -> None:
    session = settled(shop)
    shop.services.redis.xadd(keys.bid_log(session.session_id), {"any": "entry"}, id="8-0")
    [found] = shop.services.archiving.candidates(timedelta(0))
    assert found.obstacle == "its bid log is not drained"


@pytest.mark.parametrize(
    ("change", "is_explained"),
    [
        ("DELETE FROM bids WHERE sequence = 4", False),
        ("UPDATE bid_log_offsets SET persisted_sequence = 9", False),
        (
            # Its member has bid again since.
            """DELETE FROM bids WHERE sequence = 1;
               INSERT INTO session_events (session_id, kind, details) SELECT id, 'bid_log_gap',
               jsonb_build_object('first_missing', 1, 'last_missing', 1) FROM sessions""",
            True,
        ),
    ],
)
def test_sequences_are_complete_or_recorded_as_lost(
    shop: Shop, tmp_path: Path, change: str, is_explained: bool
) -> None:
    session = settled(shop)
    execute(shop, *change.split(";"))
    bids = shop.rows(ALL)
    if is_explained:
        shop.services.archiving.archive(session.session_id, tmp_path)
        assert wrong(shop, session) == []
        assert restore(shop) == bids
        return
    with pytest.raises(NotArchived, match="flask --app web verify"):
        shop.services.archiving.archive(session.session_id, tmp_path)
    assert (shop.rows(ALL), recorded(shop), list(tmp_path.iterdir())) == (bids, [], [])


@pytest.mark.parametrize(
    ("owner", "step", "number"),
    [
        (archiving, "_between", 2),  # between two parts of the file
        (export_files, "sync_folder", 1),  # before the file is complete
        (Archiving, "_compare", 1),
        (Archiving, "_record", 1),
        (archiving, "_require_complete", 1),
        (export_files, "sync_folder", 2),  # renamed, not committed
        (Archiving, "_delete_bids", 1),
        (archiving, "_require_recorded", 1),
        (archiving, "_require_recorded", 3),  # half of the bids are deleted
        (Archiving, "_finish", 1),
    ],
)
def test_killed_at_any_step_it_loses_nothing_and_is_completed_by_the_next_run(
    shop: Shop,
    tmp_path: Path,
    owner: Any,
    step: str,
    number: int,
) -> None:
    session = settled(shop)
    bids = shop.rows(ALL)
    archive_and_die(shop, session, tmp_path, owner, step, number)
    assert known_sequences(shop) == set(range(1, BIDS + 1))
    # A process that is killed cannot tidy up.
    (tmp_path / f"bids-{session.session_id}.0123.part").write_text("session_id,sequence\nx,1\n")
    [left] = shop.services.archiving.candidates(timedelta(0))
    assert left.obstacle is None
    shop.services.archiving.archive(session.session_id, tmp_path)
    assert (shop.rows(ALL), list(tmp_path.iterdir())) == ([], recorded(shop))
    assert restore(shop) == bids


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_text("")])
@pytest.mark.parametrize("deleted", [0, 2])
def test_a_recorded_file_that_is_damaged_is_written_again_or_nothing_more_is_deleted(
    shop: Shop,
    tmp_path: Path,
    damage: Callable[[Path], object],
    deleted: int,
) -> None:
    session = settled(shop)
    bids = shop.rows(ALL)
    archive_and_die(shop, session, tmp_path, archiving, "_require_recorded", 1 + deleted // 2)
    damage(recorded(shop)[0])
    if deleted:
        with pytest.raises(NotArchived, match="missing or damaged"):
            shop.services.archiving.archive(session.session_id, tmp_path)
        assert shop.rows(ALL) == bids[deleted:]
        return
    shop.services.archiving.archive(session.session_id, tmp_path)
    assert restore(shop) == bids


class DiskThatFlips(Archiving):
    def _compare(self, session_id: Any, path: Path, written: Any) -> tuple[int, int]:
        flip(path)
        return super()._compare(session_id, path, written)


class LeavesOut(Archiving):
    def _parts(self, session_id: Any) -> Any:
        yield archiving._between(session_id, 1, BIDS, *archiving._COLUMNS)


class WritesAnotherTwice(LeavesOut):
    """The number of rows is right."""

    def _parts(self, session_id: Any) -> Any:
        yield from super()._parts(session_id)
        yield archiving._between(session_id, BIDS - 1, BIDS, *archiving._COLUMNS)


@pytest.mark.parametrize("kind", [DiskThatFlips, LeavesOut, WritesAnotherTwice])
def test_no_bid_is_deleted_for_a_file_that_differs(
    shop: Shop, tmp_path: Path, kind: type[Archiving]
) -> None:
    session = settled(shop)
    bids = shop.rows(ALL)
    faulty = kind(shop.services.engine, shop.services.database, shop.services.redis)
    with pytest.raises(NotArchived):
        faulty.archive(session.session_id, tmp_path)
    assert (shop.rows(ALL), recorded(shop), list(tmp_path.iterdir())) == (bids, [], [])


class IsOvertaken(Archiving):
    """Stops before a step until the test lets it go on."""

    def __init__(self, shop: Shop, step: str) -> None:
        super().__init__(shop.services.engine, shop.services.database, shop.services.redis)
        self.reached, self.may_go_on = Event(), Event()
        original = getattr(self, step)

        def waiting(*args: Any) -> Any:
            self.reached.set()
            assert self.may_go_on.wait(BARRIER_SECONDS)
            return original(*args)

        setattr(self, step, waiting)


@pytest.mark.parametrize("step", ["_export", "_parts", "_compare", "_record", "_delete_bids"])
def test_two_archives_of_one_session_lose_nothing_without_the_lease(
    shop: Shop, tmp_path: Path, step: str
) -> None:
    session = settled(shop)
    bids, first = shop.rows(ALL), IsOvertaken(shop, step)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(first.archive, session.session_id, tmp_path)
        assert first.reached.wait(BARRIER_SECONDS)
        shop.services.archiving.archive(session.session_id, tmp_path)
        first.may_go_on.set()
        error = running.exception(BARRIER_SECONDS)
    # It finds the file that it was writing gone, or the other's archive recorded.
    assert isinstance(error, NotArchived | OSError | None)
    assert shop.rows(ALL) == []
    assert restore(shop) == bids


def test_a_run_whose_archive_another_has_dropped_deletes_nothing(
    shop: Shop, tmp_path: Path
) -> None:
    session = settled(shop)
    bids, first = shop.rows(ALL), IsOvertaken(shop, "_delete_bids")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(first.archive, session.session_id, tmp_path)
        assert first.reached.wait(BARRIER_SECONDS)
        flip(recorded(shop)[0])
        archive_and_die(shop, session, tmp_path, Archiving, "_export")
        first.may_go_on.set()
        assert isinstance(running.exception(BARRIER_SECONDS), NotArchived)
    assert shop.rows(ALL) == bids


def test_a_second_archive_is_refused_while_one_runs(shop: Shop) -> None:
    with (
        shop.services.archiving.turn(),
        pytest.raises(NotArchived, match="Another archive is running"),
        shop.services.archiving.turn(),
    ):
        pass
