"""Pictures of products: what the API takes, and what the page may load."""

from dataclasses import replace
from typing import Any

import pytest

from core.bootstrap import Services
from core.rules.images import ImageHosts
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from web import create_app

LAMP = "https://images.shop.example/lamp.jpg"
TERMS = {"name": "Lamp", "upset_price": 100, "inventory": 1}
BAD = [
    "https://evil.example/lamp.jpg",
    "http://images.shop.example/lamp.jpg",
    "https://IMAGES.shop.example/lamp.jpg",
    "https://images.shop.example./lamp.jpg",
    "https://images.shop.example:443/lamp.jpg",
    "https://images.shop.example@evil.example/lamp.jpg",
    "https://images。shop。example/lamp.jpg",
    "javascript:alert(1)",
    "",
    f"{LAMP}?{'x' * 2000}",
    7,
    [LAMP],
]


def combined(admin: CheckedClient, **changes: Any) -> Any:
    return admin.post("/api/admin/sessions/combined", json=TERMS | changes)


def test_a_picture_is_shown_with_the_product_and_its_sessions(
    admin: CheckedClient, anyone: CheckedClient
) -> None:
    product = admin.post("/api/admin/products", json={"name": "Lamp", "image_url": LAMP}).json
    terms = {"product_id": product["product_id"], "upset_price": 100, "inventory": 1}
    session = admin.post("/api/admin/sessions", json=terms).json
    assert product["image_url"] == session["image_url"] == LAMP
    assert admin.get("/api/admin/products").json[0]["image_url"] == LAMP
    assert anyone.get(f"/api/sessions/{session['session_id']}").json["image_url"] == LAMP
    assert anyone.get("/api/sessions/active").json[0]["image_url"] == LAMP


@pytest.mark.parametrize("body", [{}, {"image_url": None}])
def test_a_product_needs_no_picture(admin: CheckedClient, body: dict[str, None]) -> None:
    assert combined(admin, **body).json["image_url"] is None


def test_a_picture_can_be_changed_and_taken_away_while_the_session_runs(
    admin: CheckedClient,
) -> None:
    session = combined(admin).json
    path, version = f"/api/admin/sessions/{session['session_id']}", session["version"]
    changed = admin.patch(path, json={"version": version, "image_url": LAMP}).json
    assert (changed["image_url"], changed["version"]) == (LAMP, version + 1)
    gone = admin.patch(path, json={"version": version + 1, "image_url": None}).json
    assert gone["image_url"] is None


@pytest.mark.parametrize("url", BAD)
def test_a_picture_elsewhere_is_refused_and_changes_nothing(
    admin: CheckedClient, shop: Shop, url: Any
) -> None:
    session = combined(admin, image_url=LAMP).json
    path, version = f"/api/admin/sessions/{session['session_id']}", session["version"]
    for answer in (
        admin.post("/api/admin/products", json={"name": "Lamp", "image_url": url}),
        combined(admin, image_url=url),
        admin.patch(path, json={"version": version, "image_url": url}),
    ):
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        assert list(answer.json["errors"]) == ["image_url"]
    assert shop.rows("SELECT image_url FROM products") == [(LAMP,)]


def test_the_refusal_says_where_pictures_may_be(admin: CheckedClient) -> None:
    [sentence] = combined(admin, image_url="https://evil.example/").json["errors"]["image_url"]
    assert "https://images.shop.example/" in sentence
    assert "IMAGE_HOSTS" in sentence


@pytest.mark.parametrize(
    ("names", "images"),
    [
        ((), "img-src 'self';"),
        (("a.example", "b.example"), "img-src 'self' https://a.example https://b.example;"),
    ],
)
def test_the_page_loads_pictures_from_these_hosts_alone(
    services: Services, names: tuple[str, ...], images: str
) -> None:
    settings = replace(services.settings, image_hosts=ImageHosts(names))
    app = create_app(services=replace(services, settings=settings))
    with app.test_client().get("/") as page:
        policy = page.headers["Content-Security-Policy"]
    assert images in policy
    assert policy.count("https:") == len(names)
