"""The ASGI reference: a minimal application that echoes a JSON body."""

import json
from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class AsgiEchoWorker(UvicornWorker):  # type: ignore[misc]
    """The application's uvicorn worker without our own additions."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": "httptools",
        "interface": "asgi3",
        "lifespan": "off",
        "access_log": False,
    }


async def app(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echo the body."""
    body, is_whole = b"", False
    while not is_whole:
        message = await receive()
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
    answer = json.dumps(json.loads(body) if body else None).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(answer)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
