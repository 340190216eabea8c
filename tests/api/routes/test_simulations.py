"""Simulations by API and command line: the same figures, and what they refuse."""

import json
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result
from flask import Flask

from tests.api.conftest import CheckedClient
from tests.support.factories import Shop

PATH = "/api/admin/simulations"


def simulate(app: Flask, *arguments: str) -> Result:
    with app.app_context():
        return app.test_cli_runner().invoke(args=["simulate", *arguments])


def test_a_crowd_is_simulated_by_the_usual_terms(admin: CheckedClient) -> None:
    found = admin.post(PATH, json={}).json
    assert found["terms"] == {
        "alpha": 0.5,
        "beta": 1000.0,
        "gamma": 2.0,
        "upset_price": 100.0,
        "inventory": 5,
    }
    assert (found["runs"], found["bids"], found["winners"]) == (20, 10_000, 100)
    assert found["second_worth"][0] == {"response_time": 0.0, "worth": 1000.0}
    assert found["loyalty_worth"] == 16.0
    assert len(found["places"]) == 500


def test_a_past_session_is_simulated_under_other_terms(admin: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    for price in ("120", "150", "130"):
        shop.bid(shop.bidder(), session, price)
    shop.close(session)
    sent = {"session_id": str(session.session_id), "alpha": 1, "beta": 0, "gamma": 0}
    found = admin.post(PATH, json=sent).json
    assert [place["price"] for place in found["places"]] == [150.0, 130.0, 120.0]
    assert (found["runs"], found["terms"]["inventory"]) == (1, 3)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"bidders": 20_001}, "bidders"),
        ({"bidders": 20_000, "runs": 2}, "runs"),
        ({"bidders": 0}, "bidders"),
        ({"bidders": "5"}, "bidders"),
        ({"late_share": 1.1}, "late_share"),
        ({"lowest_price": 300.01}, "highest_price"),
        ({"largest_weight": 0.9}, "largest_weight"),
        ({"duration_minutes": 0}, "duration_minutes"),
        ({"alpha": -1}, "alpha"),
        ({"beta": 1e15}, "beta"),
        ({"upset_price": 0.001}, "upset_price"),
        ({"session_id": "x"}, "session_id"),
    ],
)
def test_bad_input_is_refused(admin: CheckedClient, sent: dict[str, Any], field: str) -> None:
    refused = admin.post(PATH, json=sent)
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    assert list(refused.json["errors"]) == [field]


def test_only_past_sessions_are_simulated(admin: CheckedClient, shop: Shop) -> None:
    refused = admin.post(PATH, json={"session_id": str(shop.session().session_id)})
    assert (refused.status_code, refused.json["code"]) == (409, "session_not_ended")
    refused = admin.post(PATH, json={"session_id": str(uuid4())})
    assert (refused.status_code, refused.json["code"]) == (404, "session_not_found")


def test_members_simulate_nothing(member: CheckedClient) -> None:
    assert member.post(PATH, json={}).status_code == 403


def test_the_command_says_what_the_api_says(app: Flask, admin: CheckedClient) -> None:
    sent = {"beta": 30, "bidders": 40, "upset_price": 150.5, "inventory": 3, "seed": 7}
    options = [
        part for name, value in sent.items() for part in (f"--{name}".replace("_", "-"), str(value))
    ]
    done = simulate(app, *options, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == admin.post(PATH, json=sent).json
    shown = simulate(app, *options)
    assert "Score = 0.5 * price + 30 / (seconds + 1) + 2 * weight; 3 items from 150.50 on" in (
        shown.stdout
    )
    assert "runs in which a loser bid more than every winner" in shown.stdout


def test_the_command_refuses_what_the_api_refuses(app: Flask, shop: Shop) -> None:
    for arguments, code, said in (
        (("--bidders", "0"), 1, "bidders: Must be"),
        (("--bidders", "many"), 2, "is not a number"),
        (("--session", str(shop.session().session_id)), 1, "has not ended yet"),
        (("--session", str(uuid4())), 2, "No session has the id"),
    ):
        done = simulate(app, *arguments)
        assert done.exit_code == code, done.output
        assert said in done.stderr
