"""Fan-outs at one instant."""

from uuid import uuid4

from core.postgres.models import ShopEvent, WebhookEndpoint
from tests.support.factories import Shop
from tests.support.racing import of, together

EVENTS = 2500
ENDPOINTS = 2
FAN_OUTS = 6


def test_fan_outs_at_one_instant_write_each_delivery_once(shop: Shop) -> None:
    with shop.services.database.begin() as db:
        db.add_all(
            WebhookEndpoint(url=f"https://{name}/", secret="whsec_", events=["offer.paid"])
            for name in range(ENDPOINTS)
        )
        db.add_all(
            ShopEvent(event="offer.paid", subject_id=uuid4(), data={}) for _ in range(EVENTS)
        )
    fan_out = shop.services.webhooks.fan_out
    outcomes = together(*[lambda: fan_out(seconds=60)] * FAN_OUTS)
    assert sum(of(int, outcomes)) == EVENTS
    assert shop.rows("SELECT count(*) FROM webhook_deliveries") == [(EVENTS * ENDPOINTS,)]
