"""The pages that `make docs` makes from the code leave nothing out."""

import json
import re
import subprocess
import sys

import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from tests.guards.test_docs import codes_in_the_code
from web.routes.documents.openapi import openapi_document


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Made as `make docs` makes them."""
    made = subprocess.run(
        [sys.executable, "-m", "dev.docs"], cwd=PROJECT_ROOT, capture_output=True, check=True
    )
    return dict(json.loads(made.stdout))


def sections(page: str, level: str) -> dict[str, str]:
    """Text by heading."""
    parts = re.split(rf"^{level} (.+)$", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_operation_has_a_command_and_an_answer(pages: dict[str, str], app: Flask) -> None:
    shown = sections(pages["reference/requests.md"], "###")
    paths = openapi_document(app)["paths"]
    assert shown.keys() == {f"{m.upper()} {path}" for path, each in paths.items() for m in each}
    for key, text in shown.items():
        assert "```sh\ncurl " in text, key
        assert re.search(r"^For (anybody|a member|an admin)", text, re.MULTILINE), key
        assert re.search(r"^\d{3}, ", text, re.MULTILINE), key


def test_every_error_has_its_answer(pages: dict[str, str]) -> None:
    shown = sections(pages["reference/errors.md"], "##")
    for code, text in shown.items():
        [example] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        assert json.loads(example)["code"] == code
    assert shown.keys() == {code for _, code in codes_in_the_code()}


def test_every_link_to_an_error_leads_to_one(pages: dict[str, str]) -> None:
    linked = set(re.findall(r"errors\.md#(\w+)", pages["reference/requests.md"]))
    assert linked <= sections(pages["reference/errors.md"], "##").keys()
    assert len(linked) >= 30


def test_every_command_shows_its_help(pages: dict[str, str], app: Flask) -> None:
    shown = sections(pages["reference/commands.md"], "###")
    assert shown.keys() == app.cli.commands.keys()
    for name, text in shown.items():
        assert f"Usage: flask --app web {name} " in text
