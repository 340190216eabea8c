"""The check of the ledger agrees with an honest sale, and sees every kind of fraud."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from core.redis import keys
from core.rules.scoring import ranking_member
from loadtest import settings
from loadtest.__main__ import main
from loadtest.ledger import ledger, stored_state
from loadtest.ledger.verify import LISTED, Verdict, VerificationInput, verify
from loadtest.sale.api import Api
from tests.loadtest.conftest import Sold

Capture = pytest.CaptureFixture[str]


def case_of(sold: Sold) -> VerificationInput:
    session_id = str(sold.session.session_id)
    return VerificationInput(
        ledger=ledger.read([sold.ledger]),
        stored=stored_state.read(settings.servers(), session_id),
        results=Api(sold.host).results(session_id),
        ended_keys_ttl_seconds=3600,
    )


def broken_rules(verdict: Verdict) -> set[str]:
    return {finding.rule for finding in verdict.findings if finding.count}


def differences_of(case: VerificationInput) -> set[str]:
    return {words for finding in verify("any", case).findings for words in finding.differences}


def assert_seen(sold: Sold, capsys: Capture, *sentences: str) -> None:
    assert sold.verify() == 1
    said = capsys.readouterr().out
    for sentence in sentences:
        assert sentence in said
    assert "found." in said


def test_an_honest_sale_holds(sold: Sold, capsys: Capture) -> None:
    assert sold.verify() == 0
    said = capsys.readouterr().out
    assert "differs" not in said
    assert "10 requests in the ledger, 10 of them confirmed." in said
    assert "9 bids, 6 members" in said


@pytest.mark.parametrize("sequence", [1, 5, 9])
def test_a_deleted_bid_is_seen(sold: Sold, capsys: Capture, sequence: int) -> None:
    sold.sql("DELETE FROM bids WHERE session_id = %(session)s AND sequence = %(seq)s", seq=sequence)
    assert_seen(sold, capsys, f"bid {sequence} of ", "is not in bids")


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        ((5,), "sequence 5 is missing"),
        ((1, 2, 3), "sequences 1 to 3 are missing"),
        ((9,), "persisted_sequence is 9, but the last bid is 8"),
    ],
)
def test_a_gap_in_the_sequences_is_seen(
    sold: Sold, capsys: Capture, sequences: tuple[int, ...], said: str
) -> None:
    sold.sql(
        "DELETE FROM bids WHERE session_id = %(session)s AND sequence IN %(sequences)s",
        sequences=sequences,
    )
    assert_seen(sold, capsys, said)


def test_a_sequence_that_stands_twice_is_seen(sold: Sold) -> None:
    """Of what was read: the table's own key lets nobody write it."""
    case = case_of(sold)
    twice = replace(case.stored, bids=[*case.stored.bids, case.stored.bids[3]])
    assert "sequence 4 occurs 2 times" in differences_of(replace(case, stored=twice))


def test_an_offset_that_is_not_the_last_bid_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql("UPDATE bid_log_offsets SET persisted_sequence = 8 WHERE session_id = %(session)s")
    assert_seen(
        sold, capsys, "persisted_sequence is 8, but the last bid is 9", "1 difference found."
    )


def test_a_sequence_that_redis_gave_out_and_no_bid_has_is_seen(sold: Sold, capsys: Capture) -> None:
    params = keys.session_params(sold.session.session_id)
    sold.shop.services.redis.hincrby(params, "sequence", 1)
    assert_seen(sold, capsys, "Redis assigned 10 sequences, but the last bid is 9")


def test_a_bid_left_in_the_log_is_seen(sold: Sold, capsys: Capture) -> None:
    log = keys.bid_log(sold.session.session_id)
    sold.shop.services.redis.xadd(log, {"price": "190.00"}, id="10-0")
    assert_seen(sold, capsys, "1 bids are still in the bid log", "1 difference found.")


def test_a_score_one_bit_off_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql(
        "UPDATE bids SET score = score + score * 2.3e-16::float8"
        " WHERE session_id = %(session)s AND sequence = 4"
    )
    assert_seen(sold, capsys, "bid 4: answered score", "bid 4: score", "recomputed")


