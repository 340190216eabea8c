"""The OpenAPI 3.1 document, generated from the route declarations and the schemas."""

import re
import tomllib
from collections import defaultdict
from functools import cache
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema, ValidationError
from marshmallow.fields import Field

from core import errors
from core.config import PROJECT_ROOT
from web.guards.operation import Operation
from web.guards.problems import HTTP_PROBLEMS, OVERLOADED, PROBLEMS, Problem, problem_of
from web.guards.rate_limits import Limit, TooManyRequests
from web.guards.tokens import Auth
from web.http import body, schemas
from web.http.fields import CENT, Price, Text

# The one place that says which version this is.
VERSION = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["version"]
_PATH_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_TOKEN_PROBLEMS = tuple(
    problem for problem in dict.fromkeys(PROBLEMS.values()) if problem.code.startswith("token_")
)
_CODES_WITH_RETRY_AFTER = {OVERLOADED.code} | {
    problem.code for kind, problem in PROBLEMS.items() if getattr(kind, "retry_after_seconds", None)
}
_DESCRIPTION = """\
Flash-sale bidding: a timed session sells K identical items to the K bidders with the best
scores:

`Score = alpha * Price + beta / (ResponseTime + 1) + gamma * UserWeight`

Errors are `application/problem+json` (RFC 9457) with a stable `code` for programs and a
`detail` for people. Unknown URLs get 404 `not_found`, unsupported methods 405
`method_not_allowed`.
"""


@cache
def openapi_document(app: Flask) -> dict[str, Any]:
    """The document of an application's routes."""
    plugin = MarshmallowPlugin(schema_name_resolver=_schema_name)
    spec = APISpec(
        title="Flashbid",
        version=VERSION,
        openapi_version="3.1.0",
        info={"description": _DESCRIPTION},
        plugins=[plugin],
    )
    plugin.converter.add_attribute_function(_custom_field_rules)  # type: ignore[union-attr]
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    for rule in app.url_map.iter_rules():
        declaration = getattr(app.view_functions[rule.endpoint], "operation", None)
        if declaration is None:
            continue
        view = app.view_functions[rule.endpoint]
        method = next(iter(rule.methods - {"HEAD", "OPTIONS"}))  # type: ignore[operator]
        spec.path(
            path=_PATH_PARAMETER.sub(r"{\1}", rule.rule),
            operations={
                method.lower(): {
                    "operationId": view.__name__,
                    "summary": (view.__doc__ or "").strip(),
                    "tags": [rule.endpoint.partition(".")[0]],
                    **_describe(declaration, _PATH_PARAMETER.findall(rule.rule)),
                }
            },
        )
    return spec.to_dict()


def _describe(declaration: Operation, path_parameters: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"responses": _responses(declaration)}
    parameters: list[Any] = [
        {
            "in": "path",
            "name": name,
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        }
        for name in path_parameters
    ]
    if declaration.query is not None:
        parameters.append({"in": "query", "schema": type(declaration.query)})
    if parameters:
        described["parameters"] = parameters
    if declaration.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": type(declaration.body)}},
        }
    if declaration.auth is not Auth.PUBLIC:
        described["security"] = [{"token": []}]
    return described


def _responses(declaration: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in (declaration.status, *declaration.also_statuses):
        responses[str(status)] = _success(declaration, status)
    by_status: dict[int, list[str]] = defaultdict(list)
    for problem in _problems(declaration):
        by_status[problem.status].append(problem.code)
    for status, codes in sorted(by_status.items()):
        if status not in declaration.also_statuses:
            responses[str(status)] = _problem(codes)
    return responses


def _success(declaration: Operation, status: int) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if declaration.response is not None:
        response["content"] = {"application/json": {"schema": _schema_of(declaration.response)}}
    if declaration.media_type is not None:
        response["content"] = {
            declaration.media_type.partition(";")[0]: {"schema": {"type": "string"}}
        }
    if declaration.paged:
        response["headers"] = {
            "X-Total-Count": {
                "schema": {"type": "integer"},
                "description": "Number of items on all pages.",
            }
        }
    return response


def _schema_of(answer: Schema) -> Any:
    return {"type": "array", "items": type(answer)} if answer.many else type(answer)


def _problem(codes: list[str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "Codes: " + ", ".join(f"`{code}`" for code in dict.fromkeys(codes)),
        "content": {"application/problem+json": {"schema": schemas.Problem}},
    }
    if _CODES_WITH_RETRY_AFTER.intersection(codes):
        response["headers"] = {
            "Retry-After": {
                "schema": {"type": "integer"},
                "description": "Seconds to wait before a retry.",
            }
        }
    return response


def _problems(declaration: Operation) -> list[Problem]:
    """All problems that an operation may respond with."""
    problems = [problem_of(kind) for kind in declaration.refuses]
    problems += [problem_of(errors.TemporarilyUnavailable), OVERLOADED]
    if declaration.effective_limit is not Limit.NONE:
        problems.append(problem_of(TooManyRequests))
    if declaration.auth is not Auth.PUBLIC:
        problems += (*_TOKEN_PROBLEMS, problem_of(errors.AccountDisabled))
    if declaration.auth in (Auth.ADMIN, Auth.SCRAPER):
        problems.append(problem_of(errors.AdminRequired))
    if declaration.body is not None:
        problems += [problem_of(kind) for kind in (body.MalformedJson, body.UnsupportedMediaType)]
        problems.append(HTTP_PROBLEMS[413])
    if declaration.body is not None or declaration.query is not None:
        problems.append(problem_of(ValidationError))
    return problems


def _custom_field_rules(
    _: Any, field: Field[Any], *, ret: dict[str, Any], **_kwargs: Any
) -> dict[str, Any]:
    """Rules built into our fields; apispec only reads marshmallow's validators."""
    if isinstance(field, Text) and "pattern" not in ret:
        return {"pattern": field.pattern}
    if isinstance(field, Price):
        return {"multipleOf": float(CENT)}
    return {}


def _schema_name(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__
