"""Results: not before the end, pending in between, then final."""

from uuid import uuid4

from tests.api.conftest import CheckedClient
from tests.api.routes.test_admin import moment
from tests.support.factories import Shop


def test_results_before_the_end_are_refused(anyone: CheckedClient, shop: Shop) -> None:
    refused = anyone.get(f"/api/results/{shop.session().session_id}")
    assert (refused.status_code, refused.json["code"]) == (409, "session_not_ended")


def test_results_between_end_and_close_are_pending(anyone: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    shop.end(session)
    refused = anyone.get(f"/api/results/{session.session_id}")
    assert (refused.status_code, refused.json["code"]) == (409, "results_pending")
    assert int(refused.headers["Retry-After"]) >= 1


def test_results_of_an_unknown_session_are_not_found(anyone: CheckedClient) -> None:
    refused = anyone.get(f"/api/results/{uuid4()}")
    assert (refused.status_code, refused.json["code"]) == (404, "session_not_found")


def test_final_results_name_winners_and_everybodys_rank(anyone: CheckedClient, shop: Shop) -> None:
    session = shop.session(inventory=2, beta=0.0)
    bidders = [shop.bidder() for _ in range(3)]
    placed = [
        shop.bid(bidder, session, price)
        for bidder, price in zip(bidders, ["200", "300", "100"], strict=True)
    ]
    shop.close(session)
    results = anyone.get(f"/api/results/{session.session_id}").json
    assert [
        (entry["rank"], entry["user_id"], entry["username"], entry["price"], entry["score"])
        for entry in results["rankings"]
    ] == [
        (
            rank,
            str(bidders[i].user_id),
            bidders[i].username,
            float(placed[i].price),
            placed[i].score,
        )
        for rank, i in enumerate([1, 0, 2], start=1)
    ]
    assert [entry["is_winner"] for entry in results["rankings"]] == [True, True, False]
    assert results["winners"] == results["rankings"][:2]
    assert [entry["price_to_pay"] for entry in results["rankings"]] == [300, 200, None]
    assert results["currency"] == "EUR"
    assert (results["total_bidders"], results["total_winners"]) == (3, 2)
    assert (results["inventory"], results["status"], results["final_price"]) == (2, "ended", 200)
    assert results["product_id"] == str(session.product_id)
    start, end, closed = (moment(results[name]) for name in ("start_time", "end_time", "closed_at"))
    assert start < end <= closed
    assert anyone.get(f"/api/sessions/{session.session_id}").json["final_price"] == 200


def test_results_page_through_the_rankings_and_show_all_winners_first(
    anyone: CheckedClient, shop: Shop
) -> None:
    session = shop.session(inventory=2, beta=0.0)
    for price in ("300", "200", "100"):
        shop.bid(shop.bidder(), session, price)
    shop.close(session)
    path = f"/api/results/{session.session_id}"
    results = anyone.get(f"{path}?page=2&page_size=2").json
    assert [entry["rank"] for entry in results["rankings"]] == [3]
    assert results["winners"] == []
    first = anyone.get(f"{path}?page_size=1").json
    assert [entry["rank"] for entry in first["winners"]] == [1, 2]
    assert (results["page"], results["page_size"], results["total_pages"]) == (2, 2, 2)
    assert anyone.get(f"{path}?page=3&page_size=2").json["rankings"] == []


def test_results_without_bids_have_no_final_price(anyone: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    shop.close(session)
    results = anyone.get(f"/api/results/{session.session_id}").json
    assert (results["winners"], results["rankings"], results["final_price"]) == ([], [], None)
    assert (results["total_bidders"], results["total_winners"]) == (0, 0)
