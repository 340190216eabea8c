"""The ledger: written line by line, read whole, torn lines passed over."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from loadtest.errors import LoadTestError
from loadtest.ledger import ledger
from loadtest.ledger.ledger import Ledger, LedgerTail, Timing
from tests.loadtest.bids import USER, attempt

TIMING = Timing(intended_at=100.0, sent_at=100.25, answered_at=100.5)
ANSWER = {
    "sequence": 7,
    "score": 0.1 + 0.2,
    "rank": 3,
    "response_time": 1.000001,
    "user_weight": 1.0,
    "accepted_at": "2030-01-01T00:00:00.000001+00:00",
    "replayed": False,
}


def test_what_is_written_is_read_again_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "ledger-a-1.jsonl"
    body = json.dumps(ANSWER).encode()
    accepted = ledger.answered(USER, Decimal("250.10"), TIMING, 200, body)
    with Ledger(path, mode="open", session_id="a", plan=[]) as book:
        book.attempt(accepted)
        book.sample(at=1.0, members=2)
    recorded = ledger.read([path])
    assert recorded.attempts == [accepted]
    assert recorded.attempts[0].score == 0.1 + 0.2
    assert recorded.samples == [{"at": 1.0, "members": 2}]
    assert recorded.mode == "open"


def test_latency_counts_from_the_intended_moment() -> None:
    bid = ledger.answered(USER, Decimal(1), TIMING, 200, json.dumps(ANSWER).encode())
    assert (bid.latency_ms, bid.service_ms) == (500.0, 250.0)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, b'{"code": "session_ended"}', "session_ended"),
        (502, b"<html>Bad gateway</html>", "http_502"),
        (500, b"", "http_500"),
        (200, b"[]", "http_200"),
        (200, json.dumps(ANSWER | {"replayed": True}).encode(), "replayed"),
    ],
)
def test_every_answer_has_a_kind(status: int, body: bytes, kind: str) -> None:
    assert ledger.answered(USER, Decimal(1), TIMING, status, body).kind == kind


def test_only_a_bid_whose_fate_is_unknown_may_stand_without_an_answer() -> None:
    assert attempt(kind="timeout", status=0).may_be_stored
    assert attempt(kind="http_502", status=502).may_be_stored
    assert not attempt(kind="not_sent", status=0).may_be_stored
    assert not attempt(kind="session_ended", status=409).may_be_stored


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger-a-1.jsonl", session_id="a")
    book.attempt(attempt())
    assert len(ledger.read([book.path]).attempts) == 1
    book.close()


def test_a_torn_last_line_is_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "ledger-a-1.jsonl"
    with Ledger(path, session_id="a") as book:
        book.attempt(attempt())
        book.attempt(attempt())
    path.write_bytes(path.read_bytes()[:-20])
    recorded = ledger.read([path])
    assert (len(recorded.attempts), recorded.torn_lines) == (1, 1)


def test_ledgers_of_other_sessions_are_left_out(tmp_path: Path) -> None:
    for session_id in ("a", "b"):
        with Ledger(tmp_path / f"ledger-{session_id}-1.jsonl", session_id=session_id) as book:
            book.attempt(attempt())
    assert len(ledger.read(ledger.find(tmp_path), "a").attempts) == 1
    with pytest.raises(LoadTestError, match="No ledger of this session"):
        ledger.read(ledger.find(tmp_path), "c")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="There is no ledger at"):
        ledger.find(tmp_path / "nothing")


def test_a_tail_reads_whole_lines_once(tmp_path: Path) -> None:
    tail = LedgerTail(tmp_path)
    path = tmp_path / "ledger-a-1.jsonl"
    with Ledger(path, session_id="a") as book:
        book.attempt(attempt())
        with path.open("a", encoding="utf-8") as torn:
            torn.write('{"line": "attempt", "user')
        assert len(tail.read().attempts) == 1
        assert tail.read().attempts == []
