"""Sends one bid over a kept connection and returns its ledger entry."""

import time
from decimal import Decimal
from http.client import HTTPConnection, HTTPException

from loadtest.ledger import ledger
from loadtest.ledger.ledger import Attempt, Timing
from loadtest.sale.members import MemberToken

PATH = "/api/bid"


def bid_request(
    session_id: str, member: MemberToken, price: Decimal, *, only_if_better: bool = False
) -> tuple[str, dict[str, str]]:
    """A bid's body and headers."""
    headers = {"Authorization": f"Bearer {member.token}", "Content-Type": "application/json"}
    flag = ', "only_if_better": true' if only_if_better else ""
    return f'{{"session_id": "{session_id}", "price": {price}{flag}}}', headers


def send_bid(
    connection: HTTPConnection, session_id: str, member: MemberToken, price: Decimal
) -> Attempt:
    """Send a bid and wait for the response; a broken connection is closed."""
    sent_at = time.time()
    body, headers = bid_request(session_id, member, price)
    try:
        connection.request("POST", PATH, body=body, headers=headers)
        response = connection.getresponse()
        status, answer = response.status, response.read()
    except (OSError, HTTPException) as error:
        connection.close()
        timing = Timing(sent_at, sent_at, time.time())
        return ledger.unanswered(member.user_id, price, timing, ledger.failure(error))
    timing = Timing(sent_at, sent_at, time.time())
    return ledger.answered(member.user_id, price, timing, status, answer)
