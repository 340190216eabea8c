"""Finds the stored bid of an attempt in the ledger."""

from datetime import datetime

from loadtest.ledger.ledger import Attempt
from loadtest.ledger.stored_state import BidRow, StoredState


class StoredBids:
    """Finds the stored bid of an attempt."""

    def __init__(self, stored: StoredState) -> None:
        self._bids = {bid.sequence: bid for bid in stored.bids}
        self._moved = stored.moved

    def matching(self, attempt: Attempt) -> BidRow | None:
        """The bid at the answered sequence; if that was assigned twice, the member's."""
        answered = attempt.sequence or 0
        for sequence in self._moved.get(answered, ()):
            bid = self._bids.get(sequence)
            if bid and is_same_bid(bid, attempt):
                return bid
        return self._bids.get(answered)


def is_same_bid(bid: BidRow, attempt: Attempt) -> bool:
    """Whether the bid and the attempt have the same member and acceptance time."""
    return (bid.user_id, bid.accepted_at) == (attempt.user_id, moment(attempt.accepted_at))


def moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "")