def test_a_changed_price_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql("UPDATE bids SET price = 999 WHERE session_id = %(session)s AND sequence = 3")
    assert_seen(sold, capsys, "bid 3: answered price 120.10, stored 999.00")


def test_a_swap_of_winner_and_loser_is_seen(sold: Sold, capsys: Capture) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        sold.sql(
            "UPDATE rankings SET rank = %(new)s WHERE session_id = %(session)s AND rank = %(old)s",
            old=old,
            new=new,
        )
    assert_seen(sold, capsys, "won, but is not among the best", "the board in Redis: found rank 2")


def test_an_added_winner_is_seen(sold: Sold, capsys: Capture) -> None:
    """Somebody who never bid is put first; all others move down by one."""
    sold.sql("UPDATE rankings SET rank = rank + 100 WHERE session_id = %(session)s")
    sold.sql("UPDATE rankings SET rank = rank - 99 WHERE session_id = %(session)s")
    stranger = sold.shop.account("stranger").user_id
    sold.sql(
        "INSERT INTO rankings (session_id, user_id, rank, sequence, price, score)"
        " VALUES (%(session)s, %(stranger)s, 1, 99, 500, 5000)",
        stranger=str(stranger),
    )
    assert_seen(sold, capsys, f"{stranger} won, but is not among the best")


@pytest.mark.parametrize("pricing", ["pay_as_bid", "second_score"])
@pytest.mark.parametrize(
    ("rank", "price"), [(1, "price - 0.01"), (2, "NULL"), (4, "price - 0.01"), (6, "price - 0.01")]
)
def test_a_changed_price_to_pay_is_seen(
    sold: Sold, capsys: Capture, pricing: str, rank: int, price: str
) -> None:
    sold.reprice(pricing)
    assert sold.verify() == 0
    sold.sql(
        f"UPDATE rankings SET price_to_pay = {price}"  # noqa: S608 - our own text
        " WHERE session_id = %(session)s AND rank = %(rank)s",
        rank=rank,
    )
    assert_seen(sold, capsys, f"rank {rank} pays ", ", recomputed ")


def test_a_price_to_pay_that_results_show_otherwise_is_seen(sold: Sold) -> None:
    case = case_of(sold)
    assert case.results is not None
    [first, *rest] = case.results["winners"]
    winners = [{**first, "price_to_pay": first["price_to_pay"] - 0.01}, *rest]
    told = replace(case, results={**case.results, "winners": winners})
    assert broken_rules(verify("any", told)) == {"/api/results equals the rankings"}


def test_a_removed_loser_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql("DELETE FROM rankings WHERE session_id = %(session)s AND rank = 6")
    assert_seen(sold, capsys, "rankings: 5 places, expected 6")


def test_a_bid_accepted_at_the_end_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql(
        "UPDATE bids SET accepted_at = (SELECT end_time FROM sessions WHERE id = %(session)s)"
        " WHERE session_id = %(session)s AND sequence = 9"
    )
    assert_seen(sold, capsys, "bid 9 was accepted at", "bid 9: response time")


def test_a_bid_before_the_start_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql(
        "UPDATE bids SET accepted_at ="
        " (SELECT start_time - interval '1 second' FROM sessions WHERE id = %(session)s)"
        " WHERE session_id = %(session)s AND sequence = 1"
    )
    assert_seen(sold, capsys, "bid 1 was accepted before the start")


def test_a_bid_below_the_upset_price_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql("UPDATE bids SET price = 99.99 WHERE session_id = %(session)s AND sequence = 2")
    assert_seen(sold, capsys, "bid 2 at 99.99 is below the upset price")


def test_a_standing_price_that_was_lowered_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql("UPDATE bids SET price = 100.09 WHERE session_id = %(session)s AND sequence = 7")
    assert_seen(sold, capsys, "is below the standing price 100.10 of bid 1")


def test_a_price_may_fall_where_the_session_allows_it(sold: Sold) -> None:
    sold.sql("UPDATE bids SET price = 100.09 WHERE session_id = %(session)s AND sequence = 7")
    sold.sql("UPDATE sessions SET allow_lower_bids = true WHERE id = %(session)s")
    assert not any("standing price" in words for words in differences_of(case_of(sold)))


