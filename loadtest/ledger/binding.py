"""Checks that bids bind: prices, scores and the highest bid that members rely on.

Each function yields one sentence per difference. A bid that was moved by a rewind of Redis is
not compared with the one before it: the board had lost that one.
"""

from collections.abc import Iterable, Iterator

from loadtest.ledger.ledger import ACCEPTED, Attempt
from loadtest.ledger.matching import StoredBids
from loadtest.ledger.stored_state import BidRow, StoredState


def lowered_prices(stored: StoredState) -> Iterator[str]:
    """Bids below the price that stood, in a session that does not allow them."""
    if stored.session.allow_lower_bids:
        return
    for before, bid in _replacements(stored):
        if bid.price < before.price:
            yield (
                f"bid {bid.sequence} of {bid.user_id} at {bid.price} is below the standing price "
                f"{before.price} of bid {before.sequence}"
            )


def bids_that_are_not_better(attempts: Iterable[Attempt], stored: StoredState) -> Iterator[str]:
    """Accepted bids that were sent with `only_if_better` and did not score more."""
    stored_bids = StoredBids(stored)
    before_bid = {bid.sequence: before for before, bid in _replacements(stored)}
    for attempt in attempts:
        if attempt.only_if_better and attempt.kind == ACCEPTED:
            bid = stored_bids.matching(attempt)
            before = bid and before_bid.get(bid.sequence)
            if bid and before and bid.score <= before.score:
                yield (
                    f"bid {bid.sequence} of {bid.user_id} had to be better, but scores "
                    f"{bid.score!r} after {before.score!r}"
                )


def wrong_highest_bids(stored: StoredState) -> Iterator[str]:
    """The highest bids that PostgreSQL and Redis show, where no such price stands."""
    standing = {bid.user_id: bid.price for bid in stored.bids}
    highest = max(standing.values(), default=None)
    shown = {"PostgreSQL": stored.session.highest_bid}
    if stored.board.exists:
        shown["Redis"] = stored.board.highest_bid
    for server, price in shown.items():
        if price != highest:
            yield f"the highest bid in {server} is {price}, but {highest} stands"


def _replacements(stored: StoredState) -> Iterator[tuple[BidRow, BidRow]]:
    """Each bid that replaced one of its member, after the one that it replaced."""
    moved = {sequence for sequences in stored.moved.values() for sequence in sequences}
    standing: dict[str, BidRow] = {}
    for bid in stored.bids:
        before = standing.get(bid.user_id)
        if before and bid.sequence not in moved:
            yield before, bid
        standing[bid.user_id] = bid
