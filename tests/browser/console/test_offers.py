"""The console after a session's end: offers, who is next, and the files."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Download, Route, expect

from tests.browser.board import NewSession, Visit, first
from tests.browser.console.boss import Boss, a_name, sell, username_of
from tests.support.http.client import Client

RESULTS_CSV = "**/api/results/*?format=csv"
EXPORT = "**/api/admin/exports/*"


@pytest.fixture
def boss(visit: Visit, admin: Client) -> Boss:
    return Boss(visit, admin)


@pytest.fixture
def bidders(member: Callable[..., Client]) -> list[Client]:
    return [member() for _ in range(4)]


@pytest.fixture
def sold(admin: Client, new_session: NewSession, bidders: list[Client]) -> str:
    """A session of two items that has ended; its four bidders ranked as in `bidders`."""
    return sell(admin, new_session, bidders, name=a_name())


def states(admin: Client, session_id: str) -> dict[int, str]:
    offers = admin.get(f"/api/admin/sessions/{session_id}/offers").json
    return {offer["rank"]: offer["state"] for offer in offers}


def rows(download: Download) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(Path(download.path()).read_text())))


def test_winners_are_listed_with_address_price_and_deadline(
    boss: Boss, sold: str, bidders: list[Client]
) -> None:
    boss.go(sold)
    names = [username_of(bidder) for bidder in bidders]
    winner = boss.offer_of(names[0])
    expect(winner.get_by_role("heading")).to_have_text(f"1. {names[0]}")
    expect(winner).to_contain_text("pays €900.00")
    expect(winner).to_contain_text("Open until")
    address = f"{names[0]}@example.com"
    expect(winner.get_by_role("link", name=address)).to_have_attribute(
        "href", f"mailto:{quote(address, safe='')}"
    )
    expect(boss.page.get_by_text("2 of 4 bidders won · Final price €800.00")).to_be_visible()
    expect(boss.page.get_by_text(f"Next in line: {names[2]}, rank 3.")).to_be_visible()


def test_winner_is_marked_paid_and_the_next_action_is_at_hand(
    boss: Boss, sold: str, bidders: list[Client], admin: Client
) -> None:
    name = username_of(bidders[0])
    boss.go(sold).press(f"Paid: {name}")
    expect(boss.dialog).to_contain_text("The item is sold for €900.00. This cannot be undone.")
    boss.confirm("Paid")
    outcome = boss.page.get_by_text(f"The offer of {name} is paid.")
    boss.has_focus(outcome)
    expect(boss.offer_of(name).last).to_contain_text("Paid since")
    expect(boss.page.get_by_role("button", name=f"Paid: {name}")).to_have_count(0)
    assert states(admin, sold) == {1: "paid", 2: "open"}


def test_declined_offer_goes_to_the_next_in_line(
    boss: Boss, sold: str, bidders: list[Client], admin: Client
) -> None:
    boss.go(sold).press(f"Decline: {username_of(bidders[0])}")
    boss.confirm("Decline")
    third, fourth = (username_of(bidder) for bidder in bidders[2:])
    expect(boss.offer_of(third)).to_contain_text("Open until")
    expect(boss.page.get_by_text(f"Next in line: {fourth}, rank 4.")).to_be_visible()
    assert states(admin, sold) == {1: "declined", 2: "open", 3: "open"}


@pytest.mark.parametrize(
    ("choice", "after"),
    [
        ("goes to the next in line", {1: "withdrawn", 2: "open", 3: "open"}),
        ("leaves the sale", {1: "withdrawn", 2: "open"}),
    ],
)
def test_withdrawal_says_what_becomes_of_the_item(
    boss: Boss,
    sold: str,
    bidders: list[Client],
    admin: Client,
    choice: str,
    after: dict[int, str],
) -> None:
    name = username_of(bidders[0])
    boss.go(sold).press(f"Withdraw: {name}")
    boss.dialog.get_by_label("The item").select_option(choice)
    boss.confirm("Withdraw")
    expect(boss.page.get_by_text(f"The offer of {name} is withdrawn.")).to_be_visible()
    assert states(admin, sold) == after


def test_offer_that_a_member_declined_meanwhile_is_explained(
    boss: Boss, sold: str, bidders: list[Client], admin: Client
) -> None:
    boss.go(sold).press(f"Paid: {username_of(bidders[0])}")
    [offer] = bidders[0].get("/api/offers").json
    assert bidders[0].put(f"/api/offers/{offer['offer_id']}/decline").status == 200
    boss.confirm("Paid")
    expect(boss.page.locator(".said.problem")).to_contain_text("declined")
    assert states(admin, sold)[1] == "declined"
    assert "409" in "".join(boss.visitor.forgive())


def test_offers_are_filtered_by_state(boss: Boss, sold: str, bidders: list[Client]) -> None:
    boss.go(sold).press(f"Paid: {username_of(bidders[0])}")
    boss.confirm("Paid")
    boss.page.get_by_label("Status").select_option("Paid")
    expect(boss.page.locator(".rows li")).to_have_count(1)
    expect(boss.page.locator(".rows li")).to_contain_text(username_of(bidders[0]))


def test_nobody_is_next_when_all_were_offered_an_item(
    boss: Boss, admin: Client, new_session: NewSession, bidders: list[Client]
) -> None:
    boss.go(sell(admin, new_session, bidders[:1]))
    expect(boss.page.get_by_text("Nobody is left in line.")).to_be_visible()


def test_nobody_is_next_after_the_last_offers(boss: Boss, sold: str) -> None:
    def be_over(route: Route) -> None:
        response = route.fetch()
        session = {**response.json(), "offers_end": "2020-01-31T18:00:00+00:00"}
        route.fulfill(response=response, json=session)

    boss.page.route(f"**/api/sessions/{sold}", be_over)
    boss.go(sold)
    expect(boss.page.get_by_text("No item is offered again")).to_be_visible()
    expect(boss.page.get_by_text("Next in line")).to_have_count(0)


def test_results_are_downloaded_at_once(boss: Boss, sold: str, bidders: list[Client]) -> None:
    with boss.go(sold).page.expect_download() as download:
        boss.press("Results (CSV)")
    assert download.value.suggested_filename == f"results-{sold}.csv"
    ranked = [row["username"] for row in rows(download.value)]
    assert ranked == [username_of(bidder) for bidder in bidders]


def test_results_that_are_too_many_for_that_are_exported(
    boss: Boss, sold: str, bidders: list[Client]
) -> None:
    too_large = {"code": "results_too_large", "detail": "Too many rows."}
    boss.page.route(RESULTS_CSV, lambda route: route.fulfill(status=409, json=too_large))
    with boss.go(sold).page.expect_download() as download:
        boss.press("Results (CSV)")
    ranked = [row["username"] for row in rows(download.value)]
    assert ranked == [username_of(bidder) for bidder in bidders]
    assert "sequence" in rows(download.value)[0]  # as only the export has it
    assert "409" in "".join(boss.visitor.forgive())


def test_export_shows_its_progress_until_the_file_is_there(
    boss: Boss, sold: str, bidders: list[Client]
) -> None:
    polls: list[Route] = []
    boss.page.route(EXPORT, lambda route: polls.append(route), times=1)  # noqa: PLW0108
    boss.go(sold).press("Offers with addresses (CSV)")
    held = first(polls, boss.visitor)
    expect(boss.page.get_by_text("The file is waiting for its turn …")).to_be_visible()
    with boss.page.expect_download() as download:
        held.continue_()
    assert {row["email"] for row in rows(download.value)} == {
        f"{username_of(bidder)}@example.com" for bidder in bidders[:2]
    }
    expect(boss.page.get_by_text("is downloaded.")).to_be_visible()


def test_export_that_failed_says_why(boss: Boss, sold: str) -> None:
    failed = {"state": "failed", "error": "The disk is full.", "export_id": sold}
    boss.page.route(EXPORT, lambda route: route.fulfill(json=failed))
    boss.go(sold).press("All bids (CSV)")
    expect(boss.page.get_by_text("The disk is full.")).to_be_visible()