def test_a_price_that_fell_on_a_board_that_was_rewound_is_no_breach(sold: Sold) -> None:
    case = case_of(sold)
    bids = [
        replace(bid, price=Decimal(1)) if bid.sequence == 7 else bid for bid in case.stored.bids
    ]
    for moved, is_seen in (({}, True), ({4: [7]}, False)):
        told = replace(case, stored=replace(case.stored, bids=bids, moved=moved))
        seen = any("standing price" in words for words in differences_of(told))
        assert seen is is_seen


@pytest.mark.parametrize("score", [0.0, -1.0])
def test_a_bid_that_had_to_be_better_and_was_not_is_seen(sold: Sold, score: float) -> None:
    case = case_of(sold)
    standing = case.stored.bids[0].score
    bids = [
        replace(bid, score=standing + score) if bid.sequence == 7 else bid
        for bid in case.stored.bids
    ]
    for only_if_better in (True, False):
        attempts = [replace(each, only_if_better=only_if_better) for each in case.ledger.attempts]
        told = replace(
            case,
            ledger=replace(case.ledger, attempts=attempts),
            stored=replace(case.stored, bids=bids),
        )
        seen = any("had to be better" in words for words in differences_of(told))
        assert seen is only_if_better


def test_a_highest_bid_that_nobody_stands_behind_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql("UPDATE sessions SET highest_bid = 9999999999.99 WHERE id = %(session)s")
    assert_seen(sold, capsys, "the highest bid in PostgreSQL is 9999999999.99, but 180.55 stands")
    sold.sql("UPDATE sessions SET highest_bid = 180.55 WHERE id = %(session)s")
    params = keys.session_params(sold.session.session_id)
    sold.shop.services.redis.hset(params, "highest_bid", "180.56")
    assert_seen(sold, capsys, "the highest bid in Redis is 180.56, but 180.55 stands")


def test_a_bid_answered_as_accepted_after_the_end_is_seen(sold: Sold, capsys: Capture) -> None:
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    sold.rewrite([*sold.attempts[:-1], replace(sold.attempts[-1], accepted_at=late)])
    assert_seen(sold, capsys, "bid 9 was answered as accepted after the end")


def test_a_bid_acknowledged_twice_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.rewrite([*sold.attempts, sold.attempts[0]])
    assert_seen(sold, capsys, "bid 1 was answered as newly accepted 2 times")


def test_a_replay_is_no_second_acknowledgement(sold: Sold) -> None:
    assert [a.kind for a in sold.attempts].count("replayed") == 1
    sold.rewrite([*sold.attempts, sold.attempts[8]])
    assert sold.verify() == 0


def test_an_acknowledged_bid_that_never_was_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.rewrite([*sold.attempts, replace(sold.attempts[0], sequence=10)])
    assert_seen(sold, capsys, "bid 10 of")


def test_a_bid_that_nobody_asked_for_is_seen(sold: Sold, capsys: Capture) -> None:
    refused = replace(sold.attempts[6], kind="rate_limited", status=429, sequence=None)
    sold.rewrite([*sold.attempts[:6], refused, *sold.attempts[7:]])
    assert_seen(sold, capsys, "bid 7 of", "was never requested")


def test_a_bid_without_an_answer_may_be_in_the_books(sold: Sold) -> None:
    unknown = replace(sold.attempts[6], kind="timeout", status=0, sequence=None)
    sold.rewrite([*sold.attempts[:6], unknown, *sold.attempts[7:]])
    assert sold.verify() == 0


def test_a_wrong_rank_in_an_answer_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.rewrite([replace(sold.attempts[0], rank=2), *sold.attempts[1:]])
    assert_seen(sold, capsys, "bid 1 was answered with rank 2, but had rank 1")


@pytest.mark.parametrize(("rank", "is_seen"), [(1, True), (2, False)])
def test_a_bid_is_ranked_among_all_that_were_accepted_at_its_moment(
    sold: Sold, *, rank: int, is_seen: bool
) -> None:
    case = case_of(sold)
    first, second, *later = case.stored.bids
    at_once = [
        replace(first, score=1.0),
        replace(second, score=2.0, accepted_at=first.accepted_at),
        *later,
    ]
    attempts = [replace(case.ledger.attempts[0], rank=rank), *case.ledger.attempts[1:]]
    told = replace(
        case,
        ledger=replace(case.ledger, attempts=attempts),
        stored=replace(case.stored, bids=at_once),
    )
    assert ("bid 1 was answered with rank 1, but had rank 2" in differences_of(told)) is is_seen


