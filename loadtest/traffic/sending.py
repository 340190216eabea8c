"""Bids as requests, and the ledger entries of their responses."""

import asyncio
import time
from decimal import Decimal

from loadtest.ledger import ledger
from loadtest.ledger.ledger import Attempt, Timing
from loadtest.sale.members import MemberToken
from loadtest.traffic.connection import Connection, Target

PATH = "/api/bid"
# The wall clock when this process started; it may jump, so all moments count from here.
_STARTED_AT = time.time() - time.perf_counter()


def now() -> float:
    """Seconds since 1970, by a clock that never jumps."""
    return _STARTED_AT + time.perf_counter()


def bid_request(
    session_id: str, member: MemberToken, price: Decimal, *, only_if_better: bool = False
) -> tuple[str, dict[str, str]]:
    """A bid's body and headers."""
    headers = {"Authorization": f"Bearer {member.token}", "Content-Type": "application/json"}
    flag = ', "only_if_better": true' if only_if_better else ""
    return f'{{"session_id": "{session_id}", "price": {price}{flag}}}', headers


class Sender:
    """Sends members' bids in one session to one service."""

    def __init__(self, target: Target, session_id: str) -> None:
        self._head, self._session_id = target.head("POST", PATH), session_id

    async def send(
        self,
        connection: Connection,
        member: MemberToken,
        price: Decimal,
        intended_at: float | None = None,
    ) -> Attempt:
        """Send a bid and wait for its response. Cancelled meanwhile, it is abandoned.

        `intended_at` is when it was due; now, if not given.
        """
        sent_at = now()
        due_at = sent_at if intended_at is None else intended_at
        try:
            response = await connection.request(self._encode(member, price))
        except (OSError, asyncio.CancelledError) as error:
            is_failure = isinstance(error, OSError)
            kind = ledger.failure(error) if is_failure else ledger.ABANDONED
            return ledger.unanswered(member.user_id, price, Timing(due_at, sent_at, now()), kind)
        timing = Timing(due_at, sent_at, now())
        return ledger.answered(member.user_id, price, timing, response.status, response.body)

    def _encode(self, member: MemberToken, price: Decimal) -> bytes:
        body, headers = bid_request(self._session_id, member, price)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (
            self._head,
            lines.encode(),
            len(body),
            body.encode(),
        )
