"""Whether this commit may be tagged as the version that pyproject.toml names:
`python -m dev.release_check`. Changes nothing.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

_NEW_ENTRIES = "Unreleased"


def obstacles(project: Path) -> list[str]:
    """What is in the way of the release, a sentence each."""
    version = _version(project)
    return [*_uncommitted(project), *_changelog(project, version), *_tag(project, version)]


def _version(project: Path) -> str:
    document = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    version: str = document["project"]["version"]
    return version


def _uncommitted(project: Path) -> list[str]:
    changed = _git(project, "status", "--porcelain").splitlines()
    if not changed:
        return []
    return [f"{len(changed)} files are changed or untracked: commit them or put them away."]


def _changelog(project: Path, version: str) -> list[str]:
    text = (project / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^## \[([^]]+)]([^\n]*)", text, re.MULTILINE))
    if version not in entries:
        how = f"rename [{_NEW_ENTRIES}] to [{version}] - YYYY-MM-DD, and start a new one above it"
        return [f"CHANGELOG.md has no entry for {version}: {how}."]
    if not re.fullmatch(r" - \d{4}-\d{2}-\d{2}", entries[version]):
        return [f"CHANGELOG.md gives {version} no date: ## [{version}] - YYYY-MM-DD."]
    return []


def _tag(project: Path, version: str) -> list[str]:
    if not _git(project, "tag", "--list", f"v{version}"):
        return []
    return [f"The tag v{version} exists: raise `version` in pyproject.toml."]


def _git(project: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],  # noqa: S607 - wherever git is
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def main() -> int:
    project = Path.cwd()
    found = obstacles(project)
    for obstacle in found:
        sys.stderr.write(f"flashbid: {obstacle}\n")
    if not found:
        version = _version(project)
        print(f"Ready. Tag it with: git tag --annotate v{version} --message 'Flashbid {version}'")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
