"""One application behind both doors: an ASGI server's and a WSGI server's."""

from collections.abc import Mapping

from flask import Flask

from tests.api.routes.test_service import closed_port
from tests.support.http.asgi import Answer, Door
from web.http.access_log import BID_PATH

__all__ = ["closed_port"]

JSON = "application/json"


class Doors:
    """Both ways to one application, for one member."""

    def __init__(self, app: Flask, door: Door, token: str) -> None:
        self._client, self._door, self._token = app.test_client(), door, token

    def ask(
        self, method: str, address: str, body: bytes = b"", **headers: str
    ) -> tuple[Answer, Answer]:
        """By the lane, and by Flask's routes. A header of "" is left out."""
        given = {"Authorization": self._token, "X-Request-ID": "both-ways", "Host": "localhost"}
        if method == "POST":
            given |= {"Content-Type": JSON, "Content-Length": str(len(body))}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        sent = {name: text for name, text in given.items() if text}
        return self._door.ask(method, address, body, sent), self._ask_flask(
            method, address, body, sent
        )

    def bid(self, body: str | bytes, **headers: str) -> tuple[Answer, Answer]:
        """A bid with this body."""
        return self.ask(
            "POST", BID_PATH, body if isinstance(body, bytes) else body.encode(), **headers
        )

    def _ask_flask(
        self, method: str, address: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        answer = self._client.open(address, method=method, data=body, headers=dict(headers))
        named = [(name.lower(), text) for name, text in answer.headers]
        return Answer(answer.status_code, named, answer.data)


def assert_same(answers: tuple[Answer, Answer], status: int) -> None:
    """The same bytes. What a server does with the connection is its own."""
    lane, flask = answers
    assert lane.status == flask.status == status
    assert lane.body == flask.body
    assert own_headers(lane) == own_headers(flask)


def own_headers(answer: Answer) -> list[tuple[str, str]]:
    return sorted((name, text) for name, text in answer.headers if name != "connection")


def header(answer: Answer, name: str) -> str:
    return dict(answer.headers).get(name, "")
