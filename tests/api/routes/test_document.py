"""/openapi.json says what a client needs, in a form that generators and validators can use."""

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from core.rules.scoring import score
from tests.support.http.document import JSON, PROBLEM, Document

URI = "urn:flashbid:openapi"
# What any request may get, before or beside its own route.
ANYWHERE = {"408 request_timeout", "431 bad_request", "500 internal_error"}


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(node, dict):
        yield node
        for below in node.values():
            yield from parts(below)
    elif isinstance(node, list):
        for below in node:
            yield from parts(below)


def properties(document: Document) -> dict[str, dict[str, Any]]:
    """`"Schema.field"` to what the document says of it."""
    return {
        f"{name}.{field}": described
        for name, schema in document.json["components"]["schemas"].items()
        for field, described in schema["properties"].items()
    }


def checked(document: Document, schema: dict[str, Any], example: Any) -> None:
    """Hold an example against a schema, its references followed."""
    registry = Registry().with_resource(
        URI, Resource(contents=document.json, specification=DRAFT202012)
    )
    whole = json.loads(json.dumps(schema).replace('"#/', f'"{URI}#/'))
    Draft202012Validator(whole, registry=registry, format_checker=FormatChecker()).validate(example)


def followed(document: Document, node: dict[str, Any]) -> dict[str, Any]:
    """The node, or what its reference leads to."""
    if "$ref" not in node:
        return node
    target: Any = document.json
    for name in node["$ref"].removeprefix("#/").split("/"):
        target = target[name]
    return dict(target)


@pytest.mark.parametrize("price", [19.99, 0.01, 0.07, 1.1, 4.35, 1.005e3, 9999999999.99, 100])
def test_a_price_passes_a_validator(document: Document, price: float) -> None:
    """In binary fractions 19.99 is no multiple of 0.01."""
    for name, described in properties(document).items():
        if "price" in name:
            checked(document, described, price)
    assert not [part for part in parts(document.json) if "multipleOf" in part]


def test_a_price_is_described_in_words(document: Document) -> None:
    prices = {name: each for name, each in properties(document).items() if "price" in name}
    assert len(prices) >= 10
    for name, described in prices.items():
        assert "2 decimals" in described["description"], name


def test_no_default_is_null(document: Document) -> None:
    assert not [part for part in parts(document.json) if part.get("default", 0) is None]


def test_every_status_is_a_list_of_texts(document: Document) -> None:
    described = properties(document)
    statuses = {name: each for name, each in described.items() if name.endswith(".status")}
    assert statuses.pop("Problem.status")["type"] == "integer"
    for operation in document.operations().values():
        for parameter in operation.get("parameters", []):
            if parameter["name"] == "status":
                statuses[operation["operationId"]] = parameter["schema"]
    assert len(statuses) >= 8
    for name, each in statuses.items():
        assert each["type"] == "string", name
        assert each["enum"], name
        assert all(isinstance(value, str) for value in each["enum"]), name


def test_every_field_has_a_type(document: Document) -> None:
    for name, described in properties(document).items():
        assert "type" in described or "$ref" in described, name


def test_the_document_says_where_the_service_is(document: Document) -> None:
    assert [server["url"] for server in document.json["servers"]] == ["/"]


def test_every_operation_has_an_example_of_what_is_sent(document: Document) -> None:
    for key, operation in document.operations().items():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                checked(document, parameter["schema"], parameter["example"])
        if "requestBody" in operation:
            media = operation["requestBody"]["content"][JSON]
            checked(document, media["schema"], media["example"])
            fields = document.schema(operation["requestBody"])["properties"]
            # All of the changes cannot be sent together.
            left_out = key.startswith("PATCH /api/admin/sessions/")
            assert left_out or set(media["example"]) == set(fields), key


def test_every_answer_has_an_example(document: Document) -> None:
    for key, operation in document.operations().items():
        for status, response in operation["responses"].items():
            for kind, media in response.get("content", {}).items():
                if kind == PROBLEM:
                    continue
                assert media["example"], (key, status)
                checked(document, media["schema"], media["example"])
                if kind == JSON:
                    example = media["example"]
                    found = example[0] if isinstance(example, list) else example
                    assert set(found) == set(document.schema(response)["properties"]), key


def test_every_error_has_an_example_of_its_own(document: Document) -> None:
    details: dict[str, str] = {}
    for key, operation in document.operations().items():
        for status, response in operation["responses"].items():
            if status == "default" or PROBLEM not in response.get("content", {}):
                continue
            media = response["content"][PROBLEM]
            shown = [followed(document, each)["value"] for each in media["examples"].values()]
            for example in shown:
                checked(document, media["schema"], example)
                assert str(example["status"]) == status
                details[f"{status} {example['code']}"] = example["detail"]
            codes = re.findall(r"`(\w+)`", response["description"])
            assert [example["code"] for example in shown] == codes, key
    assert len(details) >= 30
    assert len(set(details.values())) == len(details)


def test_what_any_request_may_get_is_described_everywhere(document: Document) -> None:
    for key, operation in document.operations().items():
        assert document.codes(operation) >= ANYWHERE, key


def test_the_examples_are_of_one_sale(document: Document) -> None:
    """The score is what the formula makes of the price, the time and the weight."""
    bid = document.operations()["POST /api/bid"]["responses"]["200"]["content"][JSON]["example"]
    session = document.operations()["GET /api/sessions/active"]["responses"]["200"]["content"]
    [terms] = session[JSON]["example"]
    computed = score(
        SimpleNamespace(**terms), bid["price"], bid["response_time"], bid["user_weight"]
    )
    assert bid["score"] == computed


def test_linters_find_what_they_look_for(document: Document) -> None:
    """The rules of Redocly's recommended set that the document could break."""
    assert document.json["info"]["license"]["name"] == "MIT"
    operations = document.operations()
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document.json["tags"]}
    for key, operation in operations.items():
        assert "security" in operation, key
        assert operation["summary"], key
        assert set(operation["tags"]) <= tags, key
        statuses = set(operation["responses"])
        assert statuses & {"200", "201", "202", "204", "default"}, key
        assert any(status.startswith("4") for status in statuses), key
    for part in parts(document.json):
        assert not {"minimum", "exclusiveMinimum"} <= set(part)


def test_nothing_is_described_that_nothing_uses(document: Document) -> None:
    text = json.dumps(document.json)
    for kind, components in document.json["components"].items():
        if kind != "securitySchemes":
            for name in components:
                assert f'"#/components/{kind}/{name}"' in text, name
