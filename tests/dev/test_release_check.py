"""A release goes out from a clean tree, with its changes described, and once."""

import subprocess
from pathlib import Path

import pytest

from dev.release_check import obstacles

VERSION = "2.1.0"
NOBODY = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")


def git(project: Path, *arguments: str) -> None:
    subprocess.run(["git", *NOBODY, *arguments], cwd=project, check=True, capture_output=True)  # noqa: S603, S607


def changelog(project: Path, entry: str) -> None:
    (project / "CHANGELOG.md").write_text(f"# Changelog\n\n## [Unreleased]\n\n{entry}\n")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{VERSION}"\n')
    changelog(tmp_path, f"## [{VERSION}] - 2030-01-31")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "Release")
    return tmp_path


def test_a_described_version_in_a_clean_tree_may_be_tagged(project: Path) -> None:
    assert obstacles(project) == []


def test_a_changed_file_is_in_the_way(project: Path) -> None:
    (project / "new.py").touch()
    [obstacle] = obstacles(project)
    assert "1 files are changed or untracked" in obstacle


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("## [2.0.0] - 2030-01-31", "no entry for 2.1.0"),
        (f"## [{VERSION}]", "no date"),
        (f"## [{VERSION}] - soon", "no date"),
    ],
)
def test_a_version_that_the_changelog_does_not_describe_is_refused(
    project: Path, entry: str, said: str
) -> None:
    changelog(project, entry)
    git(project, "commit", "--all", "--message", "Change the changelog")
    [obstacle] = obstacles(project)
    assert said in obstacle


def test_a_version_is_tagged_once(project: Path) -> None:
    git(project, "tag", f"v{VERSION}")
    [obstacle] = obstacles(project)
    assert "exists" in obstacle
