"""Members who bid all the time, whatever happens to the service meanwhile."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from threading import Event, Thread

from dev.stack import wait_until
from tests.support.http.client import Answer, Client

PAUSE_SECONDS = 0.02
RATE_LIMIT_PAUSE_SECONDS = 0.2
GOES_ON_BIDS = 80

# A bid as `bids` keeps it: user, price and score.
Row = tuple[str, Decimal, float]


class Crowd:
    """Notes every bid that was acknowledged, a replayed one too, by its sequence."""

    def __init__(self, bidders: list[Client], session_id: str) -> None:
        self.bidders, self.session_id = bidders, session_id
        self._is_over = Event()
        self._acknowledged: list[dict[int, Row]] = [{} for _ in bidders]
        self._refused: list[Answer] = []

    @contextmanager
    def bidding(self) -> Iterator[None]:
        threads = [
            Thread(target=self._bid, args=(bidder, acknowledged))
            for bidder, acknowledged in zip(self.bidders, self._acknowledged, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def acknowledged(self) -> dict[int, Row]:
        assert self._refused == []
        return {number: row for own in self._acknowledged for number, row in own.copy().items()}

    def goes_on(self) -> bool:
        """Whether further bids are acknowledged within some seconds."""
        count = len(self.acknowledged())
        return wait_until(lambda: len(self.acknowledged()) >= count + GOES_ON_BIDS, 10)

    def _bid(self, bidder: Client, acknowledged: dict[int, Row]) -> None:
        price = 100
        while not self._is_over.is_set():
            price += 1
            answer = bidder.bid_until_answered(self.session_id, price)
            if answer.status == 200:
                row = (bidder.user_id, Decimal(price), answer.json["score"])
                acknowledged[answer.json["sequence"]] = row
            elif answer.status == 429:
                time.sleep(RATE_LIMIT_PAUSE_SECONDS)
            else:
                self._refused.append(answer)
            time.sleep(PAUSE_SECONDS)
