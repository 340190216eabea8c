"""Recomputes what members pay, without the product's bisection: it starts where the formula solved
for the price points to, and walks cent by cent.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from loadtest.ledger.stored_state import BidRow, SessionRow, StoredState


def wrong_prices(stored: StoredState, ranked: Sequence[BidRow]) -> Iterator[str]:
    """Prices to pay that differ; `ranked`: the standing bids, best first."""
    for rank, bid in enumerate(ranked, 1):
        found = stored.prices_to_pay.get(rank)
        if found is None and rank > stored.session.inventory:
            continue
        rival = ranked[max(rank, stored.session.inventory) :][:1]
        expected = _price(stored.session, bid, rival[0]) if rival else _lowest(stored.session, bid)
        if found != expected:
            yield f"rank {rank} pays {found}, recomputed {expected}"


def _lowest(session: SessionRow, bid: BidRow) -> Decimal:
    return bid.price if session.pricing == "pay_as_bid" else session.upset_price


def _price(session: SessionRow, bid: BidRow, rival: BidRow) -> Decimal:
    if session.pricing == "pay_as_bid" or session.alpha == 0:
        return _lowest(session, bid)
    surplus = (bid.score - rival.score) / session.alpha
    start, own = round(session.upset_price * 100), round(bid.price * 100)
    cent = min(max(own - round(surplus * 100), start), own)
    while cent < own and not _wins(session, bid, cent, rival):
        cent += 1
    while cent > start and _wins(session, bid, cent - 1, rival):
        cent -= 1
    return Decimal(cent) / 100


def _wins(session: SessionRow, bid: BidRow, cent: int, rival: BidRow) -> bool:
    score = session.alpha * float(Decimal(cent) / 100)
    score += session.beta / (bid.response_time + 1)
    score += session.gamma * bid.weight
    return score > rival.score or (score == rival.score and bid.sequence < rival.sequence)
