"""The client: one method for each thing that members, admins and programs of the shop do."""

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID, uuid4

import httpx

from flashbid_client import watching
from flashbid_client.errors import Refused
from flashbid_client.models import (
    Account,
    AccountWithToken,
    Board,
    FinalResults,
    NewProductAndSession,
    Notification,
    Offer,
    OwnBid,
    OwnOffer,
    PlacedBid,
    Results,
    Session,
    Standing,
)
from flashbid_client.sending import Call, Sender, parsed

T = TypeVar("T")
Id = UUID | str
_PAGE_SIZE = 100
_RESULTS_POLL_SECONDS = 1.0


class Flashbid:
    """Calls the API at `base_url`, with a member's token or an API key if there is one.

    Calls raise Refused and Unreachable. Those that are safe to repeat are repeated for
    `patience_seconds` while the service is away or asks to wait. Threads may share a client.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout_seconds: float = 10.0,
        patience_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._sender = Sender(
            self._base_url,
            timeout_seconds=timeout_seconds,
            patience_seconds=patience_seconds,
            transport=transport,
        )
        self._sender.token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()

    # Accounts

    def register(self, username: str, email: str, password: str) -> AccountWithToken:
        """Create an account; the client acts for it from now on."""
        body = {"username": username, "email": email, "password": password}
        return self._sign_in("/api/auth/register", body)

    def login(self, username: str, password: str) -> AccountWithToken:
        """Act for this account from now on."""
        return self._sign_in("/api/auth/login", {"username": username, "password": password})

    def logout(self) -> None:
        """Have the token refused from now on, and forget it."""
        self.call("POST", "/api/auth/logout")
        self._sender.token = None

    def account(self) -> Account:
        """The account that the client acts for."""
        return self.call("GET", "/api/auth/me", Account)

    # Members

    def place_bid(
        self, session_id: Id, price: Decimal | str | float, *, only_if_better: bool = False
    ) -> PlacedBid:
        """Place a bid, again if no answer comes: the same price never counts twice.

        With `only_if_better`, Refused with `score_would_drop` leaves a standing bid that
        scores more: a new price is scored at its own, later time.
        """
        body = {"session_id": str(session_id), "price": Decimal(str(price))}
        if only_if_better:
            body["only_if_better"] = True
        bid = Call(method="POST", path="/api/bid", body=body, is_repeatable=True)
        return self._send(bid, PlacedBid)

    def bids(self, session_id: Id | None = None) -> Iterator[OwnBid]:
        """The member's own bids, newest first."""
        params = {"session_id": str(session_id)} if session_id else {}
        return self.pages("/api/bids/me", OwnBid, params)

    def standing(self, session_id: Id) -> Standing:
        """The member's place. Refused with `no_bid` if there is none."""
        return self.call("GET", f"/api/leaderboard/{session_id}/me", Standing)

    def notifications(self, *, unread: bool = False) -> Iterator[Notification]:
        """The member's messages, newest first."""
        params = {"unread": "true"} if unread else {}
        return self.pages("/api/notifications", Notification, params)

    def offers(self) -> Iterator[OwnOffer]:
        """The items that the member may buy, newest first."""
        return self.pages("/api/offers", OwnOffer)

    # Anybody

    def sessions(self, status: str | None = None) -> Iterator[Session]:
        """All sessions, newest start first."""
        return self.pages("/api/sessions", Session, {"status": status} if status else {})

    def session(self, session_id: Id) -> Session:
        """One session."""
        return self.call("GET", f"/api/sessions/{session_id}", Session)

    def board(self, session_id: Id, page: int = 1) -> Board:
        """A page of the board."""
        return self.call("GET", f"/api/leaderboard/{session_id}", Board, params={"page": page})

    def results(self, session_id: Id, page: int = 1) -> Results:
        """Winners and a page of ranks. Refused with `session_not_ended` before the end."""
        return self.call("GET", f"/api/results/{session_id}", Results, params={"page": page})

    def wait_for_results(self, session_id: Id, timeout_seconds: float = 60.0) -> Results:
        """The results, once they are final. Raises as `results` does when the time is over."""
        give_up_at = time.monotonic() + timeout_seconds
        while True:
            try:
                return self.results(session_id)
            except Refused as refused:
                if refused.code != "session_not_ended" or time.monotonic() > give_up_at:
                    raise
            time.sleep(_RESULTS_POLL_SECONDS)

    def watch(self, session_id: Id) -> Iterator[Board | FinalResults]:
        """The board whenever it changes, then the results. Connects again when cut off.

        Ends after the results, or after the empty board of a cancelled session.
        """
        scheme, _, host = self._base_url.partition("://")
        url = f"{'wss' if scheme == 'https' else 'ws'}://{host}/ws/{session_id}"
        try:
            yield from watching.frames(url)
        except watching.SessionGone:
            self.session(session_id)
            raise

    # Admins and programs of the shop

    def create_session(self, sale: NewProductAndSession) -> Session:
        """Create a product and its session, once, however often it has to be sent."""
        call = Call(
            method="POST",
            path="/api/admin/sessions/combined",
            body=sale,
            headers={"Idempotency-Key": str(uuid4())},
            is_repeatable=True,
        )
        return self._send(call, Session)

    def close_session(self, session_id: Id) -> Session:
        """End a session now; the results follow."""
        return self.call("PUT", f"/api/admin/sessions/{session_id}/close", Session)

    def session_offers(self, session_id: Id) -> Iterator[Offer]:
        """A session's offers by rank."""
        return self.pages(f"/api/admin/sessions/{session_id}/offers", Offer)

    def mark_paid(self, session_id: Id, offer_id: Id) -> Offer:
        """Sell the item. Refused with `offer_expired` if it is too late."""
        return self.call("PUT", f"/api/admin/sessions/{session_id}/offers/{offer_id}/paid", Offer)

    # Everything else

    def call(
        self,
        method: str,
        path: str,
        kind: type[T] | None = None,
        *,
        body: object = None,
        params: Mapping[str, Any] | None = None,
    ) -> T:
        """Any operation of the API. `kind`: a type of `flashbid_client.models`, None without an
        answer. GET, PUT and DELETE are safe to repeat.
        """
        repeatable = method in {"GET", "PUT", "DELETE"}
        call = Call(method=method, path=path, body=body, params=params, is_repeatable=repeatable)
        return self._send(call, kind)

    def pages(
        self, path: str, kind: type[T], params: Mapping[str, Any] | None = None
    ) -> Iterator[T]:
        """The items of all pages of a list."""
        page, read, total = 1, 0, 1
        while read < total:
            query = {**(params or {}), "page": page, "page_size": _PAGE_SIZE}
            call = Call(method="GET", path=path, params=query, is_repeatable=True)
            response = self._sender.send(call)
            items = parsed(response, list[kind])  # type: ignore[valid-type]
            yield from items
            if not items:
                return
            page, read = page + 1, read + len(items)
            total = int(response.headers.get("X-Total-Count", read))

    def _send(self, call: Call, kind: type[T] | None) -> T:
        response = self._sender.send(call)
        return parsed(response, kind) if kind else None  # type: ignore[return-value]

    def _sign_in(self, path: str, body: Mapping[str, str]) -> AccountWithToken:
        account = self.call("POST", path, AccountWithToken, body=body)
        self._sender.token = account.token
        return account
