"""Sessions whose bids are archived: what stays goes on being right."""

from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.orders import exports
from core.orders.exports import FileFormat, Kind
from core.redis import keys
from tests.support.archives import execute, settled, wrong
from tests.support.factories import Shop


def test_counts_stay_and_no_bid_can_reach_an_archived_session(shop: Shop, tmp_path: Path) -> None:
    session, stats = settled(shop), shop.services.statistics.read()
    shop.services.archiving.archive(session.session_id, tmp_path)
    shop.services.redis.flushdb()
    assert shop.services.statistics.read() == stats
    for use in (shop.services.loader.load, shop.services.loader.rebuild):
        with pytest.raises(errors.SessionEnded):
            use(session.session_id)
    with pytest.raises(errors.SessionEnded):
        shop.bid(shop.bidder(), session, "900")


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE rankings SET response_time = NULL, weight = NULL WHERE false", None),
        ("UPDATE rankings SET price = price + 1 WHERE rank = 2", "has score"),
        ("UPDATE rankings SET weight = weight + 1 WHERE rank = 2", "has score"),
        ("UPDATE rankings SET rank = rank + 9 WHERE rank = 6", "consecutive"),
        ("UPDATE archives SET row_count = row_count - 1", "6 bids and 0 losses"),
        ("UPDATE bid_log_offsets SET persisted_sequence = 9", "the offset is 9"),
        ("UPDATE sessions SET highest_bid = 1", "the highest bid is 1"),
    ],
)
def test_results_are_verified_without_the_bids(
    shop: Shop, tmp_path: Path, tampering: str, found: str | None
) -> None:
    session = settled(shop)
    # As in results of versions before these columns.
    execute(shop, "UPDATE rankings SET response_time = NULL, weight = NULL")
    archive = shop.services.archiving.archive(session.session_id, tmp_path)
    execute(shop, tampering)
    differences = wrong(shop, session)
    assert (found or "") in str(differences)
    assert bool(differences) is (found is not None)
    checks = {check.name: check for check in shop.services.audit.verify(session.session_id)}
    assert archive.sha256 in str(checks["sequences"].known)
    assert "prices" not in checks


def test_a_restored_redis_brings_no_archived_bid_back_and_no_loss(
    shop: Shop, tmp_path: Path
) -> None:
    session = shop.session()
    bidder = shop.bidder()
    shop.bid(bidder, session, "120")
    [entry] = shop.services.redis.xrange(keys.bid_log(session.session_id))
    shop.close(session)
    shop.services.archiving.archive(session.session_id, tmp_path)
    log = keys.bid_log(session.session_id)
    shop.services.redis.delete(log)
    shop.services.redis.xadd(log, entry[1], id="1-0")
    late = entry[1] | {"accepted_at": str(int(entry[1]["accepted_at"]) + 10**9)}
    shop.services.redis.xadd(log, late, id="2-0")
    shop.drain(session)
    # The one accepted since then is stored; as a late one it does not count.
    assert shop.rows("SELECT sequence FROM bids") == [(2,)]
    assert shop.rows("SELECT kind FROM session_events") == [("bids_after_end",)]


def test_a_members_list_leaves_archived_bids_out(shop: Shop, tmp_path: Path) -> None:
    old, new, bidder = shop.session(), shop.session(), shop.bidder()
    for session in (old, new):
        shop.bid(bidder, session, "120")
    shop.close(old)
    shop.services.archiving.archive(old.session_id, tmp_path)
    listed, total = shop.services.history.of_member(bidder.user_id, None, page=1, page_size=9)
    assert ([bid.session_id for bid in listed], total) == ([new.session_id], 1)


def test_an_export_of_bids_that_are_archived_says_so(shop: Shop, tmp_path: Path) -> None:
    session, service = settled(shop), shop.services.exports
    asked = (session.session_id, Kind.BIDS, FileFormat.CSV)
    waiting = service.request(*asked, requested_by=session.session_id)
    shop.services.archiving.archive(session.session_id, tmp_path)
    with pytest.raises(errors.BidsArchived):
        service.request(*asked, requested_by=session.session_id)
    assert service.make(waiting.export_id) is None
    with pytest.raises(errors.ExportFailed, match="archived"):
        service.file(waiting.export_id)


def test_an_export_that_an_archive_overtakes_is_not_taken_for_complete(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, parts = settled(shop), exports.export_rows.parts

    def overtaken(*args: Any) -> Any:
        shop.services.archiving.archive(session.session_id, tmp_path)
        return parts(*args)

    asked = (session.session_id, Kind.BIDS, FileFormat.CSV, tmp_path / "bids.csv")
    monkeypatch.setattr(exports.export_rows, "parts", overtaken)
    with pytest.raises(errors.BidsArchived):
        shop.services.exports.write(*asked)
