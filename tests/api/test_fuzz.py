"""Requests that nobody thought of, made from the served OpenAPI document by schemathesis.

No 5xx, no undocumented status, answers as their schemas say, bad input refused. Left
out is that every schema-valid request is accepted: rules that a schema cannot state
refuse some. FUZZ_EXAMPLES, requests per operation and role, makes a run longer.
"""

import os

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.factories import Shop
from web import tokens

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))


def headers_of(role: str, app: Flask, shop: Shop) -> dict[str, str]:
    """What a caller of this role sends along. The first account is the admin."""
    admin, member = shop.account(), shop.account()
    if role == "nobody":
        return {}
    with app.app_context():
        token = tokens.issue(admin if role == "admin" else member)["token"]
    return {"Authorization": f"Bearer {token}"}


def fuzz(operation: APIOperation, headers: dict[str, str]) -> None:
    """Hold the answers to generated requests against the document."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def send(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    send()


@pytest.mark.parametrize("role", ["nobody", "member", "admin"])
def test_every_answer_is_as_documented(role: str, app: Flask, shop: Shop) -> None:
    document = schemathesis.openapi.from_wsgi("/openapi.json", app)
    headers = headers_of(role, app, shop)
    failures = []
    for found in document.get_all_operations():
        operation = found.ok()
        try:
            fuzz(operation, headers)
        except BaseExceptionGroup as group:
            failures += [f"{operation.label}: {error}" for error in group.exceptions]
    assert not failures, "\n\n".join(failures)
