"""API.md and /openapi.json say the same, in both directions."""

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.api.conftest import CheckedClient
from tests.api.routes.contract import (
    ANYWHERE,
    CONTRACT,
    ENTRY,
    HEALTH_CHECK,
    NOWHERE,
    PROBLEM,
    RESULT_ENTRY,
    RETRY_LATER,
    TEXTS,
)
from tests.support.http.document import Document


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
        assert set(schema.get("required", ())) == required(route.body)
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
    ("NewProduct", "image_url"): {"maxLength": 2000},
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
