"""Links of the documentation lead to where their pages are in the site."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT
from dev.docs.hooks import PAGES_ELSEWHERE, resolved

MAKEFILE = (PROJECT_ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "[x](docs/api.md#errors)", "[x](api.md#errors)"),
        ("index.md", "[x](loadtest/README.md)", "[x](loadtest.md)"),
        ("index.md", "[x](LICENSE)", "x"),
        ("index.md", '<img src="docs/images/a.png">', '<img src="images/a.png">'),
        ("loadtest.md", "[x](../docs/drills.md)", "[x](drills.md)"),
        ("api.md", "[`x`](../deploy/nginx.conf)", "`x`"),
        ("api.md", "[x](decisions/README.md)", "[x](decisions/README.md)"),
        ("decisions/a.md", "[x](../scaling.md#y)", "[x](../scaling.md#y)"),
        ("decisions/a.md", "[x](../../CONTRIBUTING.md)", "[x](../contributing.md)"),
    ],
)
def test_a_link_leads_inside_the_site_or_becomes_text(page: str, text: str, expected: str) -> None:
    assert resolved(text, page) == expected


@pytest.mark.parametrize(
    "text", ["[x](https://example.com/a.md)", "[x](#y)", "`[x](y.md)`", "```\n[x](y.md)\n```\n"]
)
def test_addresses_anchors_and_code_are_left_alone(text: str) -> None:
    assert resolved(text, "index.md") == text


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the site is made of."""
    for file in ("mkdocs.yml", "pyproject.toml", "Makefile", *PAGES_ELSEWHERE):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT_ROOT / file, tmp_path / file)
    for package in ("core", "dev", "web", "worker"):
        (tmp_path / package).symlink_to(PROJECT_ROOT / package)
    shutil.copytree(PROJECT_ROOT / "docs", tmp_path / "docs")
    return tmp_path


def build(project: Path) -> subprocess.CompletedProcess[str]:
    """Build the site by the options of `make docs`."""
    [options] = re.findall(r"mkdocs \$\(or \$\(ARGS\),(.+)\)$", MAKEFILE, re.MULTILINE)
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "mkdocs", *options.split()],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_loads_nothing_from_other_hosts(copy: Path) -> None:
    built = build(copy)
    assert built.returncode == 0, built.stderr
    for page in (copy / "site").rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|source|iframe)\b[^>]*>", page.read_text())
        loaded = [
            tag for tag in tags if re.search(r"""(?:src|srcset|href)=["']?(?:https?:)?//""", tag)
        ]
        assert loaded == [], page


def test_a_page_that_is_not_in_the_navigation_or_a_dead_link_ends_the_build(copy: Path) -> None:
    (copy / "docs" / "new.md").write_text("# New\n\n[x](api.md#nowhere)\n")
    built = build(copy)
    assert built.returncode != 0
    assert "Aborted with 2 warnings" in built.stdout