def test_a_weight_that_changes_within_a_sale_is_seen(sold: Sold, capsys: Capture) -> None:
    sold.sql("UPDATE bids SET weight = 3 WHERE session_id = %(session)s AND sequence = 7")
    assert_seen(sold, capsys, "bid with weights [1.0, 3.0]")


def test_a_changed_score_on_the_board_is_seen(sold: Sold, capsys: Capture) -> None:
    last = sold.attempts[4]
    member = ranking_member(last.sequence or 0, last.user_id)
    sold.shop.services.redis.zincrby(keys.ranking(sold.session.session_id), 0.5, member)
    assert_seen(sold, capsys, "the board in Redis: found")


def test_a_lost_board_is_seen_while_it_should_be_there(sold: Sold, capsys: Capture) -> None:
    sold.shop.services.redis.flushdb()
    assert_seen(sold, capsys, "Redis has no keys of this session")


def test_a_board_whose_time_is_over_is_only_noted(sold: Sold) -> None:
    sold.shop.services.redis.flushdb()
    verdict = verify("any", replace(case_of(sold), ended_keys_ttl_seconds=0))
    assert verdict.holds
    assert any("expire" in note for note in verdict.notes)


def test_results_that_tell_something_else_are_seen(sold: Sold) -> None:
    case = case_of(sold)
    assert case.results is not None
    [first, second, *rest] = case.results["rankings"]
    results = {**case.results, "rankings": [second, first, *rest]}
    verdict = verify("any", replace(case, results=results))
    assert broken_rules(verdict) == {"/api/results equals the rankings"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"total_winners": 3}, "total_winners is 3, but 2 are listed"),
        ({"winners": []}, "winners in /api/results: 0 places, expected 2"),
    ],
)
def test_results_that_count_other_winners_are_seen(
    sold: Sold, wrong: dict[str, object], said: str
) -> None:
    case = case_of(sold)
    assert case.results is not None
    assert said in differences_of(replace(case, results={**case.results, **wrong}))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_place_that_is_told_the_wrong_outcome_is_seen(sold: Sold, rank: int) -> None:
    case = case_of(sold)
    assert case.results is not None
    rankings = [
        entry if entry["rank"] != rank else {**entry, "is_winner": not entry["is_winner"]}
        for entry in case.results["rankings"]
    ]
    told = replace(case, results={**case.results, "rankings": rankings})
    assert differences_of(told) == {f"rank {rank} has is_winner {rank == 3}"}


def test_bids_of_other_members_are_only_noted(sold: Sold) -> None:
    sold.rewrite([a for a in sold.attempts if a.user_id == sold.attempts[0].user_id])
    verdict = verify("any", case_of(sold))
    assert verdict.holds
    assert "7 bids belong to members who are not in the ledger." in verdict.notes


def test_long_lists_are_cut_and_counted(sold: Sold) -> None:
    many = [replace(sold.attempts[0], sequence=100 + number) for number in range(3 * LISTED)]
    sold.rewrite([*sold.attempts, *many])
    [finding] = [f for f in verify("any", case_of(sold)).findings if f.count]
    assert finding.count == 3 * LISTED
    assert len(finding.differences) == LISTED


def test_a_session_without_results_is_refused_in_a_sentence(sold: Sold, capsys: Capture) -> None:
    running = sold.shop.session()
    path = sold.ledger.parent / "ledger-running.jsonl"
    with ledger.Ledger(path, session_id=str(running.session_id)):
        pass
    assert main(["verify", str(path), "--session", str(running.session_id)]) == 1
    assert "Verify it after it has closed" in capsys.readouterr().err


@pytest.mark.parametrize("session_id", ["nonsense", str(UUID(int=1))])
def test_an_unknown_session_is_refused_in_a_sentence(
    sold: Sold, capsys: Capture, session_id: str
) -> None:
    assert main(["verify", str(sold.ledger), "--session", session_id]) == 1
    said = capsys.readouterr().err
    assert said.startswith("loadtest: ")
    assert said.count("\n") == 1
