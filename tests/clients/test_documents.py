"""What the tools of other languages make of the served documents: Redocly's linter, and
TypeScript with types from openapi-typescript. They need Node.js: `make test-clients`.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from dev.stack import Stack
from tests.support.http.client import Client

SOURCES = Path(__file__).parent
TOOLS_TIMEOUT_SECONDS = 300
# Otherwise fields that have a default would have to be sent.
TYPES = ["--default-non-nullable=false"]
# A board is public, which AsyncAPI cannot say.
SKIPPED_RULES = {"openapi.json": [], "asyncapi.json": ["--skip-rule", "security-defined"]}


@pytest.fixture(scope="package")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tools of package.json. A machine without Node.js is told so."""
    if shutil.which("npm") is None:
        pytest.fail("No npm found: install Node.js 20 or later.")
    folder = tmp_path_factory.mktemp("tools")
    for name in ("package.json", "tsconfig.json", "flow.ts"):
        shutil.copy(SOURCES / name, folder)
    run(folder, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock")
    return folder


@pytest.fixture
def documents(tools: Path, client: Client) -> Path:
    for name in SKIPPED_RULES:
        (tools / name).write_bytes(client.get(f"/{name}").body)
    return tools


def run(folder: Path, *command: str) -> str:
    """What a command printed; it must succeed."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=TOOLS_TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SKIPPED_RULES)
def test_redocly_finds_nothing(documents: Path, name: str) -> None:
    options = [*SKIPPED_RULES[name], "--format", "json"]
    found = json.loads(run(documents, "npx", "redocly", "lint", name, *options))
    assert found["problems"] == []


def test_a_typescript_client_runs_a_sale(
    empty_shop: None,
    documents: Path,
    stack: Stack,
) -> None:
    run(documents, "npx", "openapi-typescript", "openapi.json", "-o", "schema.d.ts", *TYPES)
    run(documents, "npx", "tsc")
    sale = json.loads(run(documents, "node", "flow.js", f"http://127.0.0.1:{stack.port}"))
    assert sale == {
        "status": "active",
        "product": True,
        "me": "bob",
        "placed": ["accepted", 20.07, 1],
        "refused": [422, "price_below_upset", 19.99],
        "board": [["bob", 20.07]],
        "mine": [1, True],
        "winners": ["bob"],
    }
