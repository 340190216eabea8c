"""API.md and /openapi.json say the same, in both directions."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.api.conftest import CheckedClient
from tests.support.http.document import Document

# Fields of bodies: `?` may be left out. Fields of answers: all are always there.
ACCOUNT = "user_id username email is_admin weight created_at"
ACCOUNT_WITH_TOKEN = f"{ACCOUNT} token token_type expires_in"
PRODUCT = "product_id id name description created_at"
TERMS = (
    "upset_price inventory alpha? beta? gamma? allow_lower_bids? duration_minutes? start_time?"
    " pricing? offer_minutes? offers_end?"
)
SESSION = (
    "session_id product_id name description upset_price base_price inventory alpha beta gamma"
    " allow_lower_bids pricing offer_minutes offers_end currency start_time end_time"
    " status is_active final_price"
)
STATS = (
    "total_users total_products active_sessions total_bids sessions bids_accepted"
    " bids_persisted persist_backlog"
)
BID = (
    "status session_id sequence price score rank response_time user_weight is_winning"
    " accepted_at replayed message"
)
BOARD = (
    "session_id status provisional leaderboard highest_bid threshold_score page page_size"
    " total_count total_pages end_time server_time"
)
STANDING = "rank score price is_winner threshold_score total_count"
ENTRY = "rank user_id username price score is_winner"
RESULT_ENTRY = f"{ENTRY} price_to_pay"
RESULTS = (
    "session_id product_id inventory status start_time end_time closed_at currency"
    " final_price total_bidders total_winners winners rankings"
)
PAST_BID = "session_id sequence price score response_time user_weight accepted_at"
NOTIFICATION = (
    "notification_id kind session_id product_name rank price price_to_pay currency is_winner"
    " message created_at read_at"
)
CHANNEL = "channel is_on waiting given_up"
EMAIL_DELIVERY = (
    "delivery_id session_id user_id status attempts last_error created_at next_attempt_at"
    " delivered_at"
)
WEBHOOK_DELIVERY = (
    "delivery_id session_id event status attempts last_error created_at next_attempt_at"
    " delivered_at"
)
ADMIN_ACTION = "action_id created_at actor actor_id action details outcome"
HEALTH = "status database redis persist_backlog"
READINESS = "status"
PROBLEM = (
    "type title status detail code request_id errors? upset_price? standing_price? scope?"
    " score? standing_score?"
)

PAGE = "page? page_size?"
# API.md says that rankings are paged "likewise"; these fields say which page it is.
PAGE_FIELDS = "page page_size total_pages"

ANYWHERE = {"408 request_timeout", "431 bad_request", "500 internal_error"}
ANY = {"503 temporarily_unavailable", "503 overloaded"} | ANYWHERE
WITH_BODY = {
    "400 malformed_json",
    "413 body_too_large",
    "415 unsupported_media_type",
    "422 validation_failed",
}
WITH_QUERY = {"422 validation_failed"}
WITH_TOKEN = {
    "401 token_missing",
    "401 token_invalid",
    "401 token_expired",
    "401 token_revoked",
    "403 account_disabled",
    "403 scope_missing",
}
WITH_ADMIN = WITH_TOKEN | {"403 admin_required"}


@dataclass(frozen=True)
class Route:
    """One line of API.md. `codes` are those that its auth, body and query do not bring."""

    auth: str
    status: int
    answer: str = ""
    body: str = ""
    query: str = ""
    codes: str = ""
    headers: str = ""
    # Of admins, who are trusted, and of boards, which are kept, there is no limit.
    is_unlimited: bool = False

    @property
    def is_limited(self) -> bool:
        return self.auth != "admin" and not self.is_unlimited

    @property
    def all_codes(self) -> set[str]:
        return (
            ANY
            | {" ".join(pair) for pair in zip(*[iter(self.codes.split())] * 2, strict=True)}
            | (WITH_BODY if self.body else set())
            | (WITH_QUERY if self.query else set())
            | {"public": set(), "member": WITH_TOKEN, "admin": WITH_ADMIN}[self.auth]
            | ({"429 rate_limited"} if self.is_limited else set())
            | ({"422 idempotency_key_reused"} if self.is_repeatable else set())
        )

    @property
    def is_repeatable(self) -> bool:
        """Whether it takes an `Idempotency-Key`."""
        return (self.auth, self.status) == ("admin", 201)


NO_SESSION = "404 session_not_found"
CONTRACT = {
    "POST /api/auth/register": Route(
        "public",
        201,
        ACCOUNT_WITH_TOKEN,
        body="username email password",
        codes="409 username_taken 409 email_taken",
    ),
    "POST /api/auth/login": Route(
        "public",
        200,
        ACCOUNT_WITH_TOKEN,
        body="username password",
        codes="401 invalid_credentials 403 account_disabled",
    ),
    "GET /api/auth/me": Route("member", 200, ACCOUNT),
    "POST /api/auth/logout": Route("member", 204),
    "POST /api/admin/products": Route("admin", 201, PRODUCT, body="name description?"),
    "GET /api/admin/products": Route("admin", 200, PRODUCT),
    "POST /api/admin/sessions": Route(
        "admin", 201, SESSION, body=f"product_id {TERMS}", codes="404 product_not_found"
    ),
    "POST /api/admin/sessions/combined": Route(
        "admin", 201, SESSION, body=f"name description? {TERMS}"
    ),
    "PUT /api/admin/sessions/{session_id}/activate": Route(
        "admin", 200, SESSION, codes=f"{NO_SESSION} 409 session_ended"
    ),
    "PUT /api/admin/sessions/{session_id}/deactivate": Route(
        "admin", 200, SESSION, codes=f"{NO_SESSION} 409 session_ended"
    ),
    "PUT /api/admin/sessions/{session_id}/close": Route("admin", 202, SESSION, codes=NO_SESSION),
    "GET /api/admin/channels": Route("admin", 200, CHANNEL),
    "GET /api/admin/email-deliveries": Route(
        "admin", 200, EMAIL_DELIVERY, query=f"status? {PAGE}", headers="X-Total-Count"
    ),
    "GET /api/admin/webhook-deliveries": Route(
        "admin", 200, WEBHOOK_DELIVERY, query=f"status? {PAGE}", headers="X-Total-Count"
    ),
    "GET /api/admin/actions": Route(
        "admin", 200, ADMIN_ACTION, query=PAGE, headers="X-Total-Count"
    ),
    "GET /api/admin/stats": Route("admin", 200, STATS),
    "POST /api/bid": Route(
        "member",
        200,
        BID,
        body="session_id price only_if_better?",
        codes=f"{NO_SESSION} 409 session_not_started 409 session_inactive 409 session_ended"
        " 409 price_below_standing 409 score_would_drop 422 price_below_upset 429 rate_limited"
        " 503 outcome_unknown 503 backlog_full",
    ),
    "GET /api/leaderboard/{session_id}": Route(
        "public",
        200,
        BOARD,
        query=PAGE,
        # Only pages that are not cached count, in memory.
        codes=f"{NO_SESSION} 429 rate_limited",
        is_unlimited=True,
    ),
    "GET /api/leaderboard/{session_id}/me": Route(
        "member", 200, STANDING, codes=f"{NO_SESSION} 404 no_bid"
    ),
    "GET /api/sessions": Route(
        "public", 200, SESSION, query=f"status? {PAGE}", headers="X-Total-Count"
    ),
    "GET /api/sessions/active": Route("public", 200, SESSION),
    "GET /api/sessions/{session_id}": Route("public", 200, SESSION, codes=NO_SESSION),
    "GET /api/results/{session_id}": Route(
        "public",
        200,
        f"{RESULTS} {PAGE_FIELDS}",
        query=PAGE,
        codes=f"{NO_SESSION} 409 session_not_ended 409 results_pending",
    ),
    "GET /api/bids/me": Route(
        "member",
        200,
        PAST_BID,
        query=f"session_id? {PAGE}",
        codes=NO_SESSION,
        headers="X-Total-Count",
    ),
    "GET /api/notifications": Route(
        "member", 200, NOTIFICATION, query=f"unread? {PAGE}", headers="X-Total-Count"
    ),
    "PUT /api/notifications/{notification_id}/read": Route(
        "member", 204, codes="404 notification_not_found"
    ),
    "POST /api/notifications/read": Route("member", 204),
    "GET /ws/{session_id}": Route("public", 101, codes="426 upgrade_required", is_unlimited=True),
    "GET /health": Route("public", 200, HEALTH),
    "GET /ready": Route("public", 200, READINESS, is_unlimited=True),
}
# Answered in the text format of Prometheus (tests/api/routes/test_metrics.py).
TEXTS = {"GET /metrics"}
# A health check answers the same whether the servers are there or not.
HEALTH_CHECK = "GET /health"
# Codes of answers at addresses where there is no operation to hang them on.
NOWHERE = {"not_found", "method_not_allowed", "bad_request"}
RETRY_LATER = {"rate_limited", "results_pending", "temporarily_unavailable"}


def names(fields: str) -> set[str]:
    return {name.removesuffix("?") for name in fields.split()}


def required(fields: str) -> set[str]:
    return {name for name in fields.split() if not name.endswith("?")}


def takes_api_keys(operation: dict[str, Any]) -> bool:
    return any("api_key" in schemes for schemes in operation["security"])


def test_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document.json["openapi"].startswith("3.1.")
    validate(document.json)


def test_document_has_the_contracts_routes_and_no_others(document: Document) -> None:
    assert set(document.operations()) == set(CONTRACT) | TEXTS


@pytest.mark.parametrize("key", CONTRACT)
def test_route_answers_what_the_contract_says(document: Document, key: str) -> None:
    route, operation = CONTRACT[key], document.operations()[key]
    success = operation["responses"][str(route.status)]
    successes = [status for status in operation["responses"] if status < "400"]
    assert successes == [str(route.status)]
    if not route.answer:
        assert "content" not in success
        return
    schema = document.schema(success)
    assert set(schema["properties"]) == names(route.answer)
    assert set(schema["required"]) == required(route.answer)
    assert schema["additionalProperties"] is False
    replayed = {"Idempotency-Replayed"} if route.is_repeatable else set()
    assert set(success.get("headers", {})) == set(route.headers.split()) | replayed


@pytest.mark.parametrize("key", CONTRACT)
def test_route_takes_what_the_contract_says(document: Document, key: str) -> None:
    route, operation = CONTRACT[key], document.operations()[key]
    assert ("requestBody" in operation) == bool(route.body)
    if route.body:
        assert operation["requestBody"]["required"] is True
        schema = document.schema(operation["requestBody"])
        assert set(schema["properties"]) == names(route.body)
        assert set(schema["required"]) == required(route.body)
    parameters = operation.get("parameters", [])
    query = {each["name"]: each["required"] for each in parameters if each["in"] == "query"}
    assert query == dict.fromkeys(names(route.query), False)
    in_header = {each["name"] for each in parameters if each["in"] == "header"}
    assert in_header == ({"Idempotency-Key"} if route.is_repeatable else set())
    in_path = {each["name"] for each in parameters if each["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", key))


@pytest.mark.parametrize("key", CONTRACT)
def test_route_refuses_with_the_contracts_codes(document: Document, key: str) -> None:
    route, operation = CONTRACT[key], document.operations()[key]
    expected = ANYWHERE if key == HEALTH_CHECK else route.all_codes
    if takes_api_keys(operation):
        # Refused keys count as reads of their address.
        expected = expected | {"429 rate_limited"}
    assert document.codes(operation) == expected
    assert bool(operation.get("security")) == (route.auth != "public")
    for status, response in operation["responses"].items():
        codes = {code.split()[1] for code in expected if code.startswith(status)}
        assert ("Retry-After" in response.get("headers", {})) == bool(codes & RETRY_LATER)


def test_health_answers_the_same_fields_when_degraded(document: Document) -> None:
    responses = document.operations()[HEALTH_CHECK]["responses"]
    assert set(responses) == {"200", "503"} | {code.split()[0] for code in ANYWHERE}
    assert document.schema(responses["503"]) == document.schema(responses["200"])


def test_errors_are_problems_with_the_contracts_fields(document: Document) -> None:
    schema = document.json["components"]["schemas"]["Problem"]
    assert set(schema["properties"]) == names(PROBLEM)
    assert set(schema["required"]) == required(PROBLEM)


@pytest.mark.parametrize(("entry", "fields"), [("Entry", ENTRY), ("ResultEntry", RESULT_ENTRY)])
def test_entries_of_boards_and_results_have_the_contracts_fields(
    document: Document, entry: str, fields: str
) -> None:
    schema = document.json["components"]["schemas"][entry]
    assert set(schema["properties"]) == set(schema["required"]) == names(fields)


def test_codes_without_an_operation_are_in_the_document_too(document: Document) -> None:
    for code in NOWHERE:
        assert f"`{code}`" in document.json["info"]["description"]


DEFAULTS = {
    "alpha": 0.5,
    "beta": 1000.0,
    "gamma": 2.0,
    "duration_minutes": 60.0,
    "pricing": "pay_as_bid",
    "offer_minutes": 1440.0,
}


@pytest.mark.parametrize("name", ["NewSession", "NewProductAndSession"])
def test_document_has_the_contracts_defaults(document: Document, name: str) -> None:
    properties = document.json["components"]["schemas"][name]["properties"]
    assert {field: properties[field]["default"] for field in DEFAULTS} == DEFAULTS


def test_a_bid_need_not_be_better_unless_it_asks(document: Document) -> None:
    properties = document.json["components"]["schemas"]["BidRequest"]["properties"]
    flag = properties["only_if_better"]
    assert (flag["type"], flag["default"]) == ("boolean", False)


BOUNDS = {
    ("Registration", "username"): {"minLength": 3, "maxLength": 50},
    ("Registration", "password"): {"minLength": 6, "maxLength": 128},
    ("NewProduct", "name"): {"minLength": 1, "maxLength": 200},
    ("NewProduct", "description"): {"maxLength": 1000},
    ("NewSession", "inventory"): {"minimum": 1},
    ("NewSession", "duration_minutes"): {"exclusiveMinimum": 0, "maximum": 43200},
    ("NewSession", "offer_minutes"): {"exclusiveMinimum": 0, "maximum": 525600},
    ("NewSession", "alpha"): {"minimum": 0},
    ("BidRequest", "price"): {"maximum": 9999999999.99},
}


@pytest.mark.parametrize(("schema", "field"), BOUNDS)
def test_document_has_the_contracts_bounds(document: Document, schema: str, field: str) -> None:
    described = document.json["components"]["schemas"][schema]["properties"][field]
    assert BOUNDS[schema, field].items() <= described.items()


def test_an_undocumented_answer_fails_its_test(anyone: CheckedClient) -> None:
    operation = anyone.document.operations()["GET /api/sessions/active"]
    documented = operation["responses"].pop("200")
    try:
        with pytest.raises(AssertionError, match="not documented"):
            anyone.get("/api/sessions/active")
    finally:
        operation["responses"]["200"] = documented
