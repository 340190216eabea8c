"""The OpenAPI 3.1 document, generated from the route declarations and the schemas."""

import re
from collections import defaultdict
from functools import cache
from http import HTTPStatus
from inspect import getdoc
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema, ValidationError
from marshmallow.fields import Enum, Field

from core import errors
from core.members.api_keys import Scope
from core.operations.configuration import VERSION
from web.guards.idempotency import HEADER, KEY_PATTERN, REPLAYED_HEADER
from web.guards.operation import Operation
from web.guards.problems import (
    HEAD_TOO_LARGE,
    HTTP_PROBLEMS,
    INTERNAL_ERROR,
    OVERLOADED,
    PROBLEMS,
    REQUEST_TIMEOUT,
    Problem,
    problem_of,
)
from web.guards.rate_limits import Limit, TooManyRequests
from web.guards.tokens import Auth
from web.http import body, schemas
from web.http.fields import Price, Text
from web.http.statuses import title_of
from web.routes.documents import examples

_PATH_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_TOKEN_PROBLEMS = tuple(
    problem for problem in dict.fromkeys(PROBLEMS.values()) if problem.code.startswith("token_")
)
# What any request may get, before or beside its own route.
_ANYWHERE = (REQUEST_TIMEOUT, HEAD_TOO_LARGE, INTERNAL_ERROR)
_CODES_WITH_RETRY_AFTER = {OVERLOADED.code} | {
    problem.code for kind, problem in PROBLEMS.items() if getattr(kind, "retry_after_seconds", None)
}
_DESCRIPTION = """\
Flash-sale bidding: a timed session sells K identical items to the K bidders with the best
scores:

`Score = alpha * Price + beta / (ResponseTime + 1) + gamma * UserWeight`

Errors are `application/problem+json` (RFC 9457) with a stable `code` for programs and a
`detail` for people. Unknown URLs get 404 `not_found`, unsupported methods 405
`method_not_allowed`, and bytes that are not HTTP 400 `bad_request`.

Prices are numbers with at most 2 decimals. `/asyncapi.json` describes the WebSocket.
"""
# A requirement of `api_key` names the scope that the key must have.
_SECURITY = {
    "token": {"description": "The token of a login."},
    "api_key": {
        "description": "An API key of the shop, `fbk_…`, with a scope: "
        + ", ".join(f"`{scope}`" for scope in Scope)
        + "."
    },
}
# Blueprints, and what their routes are about.
_TAGS = {
    "auth": "Accounts and tokens.",
    "bidding": "Bids, boards, sessions and results.",
    "notifications": "Messages to members.",
    "offers": "Who may buy until when, and what came of it.",
    "live": "The live board over a WebSocket.",
    "exports": "Files of results, bids and offers.",
    "admin": "Products, sessions and figures, for admins.",
    "webhooks": "Systems of the shop that are told of events, for admins.",
    "service": "Health checks.",
    "metrics": "Metrics for Prometheus.",
}

_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "schema": {"type": "string", "pattern": KEY_PATTERN},
    "description": "A repeated request with the same key and body gets the first one's response "
    "for 24 hours, and creates nothing.",
}


@cache
def openapi_document(app: Flask) -> dict[str, Any]:
    """The document of an application's routes."""
    spec = new_spec(
        info={"description": _DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/", "description": "The service that sent this document."}],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    for name, described in _SECURITY.items():
        spec.components.security_scheme(name, {"type": "http", "scheme": "bearer", **described})
    problems: dict[Problem, None] = {}
    for rule in app.url_map.iter_rules():
        declaration = getattr(app.view_functions[rule.endpoint], "operation", None)
        if declaration is None:
            continue
        view = app.view_functions[rule.endpoint]
        summary, _, description = getdoc(view).partition("\n\n")  # type: ignore[union-attr]
        method = next(iter(rule.methods - {"HEAD", "OPTIONS"}))  # type: ignore[operator]
        problems |= dict.fromkeys(_problems(declaration))
        spec.path(
            path=_PATH_PARAMETER.sub(r"{\1}", rule.rule),
            operations={
                method.lower(): {
                    "operationId": view.__name__,
                    "summary": summary,
                    **({"description": description} if description else {}),
                    "tags": [rule.endpoint.partition(".")[0]],
                    **_describe(declaration, _PATH_PARAMETER.findall(rule.rule)),
                }
            },
        )
    for problem in problems:
        spec.components.example(
            _example_name(problem), {"value": examples.problem_example(problem)}
        )
    document: dict[str, Any] = tidied(spec.to_dict())
    return document


def new_spec(**options: Any) -> APISpec:
    """An empty document that knows our fields."""
    plugin = MarshmallowPlugin(schema_name_resolver=_schema_name)
    spec = APISpec("Flashbid", VERSION, "3.1.0", plugins=[plugin], **options)
    plugin.converter.add_attribute_function(_custom_field_rules)  # type: ignore[union-attr]
    return spec


def _describe(declaration: Operation, path_parameters: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"responses": _responses(declaration), "security": []}
    parameters: list[Any] = [
        {
            "in": "path",
            "name": name,
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
            "example": examples.value_of(name),
        }
        for name in path_parameters
    ]
    if declaration.query is not None:
        parameters.append({"in": "query", "schema": type(declaration.query)})
    if declaration.is_repeatable:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        described["parameters"] = parameters
    if declaration.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": type(declaration.body),
                    "example": examples.body_example(declaration.body),
                }
            },
        }
    if declaration.auth is not Auth.PUBLIC:
        described["security"] = [{"token": []}]
    if declaration.scope is not None:
        described["security"].append({"api_key": [declaration.scope]})
    return described


