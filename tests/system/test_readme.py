"""The commands of the README, the tutorial and docs/reference/api.md do what the pages say; the
README's example of the score is computed rightly.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from core.config import PROJECT_ROOT
from dev.stack import Stack
from tests.support.http.client import Client, final_results

README = (PROJECT_ROOT / "README.md").read_text()
TUTORIAL = (PROJECT_ROOT / "docs" / "tutorial.md").read_text()
API = (PROJECT_ROOT / "docs" / "reference" / "api.md").read_text()
MOST_WORDS = 1000
ADDRESS = "localhost:8000"
TIMEOUT_SECONDS = 60
# Each answer ends its line, and one that is an error ends the script.
BEFORE = """\
set -eu
curl() { command curl --fail-with-body --silent --show-error --write-out '\\n' "$@"; }
"""


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands_of_make(text: str) -> list[str]:
    """Targets that a page's blocks or sentences tell to make."""
    return re.findall(r"\bmake ([a-z][a-z-]*)\b", re.sub(r"[^`]*(`[^`]*`)|[^`]+", r"\1 ", text))


def test_every_block_is_one_that_is_run_here() -> None:
    for language, content in blocks(README):
        assert language == "sh", content
    scripts = [content for _, content in blocks(README)]
    assert len(scripts) == 7
    for script in scripts:
        assert script.startswith(("curl ", "make ")), script


def run(script: str, stack: Stack, folder: Path, **variables: str) -> list[Any]:
    """What a script's requests are answered, in their order."""
    script = script.replace(ADDRESS, f"127.0.0.1:{stack.port}")
    assert ADDRESS not in script
    done = subprocess.run(  # noqa: S603 - the commands that are under test
        ["bash", "-c", BEFORE + script],  # noqa: S607 - as a reader would
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "["))]


def test_the_sale_goes_as_the_readme_shows(
    stack: Stack, empty_shop: None, client: Client, tmp_path: Path
) -> None:
    scripts = [content for _, content in blocks(README) if not content.startswith("make ")]
    assert len(scripts) == 5
    answers = run("".join(scripts), stack, tmp_path)
    admin, session, _, member, bid, board, own, _, results, health = answers
    assert admin["is_admin"]
    assert not member["is_admin"]
    assert (session["inventory"], session["upset_price"]) == (5, 200)
    assert (bid["rank"], bid["price"], bid["is_winning"]) == (1, 250, True)
    assert board["leaderboard"][0]["username"] == "user1"
    assert own["score"] == bid["score"]
    assert [winner["username"] for winner in results["winners"]] == ["user1"]
    assert health["status"] == "healthy"
    assert client.get(f"/api/results/{session['session_id']}").status == 200


def test_the_tutorial_ends_with_a_paid_winner(
    stack: Stack, empty_shop: None, tmp_path: Path
) -> None:
    steps = [content for _, content in blocks(TUTORIAL)]
    assert len(steps) == 9
    script = "\n".join(steps).replace(".venv/bin/", f"{PROJECT_ROOT}/.venv/bin/")
    answers = run(script, stack, tmp_path, PYTHONPATH=str(PROJECT_ROOT))
    assert answers[0]["username"] == "shop"
    [own] = [answer for answer in answers if "threshold_score" in answer and "score" in answer]
    assert (own["rank"], own["price"]) == (1, 5000)
    [results] = [answer for answer in answers if "winners" in answer]
    assert [winner["username"] for winner in results["winners"]] == ["ada"]
    [[mine]] = [answer for answer in answers if isinstance(answer, list) and "place" in answer[0]]
    assert (mine["state"], mine["price_to_pay"]) == ("open", 5000)
    assert (answers[-1]["offer_id"], answers[-1]["state"]) == (mine["offer_id"], "paid")


def test_the_examples_of_the_api_page_are_answered(
    stack: Stack,
    admin: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    shown = [content for language, content in blocks(API) if language == "sh"]
    # The export's file has a test of its own.
    log_in, sell, bid, read = [content for content in shown if "$EXPORT" not in content]
    name = f"ada-{uuid4().hex}"
    account = {"username": name, "email": f"{name}@example.com", "password": "test123"}
    assert admin.post("/api/auth/register", **account).status == 201
    session_id = new_session(upset_price=200)["session_id"]
    tokens = {"ADMIN": admin.token or "", "TOKEN": member().token or "", "SESSION": session_id}
    [logged_in] = run(log_in.replace('"ada"', f'"{name}"'), stack, tmp_path)
    [session] = run(sell, stack, tmp_path, **tokens)
    [placed] = run(bid, stack, tmp_path, **tokens)
    admin.put(f"/api/admin/sessions/{session_id}/close")
    final_results(admin, session_id)
    board, results = run(read, stack, tmp_path, **tokens)
    assert logged_in["username"] == name
    assert (session["name"], session["inventory"]) == ("Camera", 5)
    assert (placed["price"], placed["rank"]) == (250, 1)
    assert board["total_count"] == results["total_bidders"] == 1


@pytest.mark.parametrize("target", sorted(set(commands_of_make(README))))
def test_every_target_of_make_exists(target: str) -> None:
    """What it would run; that it works is for the tests of its own."""
    planned = subprocess.run(  # noqa: S603 - a target of our Makefile
        ["make", "--dry-run", target],  # noqa: S607 - wherever make is
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert planned.returncode == 0, planned.stderr


def test_the_targets_of_blocks_are_among_those_that_are_tried() -> None:
    assert {"run", "test", "flash", "drill", "bench", "docs"} <= set(commands_of_make(README))


def test_every_program_of_the_virtual_environment_exists() -> None:
    programs = set(re.findall(r"\.venv/bin/([\w-]+)", README))
    assert programs
    for program in programs:
        assert shutil.which(program, path=str(PROJECT_ROOT / ".venv" / "bin")), program


def test_the_example_of_the_score_is_computed_rightly() -> None:
    [alpha, beta, gamma] = map(float, re.findall(r"[αβγ] = ([\d.]+)", README)[:3])
    row = r"^\| [^|]*?(\d+\.\d\d)[^|]*, after (\d+) s \|.*\*\*(\d+)\*\*"
    rows = re.findall(row, README, re.MULTILINE)
    assert len(rows) == 3
    for price, seconds, score in rows:
        computed = alpha * float(price) + beta / (float(seconds) + 1) + gamma * 1.0
        assert computed == float(score)
    assert "raising your price gives up your early\nbonus" in README


def test_the_readme_is_short() -> None:
    assert len(README.split()) < MOST_WORDS
