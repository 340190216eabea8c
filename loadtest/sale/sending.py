"""One bid over a kept connection, as the ledger wants to know it."""

import json
import time
from decimal import Decimal
from http.client import HTTPConnection, HTTPException

from loadtest.ledger import ledger
from loadtest.ledger.ledger import Attempt, Timing
from loadtest.sale.members import MemberToken


def send_bid(
    connection: HTTPConnection, session_id: str, member: MemberToken, price: Decimal
) -> Attempt:
    """Send a bid and wait for its answer; a connection that broke is closed."""
    sent_at = time.time()
    body = json.dumps({"session_id": session_id, "price": float(price)})
    headers = {"Authorization": f"Bearer {member.token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/api/bid", body=body, headers=headers)
        response = connection.getresponse()
        status, answer = response.status, response.read()
    except (OSError, HTTPException) as error:
        connection.close()
        kind = ledger.TIMEOUT if isinstance(error, TimeoutError) else ledger.CONNECTION
        timing = Timing(sent_at, sent_at, time.time())
        return ledger.unanswered(member.user_id, price, timing, kind)
    timing = Timing(sent_at, sent_at, time.time())
    return ledger.answered(member.user_id, price, timing, status, answer)
