"""/asyncapi.json and the page on the socket say what really comes over it."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from core.config import PROJECT_ROOT
from tests.live.conftest import Web
from tests.support.factories import Shop
from tests.support.http.client import Client
from web.front import sockets

PAGE = (PROJECT_ROOT / "docs" / "reference" / "websocket.md").read_text()
URI = "urn:flashbid:asyncapi"


class Described:
    """The served document, as a judge of messages."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.json = document
        resource = Resource(contents=document, specification=DRAFT202012)
        self._registry = Registry().with_resource(URI, resource)

    @property
    def channel(self) -> dict[str, Any]:
        return dict(self.json["channels"]["board"])

    def check(self, name: str, message: Any) -> None:
        """Hold a message against its description."""
        reference = {"$ref": f"{URI}#/components/messages/{name}/payload"}
        Draft202012Validator(
            reference, registry=self._registry, format_checker=FormatChecker()
        ).validate(message)

    def name_of(self, message: Any) -> str:
        """The one description that a message fits."""
        fitting = []
        for name in self.json["components"]["messages"]:
            try:
                self.check(name, message)
            except ValidationError:
                continue
            fitting.append(name)
        [name] = fitting
        return name


@pytest.fixture
def described(http: Client) -> Described:
    answer = http.get("/asyncapi.json")
    assert answer.status == 200
    return Described(answer.json)


def test_every_message_is_described_and_every_description_comes(
    web: Web, shop: Shop, described: Described
) -> None:
    """A whole sale as a watcher sees it: empty, with bids, paused, over, and its results."""
    session = shop.session(inventory=1)
    came = []
    with web.watch(session.session_id) as watcher:
        came.append(watcher.frame())
        shop.bid(shop.bidder("ada"), session, "150")
        came.append(watcher.frame_until(lambda frame: frame["data"]["total_count"] == 1))
        shop.services.sessions.deactivate(session.session_id)
        came.append(watcher.frame_until(lambda frame: frame["data"]["status"] == "inactive"))
        shop.services.sessions.activate(session.session_id)
        shop.bid(shop.bidder("bob"), session, "9000")
        shop.close(session)
        while came[-1]["type"] != "session_ended":
            came.append(watcher.frame())
        watcher.socket.send("ping")
        pong = watcher.socket.recv(timeout=10)
    names = {described.name_of(message) for message in [*came, pong, "ping"]}
    assert names == set(described.json["components"]["messages"])


def test_every_operation_names_messages_of_the_channel(described: Described) -> None:
    channel = described.channel
    used = set()
    for operation in described.json["operations"].values():
        assert operation["channel"] == {"$ref": "#/channels/board"}
        for each in operation["messages"] + operation.get("reply", {}).get("messages", []):
            used.add(each["$ref"].removeprefix("#/channels/board/messages/"))
    assert used == set(channel["messages"]) == set(described.json["components"]["messages"])
    assert channel["address"] == "/ws/{session_id}"


def test_every_example_is_what_its_message_says(described: Described) -> None:
    for name, message in described.json["components"]["messages"].items():
        [example] = message["examples"]
        assert described.name_of(example["payload"]) == name
    for schema in described.json["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_close_codes_are_described(web: Web, shop: Shop, described: Described) -> None:
    codes = described.channel["x-close-codes"]
    with web.watch("no-id") as unknown:
        met = {unknown.close_code()}
    with web.watch(shop.session().session_id) as talker:
        talker.frame()
        talker.socket.send("x" * 2000)
        met.add(talker.close_code())
    assert met == {4404, 1009}
    met |= {sockets.TRY_AGAIN_LATER, sockets.UNKNOWN_SESSION, 1012}
    assert {int(code) for code in codes} == met


def test_the_page_says_the_same(described: Described) -> None:
    rows = re.findall(r"^\| (\d{4}) \|", PAGE, re.MULTILINE)
    assert set(rows) == set(described.channel["x-close-codes"])
    shown = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    examples = [
        message["examples"][0]["payload"]
        for message in described.json["components"]["messages"].values()
        if message["contentType"] == "application/json"
    ]
    assert shown == examples
