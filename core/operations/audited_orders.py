"""Checks offers, and recomputes prices to pay from the rankings alone: bids may be archived."""

from collections.abc import Iterator, Mapping, Sequence

from core.postgres.models import BiddingSession, Offer, Ranking
from core.rules.pricing import OrderTerms, RankedBid, price_to_pay, rival_rank
from core.rules.scoring import is_winning, score, terms_of


def wrong_offers(
    session: BiddingSession, rankings: Sequence[Ranking], offers: Sequence[Offer]
) -> Iterator[str]:
    """No more items are taken than there are, and each offer is of a rank of this session."""
    taken = [offer.place for offer in offers if offer.state in ("open", "paid")]
    if len(taken) > session.inventory:
        yield f"{len(taken)} offers are open or paid for {session.inventory} items"
    if len(set(taken)) < len(taken) or max(taken, default=0) > session.inventory:
        yield f"the places {sorted(taken)} are not of {session.inventory} different items"
    ranked = {(row.rank, row.user_id) for row in rankings}
    for offer in offers:
        if (offer.rank, offer.user_id) not in ranked:
            yield f"the offer at rank {offer.rank} is not that rank's member's"


def wrong_prices(session: BiddingSession, rankings: Sequence[Ranking]) -> Iterator[str]:
    """A sentence for each rank whose price to pay is not the recomputed one."""
    if all(row.response_time is None for row in rankings):
        # Written by a version that knew no prices to pay.
        return
    terms = OrderTerms(**terms_of(session, OrderTerms))
    bids = {row.rank: _bid(row) for row in rankings}
    yield from _wrong_scores(terms, bids)
    for row in rankings:
        if row.price_to_pay is None and not is_winning(row.rank, session.inventory):
            continue
        try:
            due = price_to_pay(
                terms, bids[row.rank], bids.get(rival_rank(row.rank, session.inventory))
            )
        except AssertionError as error:
            yield f"rank {row.rank} has no price: {error}"
        else:
            if row.price_to_pay != due:
                yield f"rank {row.rank} pays {row.price_to_pay}, recomputed: {due}"


def _wrong_scores(terms: OrderTerms, bids: Mapping[int, RankedBid]) -> Iterator[str]:
    for rank, bid in bids.items():
        scored = score(terms, bid.price, bid.response_time, bid.weight)
        if scored != bid.score:
            yield f"rank {rank} keeps terms that score {scored!r}, not {bid.score!r}"


def _bid(row: Ranking) -> RankedBid:
    response_time, weight = row.response_time or 0.0, row.weight or 0.0
    return RankedBid(row.sequence, row.price, row.score, response_time, weight)
