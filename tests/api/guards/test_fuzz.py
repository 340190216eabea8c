"""Requests that nobody thought of, made from the served OpenAPI document by schemathesis.

All its checks: no 5xx, no undocumented status, answers as their schemas say, bad input
refused and good input accepted, but for what no schema can say: a session's times, which
the clock judges, coefficients that are good one by one only, and what Unicode says of names,
addresses and passwords.
Generated ids meet a real session and product half of the time. FUZZ_EXAMPLES, requests
per operation and role, makes a run longer.
"""

import os
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from core.members.accounts import Account
from tests.support.factories import Shop
from web.guards import tokens

_PRICES = {"price", "upset_price", "lowest_price", "highest_price"}
_RULED_BY_WORDS = {
    *("start_time", "duration_minutes", "end_time", "offers_end", "url", "image_url"),
    *("username", "email", "password", "name"),
    *("runs", "highest_price"),
}
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))


class Caller:
    """Sends requests of one role at a shop with something in it."""

    def __init__(self, role: str, app: Flask, shop: Shop) -> None:
        self._app = app
        # The first account is the admin.
        accounts: dict[str, Account | None] = {"admin": shop.account(), "member": shop.account()}
        self._account = accounts.get(role)
        session = shop.session(upset_price=Decimal("0.01"))
        shop.bid(shop.bidder(), session, "120")
        self._real = {"session_id": session.session_id, "product_id": session.product_id}

    def send(self, case: schemathesis.Case) -> None:
        """Send one request and hold the answer against the document."""
        for part in (case.path_parameters, case.query, case.body):
            self._aim(part)
        if case.meta is None or case.meta.generation.mode.is_positive:
            _round_prices(case.body)
        headers = self._headers()
        response = case.call(headers=headers)
        excluded = [positive_data_acceptance] if _refused_by_words(response) else []
        case.validate_response(response, headers=headers, excluded_checks=excluded)

    def _headers(self) -> dict[str, str]:
        """A new token for each request: one of them is logged out."""
        if self._account is None:
            return {}
        with self._app.app_context():
            token = tokens.issue(self._account)["token"]
        return {"Authorization": f"Bearer {token}"}

    def _aim(self, part: Any) -> None:
        """Let half of the well-formed ids be those of what there is."""
        if not isinstance(part, dict):
            return
        for name, real in self._real.items():
            if name in part and _is_even_id(part[name]):
                part[name] = str(real)


def _round_prices(body: Any) -> None:
    """To cents, which the document says in words alone (see web/routes/documents/openapi.py)."""
    if isinstance(body, dict):
        for name in _PRICES & body.keys():
            if isinstance(body[name], float):
                body[name] = round(body[name], 2)


def _refused_by_words(response: schemathesis.Response) -> bool:
    """Whether a rule refused it that the document has in words alone.

    No schema can say that a session must end after now and begin within ten years, that offers
    must end after it, how much may be simulated at once, which URLs receive webhooks or have
    pictures, that its scores must tell cents, which characters are invisible, unassigned or of one
    script, or that a request has to be a WebSocket's handshake.
    """
    if response.status_code == HTTPStatus.UPGRADE_REQUIRED:
        return True
    if response.status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
        return False
    refused = response.json().get("errors", {})
    return bool(refused) and all(
        field in _RULED_BY_WORDS or "one cent apart" in str(messages)
        for field, messages in refused.items()
    )


def _is_even_id(value: Any) -> bool:
    try:
        return UUID(value).int % 2 == 0
    except (ValueError, AttributeError, TypeError):
        return False


def fuzz(operation: APIOperation, caller: Caller) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def send(case: schemathesis.Case) -> None:
        caller.send(case)

    send()


@pytest.mark.parametrize("role", ["nobody", "member", "admin"])
def test_every_answer_is_as_documented(role: str, app: Flask, shop: Shop) -> None:
    document = schemathesis.openapi.from_wsgi("/openapi.json", app)
    caller = Caller(role, app, shop)
    failures = []
    for found in document.get_all_operations():
        operation = found.ok()
        try:
            fuzz(operation, caller)
        except BaseExceptionGroup as group:
            failures += [f"{operation.label}: {error}" for error in group.exceptions]
    assert not failures, "\n\n".join(failures)
