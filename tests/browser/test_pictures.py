"""The pictures of the README, taken from a running sale.

    make test-browser ARGS="-k pictures"

leaves them in artifacts/pictures; PICTURES=docs/images replaces those of the README.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import expect

from core.bootstrap import Services
from core.config import PROJECT_ROOT
from tests.browser.visitor import Visitor
from tests.support.http.client import Client
from web.guards import tokens

FOLDER = PROJECT_ROOT / os.environ.get("PICTURES", "artifacts/pictures")
KEPT = PROJECT_ROOT / "docs" / "images"
SCHEMES = ("light", "dark")
WIDTH, HEIGHT = 1080, 640
MOST_BYTES = 150_000
PRICES = {
    "moka-pot": 310,
    "early-bird": 290,
    "bean-counter": 275,
    "last-second": 260,
    "decaf": 240,
    "tea-drinker": 215,
}
OWN = "bean-counter"


@pytest.fixture
def bidders(
    empty_shop: None, connect: Callable[..., Client], app: Flask, services: Services
) -> dict[str, Client]:
    """Members with the names that the pictures show."""
    clients = {}
    for name in ("shop", *PRICES):
        account = services.accounts.register(name, f"{name}@example.com", "secret-word")
        with app.app_context():
            token = tokens.issue(account)["token"]
        clients[name] = connect(token, str(account.user_id))
    return clients


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_pictures_show_a_running_sale(
    visit: Callable[..., Visitor], bidders: dict[str, Client], scheme: str
) -> None:
    session_id = _open_session(bidders["shop"])["session_id"]
    visitor = visit(
        bidders[OWN], color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT}
    ).watch(session_id)
    for name, price in PRICES.items():
        assert bidders[name].bid(session_id, price).status == 200
    expect(visitor.standing).to_contain_text("in 3rd place")
    expect(visitor.rows).to_have_count(len(PRICES))
    visitor.page.get_by_label("Your price").fill("300")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"board-{scheme}.png"
    visitor.page.screenshot(path=path)
    assert _size(path) == (WIDTH, HEIGHT)
    assert path.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_readme_has_pictures_of_this_size(scheme: str) -> None:
    path = KEPT / f"board-{scheme}.png"
    assert _size(path) == (WIDTH, HEIGHT)
    assert path.stat().st_size <= MOST_BYTES


def _open_session(shop: Client) -> dict[str, Any]:
    """Without a bonus for speed, so that the ranks follow the prices."""
    answer = shop.post(
        "/api/admin/sessions/combined",
        name="Espresso machine, brushed steel",
        description="Three of them, new in the box.",
        upset_price=200,
        inventory=3,
        beta=0,
        duration_minutes=9.5,
    )
    assert answer.status == 201, answer
    return answer.json


def _size(path: Path) -> tuple[int, int]:
    """Width and height, from a PNG's head."""
    return struct.unpack(">II", path.read_bytes()[16:24])