def _responses(declaration: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in (declaration.status, *declaration.also_statuses):
        responses[str(status)] = _success(declaration, status)
    by_status: dict[int, list[Problem]] = defaultdict(list)
    for problem in _problems(declaration):
        by_status[problem.status].append(problem)
    for status, problems in sorted(by_status.items()):
        if status not in declaration.also_statuses:
            responses[str(status)] = _problem(problems)
    if declaration.status < HTTPStatus.OK:
        # Generators and linters expect a 2xx or this.
        responses["default"] = {**_problem([]), "description": "Any other error."}
    return responses


def _success(declaration: Operation, status: int) -> dict[str, Any]:
    response: dict[str, Any] = {"description": title_of(status)}
    if declaration.response is not None:
        response["content"] = {
            "application/json": {
                "schema": _schema_of(declaration.response),
                "example": examples.body_example(declaration.response, status),
            }
        }
    if declaration.media_type is not None:
        response["content"] = {
            declaration.media_type.partition(";")[0]: {
                "schema": {"type": "string"},
                "example": examples.METRICS,
            }
        }
    for media_type in declaration.also_media_types:
        response.setdefault("content", {})[media_type] = {
            "schema": {"type": "string"},
            "example": examples.TEXTS[media_type],
        }
    if declaration.paged:
        response["headers"] = {
            "X-Total-Count": {
                "schema": {"type": "integer"},
                "description": "Number of items on all pages.",
            }
        }
    if declaration.is_repeatable:
        response["headers"] = {
            REPLAYED_HEADER: {
                "schema": {"type": "string", "enum": ["true"]},
                "description": "Only in a repeated response: nothing was created now.",
            }
        }
    return response


def _schema_of(answer: Schema) -> Any:
    return {"type": "array", "items": type(answer)} if answer.many else type(answer)


def _problem(problems: list[Problem]) -> dict[str, Any]:
    by_code = {problem.code: _example_name(problem) for problem in problems}
    media: dict[str, Any] = {"schema": schemas.Problem}
    if by_code:
        media["examples"] = {
            code: {"$ref": f"#/components/examples/{name}"} for code, name in by_code.items()
        }
    response: dict[str, Any] = {
        "description": "Codes: " + ", ".join(f"`{code}`" for code in by_code),
        "content": {"application/problem+json": media},
    }
    if _CODES_WITH_RETRY_AFTER.intersection(by_code):
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
    problems += [problem_of(errors.TemporarilyUnavailable), OVERLOADED, *_ANYWHERE]
    # Refused API keys count as reads.
    if declaration.effective_limit is not Limit.NONE or declaration.scope is not None:
        problems.append(problem_of(TooManyRequests))
    if declaration.auth is not Auth.PUBLIC:
        problems += _TOKEN_PROBLEMS
        problems += [problem_of(kind) for kind in (errors.AccountDisabled, errors.ScopeMissing)]
    if declaration.auth in (Auth.ADMIN, Auth.SCRAPER):
        problems.append(problem_of(errors.AdminRequired))
    if declaration.body is not None:
        problems += [problem_of(kind) for kind in (body.MalformedJson, body.UnsupportedMediaType)]
        problems.append(HTTP_PROBLEMS[413])
    if HTTPStatus.PARTIAL_CONTENT in declaration.also_statuses:
        problems.append(HTTP_PROBLEMS[416])
    if declaration.body is not None or declaration.query is not None:
        problems.append(problem_of(ValidationError))
    if declaration.is_repeatable:
        problems.append(problem_of(errors.IdempotencyKeyReused))
    return problems


def _custom_field_rules(
    _: Any, field: Field[Any], *, ret: dict[str, Any], **_kwargs: Any
) -> dict[str, Any]:
    """Rules built into our fields; apispec only reads marshmallow's validators."""
    if isinstance(field, Text) and "pattern" not in ret:
        return {"pattern": field.pattern}
    if isinstance(field, Price):
        # In words: binary fractions make 19.99 no multiple of 0.01 to most validators.
        given = f"{ret['description']} " if "description" in ret else ""
        return {"description": f"{given}At most 2 decimals."}
    if isinstance(field, Enum):
        return {"type": "string"}
    return {}


def tidied(node: Any) -> Any:
    """The document without what only tells of our library: no default, a bound given twice."""
    if isinstance(node, list):
        return [tidied(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        name: tidied(each)
        for name, each in node.items()
        if not (name == "default" and each is None)
        and not (name == "minimum" and "exclusiveMinimum" in node)
    }


def _example_name(problem: Problem) -> str:
    return f"{problem.status}_{problem.code}"


def _schema_name(schema: Any) -> str:
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__
