"""The served OpenAPI document, as a judge of answers."""

import re
from typing import Any

from flask import Flask
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

_DOCUMENT_URI = "urn:flashbid:openapi"
_CODE = re.compile(r"`(\w+)`")
# What Flask answers by itself where no operation is, at any address.
STATUSES_WITHOUT_OPERATION = {200, 304, 404, 405}

JSON = "application/json"
PROBLEM = "application/problem+json"


class Document:
    def __init__(self, document: dict[str, Any]) -> None:
        self.json = document
        resource = Resource(contents=document, specification=DRAFT202012)
        self._registry = Registry().with_resource(_DOCUMENT_URI, resource)
        self._operations = {
            f"{method.upper()} {path}": operation
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        # Each looks its references up once.
        self._validators: dict[str, Draft202012Validator] = {}

    def operations(self) -> dict[str, dict[str, Any]]:
        """`"GET /path"` to what the document says of it."""
        return self._operations

    def schema(self, described: dict[str, Any]) -> dict[str, Any]:
        """The schema of a body or an answer, its references followed; of a list's items."""
        media = described["content"]
        schema = next(iter(media.values()))["schema"]
        schema = schema.get("items", schema)
        return self.json["components"]["schemas"][schema["$ref"].rpartition("/")[2]]

    def codes(self, operation: dict[str, Any]) -> set[str]:
        """Every error code of an operation, as `"404 no_bid"`."""
        return {
            f"{status} {code}"
            for status, response in operation["responses"].items()
            if PROBLEM in response.get("content", {})
            for code in _CODE.findall(response["description"])
        }

    def check(self, app: Flask, response: TestResponse) -> None:
        """Refuse an answer that is not in the document."""
        key = _operation_key(app, response)
        operation = self.operations().get(key)
        if operation is None:
            assert response.status_code in STATUSES_WITHOUT_OPERATION, (key, response.status)
            if response.status_code >= 400 and response.data:
                self._check_schema(response, "/components/schemas/Problem")
            return
        described = operation["responses"].get(str(response.status_code))
        assert described, f"{key} answered {response.status}, which is not documented"
        if "content" not in described:
            assert response.data == b""
            return
        assert response.mimetype in described["content"], (key, response.mimetype)
        if response.request.method == "HEAD":
            return
        pointer = key.split(" ")[1].replace("/", "~1")
        method, status = key.split(" ")[0].lower(), response.status_code
        media = response.mimetype.replace("/", "~1")
        self._check_schema(
            response, f"/paths/{pointer}/{method}/responses/{status}/content/{media}/schema"
        )
        if response.mimetype == PROBLEM:
            known = f"{status} {response.json['code']}"
            assert known in self.codes(operation), f"{key} answered {known}, not documented"
            assert response.json["status"] == status

    def _check_schema(self, response: TestResponse, pointer: str) -> None:
        validator = self._validators.get(pointer)
        if validator is None:
            validator = self._validators[pointer] = Draft202012Validator(
                {"$ref": f"{_DOCUMENT_URI}#{pointer}"},
                registry=self._registry,
                format_checker=FormatChecker(),
            )
        validator.validate(response.json if response.is_json else response.text)


def _operation_key(app: Flask, response: TestResponse) -> str:
    method = response.request.method
    adapter = app.url_map.bind("localhost")
    try:
        rule, _ = adapter.match(
            response.request.path,
            method="GET" if method == "HEAD" else method,
            return_rule=True,
        )
    except HTTPException:
        return f"{method} {response.request.path}"
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
    return f"{'GET' if method == 'HEAD' else method} {path}"
