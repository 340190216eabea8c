"""The AsyncAPI 3.0 document of the WebSocket."""

from functools import cache
from typing import Any

from core.operations.configuration import VERSION
from web.http import frames
from web.routes.documents import examples
from web.routes.documents.openapi import new_spec, tidied

_DESCRIPTION = """\
The live board of a session. The server sends; a client may send the text `ping`, in messages of
at most 1 KiB and 4 KiB a second.

The handshake is refused with 426 `upgrade_required` when it is none, and with 503 and
`Retry-After` when there are too many viewers; both are `application/problem+json`, as in
`/openapi.json`. Pages of the original may open `/ws/sessions`: it stays open and sends nothing.
"""
CLOSE_CODES = {
    "1009": "The client sent a message of more than 1 KiB, or more than 4 KiB in a second.",
    "1012": "The process stops. Connect again.",
    "1013": "Live updates are unavailable right now. Connect again later.",
    "4404": "No session has this id. Do not connect again.",
}
_FRAMES = {
    "leaderboardUpdate": (
        frames.BoardUpdate(),
        (
            "The board's first page: at once, then at most five times a second while it changes."
            " One of a cancelled session is the last."
        ),
    ),
    "sessionEnded": (
        frames.SessionEnded(),
        "The final results with all winners: once, when they are final.",
    ),
}
_TEXTS = {
    "ping": "Asks whether the connection is alive.",
    "pong": "The answer to a text `ping`.",
}


@cache
def asyncapi_document() -> dict[str, Any]:
    """The document."""
    spec = new_spec()
    for schema, _ in _FRAMES.values():
        spec.components.schema(type(schema).__name__, schema=type(schema))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Flashbid live board",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "service": {
                "host": "{host}",
                "protocol": "ws",
                "description": "The service that sent this document; `wss` behind TLS.",
                "variables": {"host": {"default": "localhost:8000"}},
            }
        },
        "channels": {"board": _board_channel()},
        "operations": _operations(),
        "components": {
            "messages": _messages(),
            "schemas": tidied(spec.to_dict())["components"]["schemas"],
        },
    }


def _board_channel() -> dict[str, Any]:
    return {
        "address": "/ws/{session_id}",
        "description": "One session's board.",
        "parameters": {
            "session_id": {
                "description": "The session's id, a UUID.",
                "examples": [examples.value_of("session_id")],
            }
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages()},
        "bindings": {"ws": {"method": "GET"}},
        "x-close-codes": CLOSE_CODES,
    }


def _operations() -> dict[str, Any]:
    """What the service does: `send` is from the service to a client."""
    board = {"$ref": "#/channels/board"}

    def messages(*names: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/board/messages/{name}"} for name in names]

    return {
        "sendBoard": {
            "action": "send",
            "channel": board,
            "summary": "Show the board, and the results when they are final.",
            "messages": messages(*_FRAMES),
        },
        "answerPing": {
            "action": "receive",
            "channel": board,
            "summary": "Answer a ping.",
            "messages": messages("ping"),
            "reply": {"channel": board, "messages": messages("pong")},
        },
    }


def _messages() -> dict[str, Any]:
    described: dict[str, Any] = {
        name: {
            "summary": summary,
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{type(schema).__name__}"},
            "examples": [{"payload": examples.body_example(schema)}],
        }
        for name, (schema, summary) in _FRAMES.items()
    }
    for name, summary in _TEXTS.items():
        described[name] = {
            "summary": summary,
            "contentType": "text/plain",
            "payload": {"type": "string", "const": name},
            "examples": [{"payload": name}],
        }
    return described
