"""Every setting is in .env.example with its default, and nothing else is."""

import ast
import re
from collections.abc import Iterator

import pytest

from core.config import PROJECT_ROOT, SettingsReader, load_settings, read_settings

SECRET = {"JWT_SECRET": "a-secret-for-tests-only-of-more-than-32-bytes"}
EXAMPLE = (PROJECT_ROOT / ".env.example").read_text()
DOCUMENTED = dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE))


def read_by_the_program() -> set[str]:
    reader = SettingsReader(SECRET)
    read_settings(reader)
    return set(reader.names)


def read_by_the_procfile() -> set[str]:
    return set(re.findall(r"\$\{(\w+)", (PROJECT_ROOT / "Procfile").read_text()))


def test_example_names_every_setting_and_no_other() -> None:
    assert set(DOCUMENTED) == read_by_the_program() | read_by_the_procfile()


def test_example_changes_nothing_when_it_is_copied() -> None:
    assert re.findall(r"^[^#\n].*$", EXAMPLE, re.MULTILINE) == []


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_example_shows_the_default(name: str) -> None:
    """The line without its # changes nothing. An empty value stands for none."""
    defaults = load_settings(SECRET)
    if name in read_by_the_procfile():
        default = re.search(rf"\$\{{{name}:-(\w+)}}", (PROJECT_ROOT / "Procfile").read_text())
        assert default
        assert DOCUMENTED[name] == default[1]
    else:
        assert load_settings({name: DOCUMENTED[name], **SECRET}) == defaults


def test_every_setting_is_explained() -> None:
    """A comment stands above it, or above the group it is in."""
    for block in EXAMPLE.split("\n\n"):
        lines = block.strip().splitlines()
        if any(re.match(r"#[A-Z]", line) for line in lines):
            assert lines[0].startswith("# "), block


def environment_readers() -> Iterator[str]:
    """Modules of the product that look into the environment."""
    for package in ("core", "web", "worker"):
        for path in (PROJECT_ROOT / package).rglob("*.py"):
            names = {
                ast.unparse(node)
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute)
            }
            if names & {"os.environ", "os.getenv"}:
                yield str(path.relative_to(PROJECT_ROOT))


def test_only_one_module_reads_the_environment() -> None:
    assert set(environment_readers()) == {"core/config.py"}
