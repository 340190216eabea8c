"""Requests, errors and frames as Markdown, from the OpenAPI and AsyncAPI documents."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from web.guards.problems import HTTP_PROBLEMS, ORIGIN_NOT_ALLOWED, PROBLEMS
from web.routes.documents.examples import problem_example

_JSON = "application/json"
_PROBLEM = "application/problem+json"
_NAMES = {"admin_required": "an admin", "token_missing": "a member"}
_BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "to {}",
    "minLength": "from {} characters",
    "maxLength": "to {} characters",
}

Document = dict[str, Any]


def requests_page(document: Document) -> str:
    """Every operation with a command, its answer and its errors."""
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    anywhere = set.intersection(*(set(_codes(operation)) for _, operation in operations))
    return _joined(
        "# Requests",
        "Every request, made from `/openapi.json`, the document that the service sends. "
        "[The HTTP API](api.md) says what the fields mean.",
        f"Any request may be answered with {_linked(sorted(anywhere))}.",
        *(
            part
            for tag in document["tags"]
            for part in (
                f"## {tag['name'].capitalize()}",
                tag["description"],
                *(
                    text
                    for key, operation in operations
                    if tag["name"] in operation["tags"]
                    for text in _request(document, key, operation, anywhere)
                ),
            )
        ),
    )


def errors_page(document: Document) -> str:
    """Every error with its whole answer, and who may get it."""
    by_route = [example["value"] for example in document["components"]["examples"].values()]
    known = {problem["code"] for problem in by_route}
    # Refused before a route is found, or by the command line alone.
    others = {*PROBLEMS.values(), *HTTP_PROBLEMS.values(), ORIGIN_NOT_ALLOWED}
    sent = by_route + [problem_example(each) for each in others if each.code not in known]
    by_key = {(problem["status"], problem["code"]): problem for problem in sent}
    return _joined(
        "# Errors",
        "Every error is `application/problem+json` (RFC 9457). Programs read `code`, people "
        "`detail`; `request_id` finds the log lines. [The table](api.md#errors) says when each "
        "comes.",
        *(
            part
            for (status, code), problem in sorted(by_key.items())
            for part in (f"## {code}", f"Status {status}.", _block("json", problem))
        ),
    )


def frames_page(document: Document) -> str:
    """Every message of the WebSocket, and what closes it."""
    [channel] = document["channels"].values()
    return _joined(
        "# Frames",
        f"Every message on `{channel['address']}`, made from `/asyncapi.json`. "
        "[The WebSocket](websocket.md) says how to use it.",
        *(
            part
            for name, message in document["components"]["messages"].items()
            for part in (
                f"## {name}",
                message["summary"],
                *(_block("json", example["payload"]) for example in message["examples"]),
            )
        ),
        "## Close codes",
        _table(("code", "meaning"), sorted(channel["x-close-codes"].items())),
    )


def _request(
    document: Document, key: str, operation: Document, anywhere: set[str]
) -> Iterator[str]:
    yield f"### {key}"
    yield operation["summary"]
    if "description" in operation:
        yield operation["description"]
    yield f"For {_caller(operation)}."
    rows = [_parameter(each) for each in operation.get("parameters", ())]
    rows += _fields(document, operation)
    if rows:
        yield _table(("name", "in", "value"), rows)
    yield "```sh\n" + _command(key, operation) + "\n```"
    yield from _answer(operation)
    if own := sorted(set(_codes(operation)) - anywhere):
        yield f"Errors: {_linked(own)}."


def _caller(operation: Document) -> str:
    """Who may call: the strictest of what its errors say."""
    codes = _codes(operation)
    who = next((name for code, name in _NAMES.items() if code in codes), "anybody")
    scopes = [s for each in operation["security"] for s in each.get("api_key", ())]
    return f"{who}, or an API key of scope `{scopes[0]}`" if scopes else who


def _codes(operation: Document) -> list[str]:
    return [
        code
        for response in operation["responses"].values()
        for code in response.get("content", {}).get(_PROBLEM, {}).get("examples", ())
    ]


def _linked(codes: list[str]) -> str:
    return ", ".join(f"[`{code}`](errors.md#{code})" for code in codes)


def _parameter(parameter: Document) -> tuple[str, str, str]:
    needed = parameter["name"] if parameter["required"] else f"{parameter['name']}?"
    return f"`{needed}`", parameter["in"], _value(parameter["schema"])


def _fields(document: Document, operation: Document) -> Iterator[tuple[str, str, str]]:
    if "requestBody" not in operation:
        return
    reference = operation["requestBody"]["content"][_JSON]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        yield f"`{name if name in required else f'{name}?'}`", "body", _value(field)


def _value(schema: Document) -> str:
    kind = schema.get("type", "object")
    words = [" or ".join(kind) if isinstance(kind, list) else kind]
    if "enum" in schema:
        words = [" or ".join(f"`{each}`" for each in schema["enum"] if each is not None)]
    if "format" in schema:
        words.append(f"({schema['format']})")
    words += [text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema]
    if schema.get("default") is not None:
        words.append(f"(default `{json.dumps(schema['default'])}`)")
    return " ".join(words)


def _command(key: str, operation: Document) -> str:
    method, _, path = key.partition(" ")
    parameters = operation.get("parameters", ())
    query = {}
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif parameter["in"] == "query" and parameter["required"]:
            query[parameter["name"]] = parameter["example"]
    address = f"http://localhost:8000{path}" + (f"?{urlencode(query)}" if query else "")
    lines = [f"curl -s {'' if method == 'GET' else f'-X {method} '}'{address}'"]
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if "requestBody" in operation:
        example = operation["requestBody"]["content"][_JSON]["example"]
        lines += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(example)}'"]
    return " \\\n  ".join(lines)


def _answer(operation: Document) -> Iterator[str]:
    for status, response in operation["responses"].items():
        for kind, media in response.get("content", {}).items():
            if kind != _PROBLEM:
                yield f"{status}, `{kind}`:"
                yield _block("json" if kind == _JSON else "text", media["example"])
        if "content" not in response:
            yield f"{status}, without a body."


def _block(language: str, content: Any) -> str:
    text = (
        content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    )
    return f"```{language}\n{text.rstrip()}\n```"


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _joined(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"
