"""A shop that sells one thing after the other to a small crowd, over the API."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from itertools import cycle
from random import SystemRandom
from secrets import token_urlsafe

from flashbid_client import Flashbid, FlashbidError
from flashbid_client.models import NewProductAndSession, Session

ADMIN = "admin"
MINUTES = 3.0
# Name, description, starting price and items.
PRODUCTS = (
    ("Espresso machine, brushed steel", "Two boilers, new in the box.", 240, 3),
    ("Trail bike, size M", "Last year's model, hardly ridden in.", 620, 2),
    ("Noise-cancelling headphones", "Thirty hours of battery.", 110, 5),
    ("Desk lamp, oak and brass", "2700 K, can be dimmed.", 45, 6),
    ("Instant camera", "With two packs of film.", 80, 4),
    ("Cast-iron pan, 28 cm", "Seasoned, for every stove.", 30, 8),
)
NAMES = (
    *("moka-pot", "early-bird", "bean-counter", "last-second", "decaf", "tea-drinker"),
    *("night-owl", "penny-wise", "two-left-feet", "quiet-storm", "paper-plane", "old-oak"),
)
# Of the starting price: how much more a member would pay at most.
MOST_MARKUP = 0.8
# How often a bid comes from the whole crowd.
PAUSE_SECONDS = (0.3, 1.5)
# A stop must not wait for a service that is away.
PATIENCE_SECONDS = 2.0
PAYING_SHARE = 0.7


class Shop:
    """The admin and the members of one demo, each with a random password."""

    def __init__(self, url: str) -> None:
        self.password = token_urlsafe(9)
        self._open = ExitStack()
        # The first account of an empty shop is the admin.
        self._admin = self._member(url, ADMIN, self.password)
        self._crowd = [self._member(url, name, token_urlsafe(9)) for name in NAMES]
        self._chance = SystemRandom()

    def close(self) -> None:
        """Close all connections."""
        self._open.close()

    def sell(self, is_over: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Sell one product after the other until it is over."""
        for sale in self._sales():
            end = datetime.fromisoformat(sale.end_time)
            say(f"Selling {sale.inventory} of {sale.name!r} until {end.astimezone():%H:%M:%S}.")
            while time.time() < end.timestamp() and not is_over():
                self._bid(sale)
                time.sleep(self._chance.uniform(*PAUSE_SECONDS))
            if is_over():
                return
            with suppress(FlashbidError):
                self._settle(sale)

    def _sales(self) -> Iterator[Session]:
        for name, description, price, items in cycle(PRODUCTS):
            yield self._admin.create_session(
                NewProductAndSession(
                    name=name,
                    description=description,
                    upset_price=price,
                    inventory=items,
                    # Speed is worth a part of the price, so that not only the first bids win.
                    beta=price / 10,
                    duration_minutes=MINUTES,
                )
            )

    def _bid(self, sale: Session) -> None:
        """A bid of anybody; most of those that would not help are refused, as members' are."""
        markup = self._chance.triangular(0, MOST_MARKUP, 0)
        price = f"{sale.upset_price * (1 + markup):.2f}"
        with suppress(FlashbidError):
            self._chance.choice(self._crowd).place_bid(sale.session_id, price, only_if_better=True)

    def _settle(self, sale: Session) -> None:
        """Most winners pay."""
        self._admin.wait_for_results(sale.session_id)
        for offer in self._admin.session_offers(sale.session_id):
            if self._chance.random() < PAYING_SHARE:
                self._admin.mark_paid(sale.session_id, offer.offer_id)

    def _member(self, url: str, name: str, password: str) -> Flashbid:
        client = self._open.enter_context(Flashbid(url, patience_seconds=PATIENCE_SECONDS))
        client.register(name, f"{name}@example.com", password)
        return client
