"""Every setting is in .env.example with its default, and nothing else is."""

import ast
import re
from collections.abc import Iterator

import pytest
import yaml

from core.config import PROJECT_ROOT, SettingsReader, load_settings, read_settings

SECRET = {"JWT_SECRET": "a-secret-for-tests-only-of-more-than-32-bytes"}
EXAMPLE = (PROJECT_ROOT / ".env.example").read_text()
DOCUMENTED = dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE))


def read_by_the_program() -> set[str]:
    reader = SettingsReader(SECRET)
    read_settings(reader)
    return set(reader.names)


# Names and defaults in the shell's way.
PROCFILE, COMPOSE = (
    dict(re.findall(r"\$\{(\w+):-([^}]+)}", (PROJECT_ROOT / name).read_text()))
    for name in ("Procfile", "docker-compose.yml")
)
# What the compose file itself says: where its servers and volumes are, and their secrets.
FIXED_BY_COMPOSE = re.compile(
    r"HOST|PORT|RUNTIME_FOLDER|EXPORTS_FOLDER|METRICS_(FOLDER|TOKEN|TOKEN_FILE)|JWT_SECRET_FILE|"
    r"(POSTGRES|REDIS)_(HOST|PORT|USER|PASSWORD|PASSWORD_FILE|DB)"
)
# What it asks for that the program does not, unless .env says otherwise.
STRICTER_BY_COMPOSE = {"PASSWORD_MIN_LENGTH": "12", "PASSWORD_REFUSE_COMMON": "true"}


def test_example_names_every_setting_and_no_other() -> None:
    assert set(DOCUMENTED) == read_by_the_program() | PROCFILE.keys() | COMPOSE.keys()


def test_compose_hands_on_every_setting_that_it_does_not_make_itself() -> None:
    compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
    services = [service for service in compose["services"].values() if "build" in service]
    given = {name: value for s in services for name, value in s.get("environment", {}).items()}
    handed_on = {name for name, value in given.items() if value is None}
    of_processes = read_by_the_program() | PROCFILE.keys()
    wanted = {name for name in of_processes if not FIXED_BY_COMPOSE.fullmatch(name)}
    assert handed_on | STRICTER_BY_COMPOSE.keys() == wanted


def test_compose_is_stricter_about_passwords() -> None:
    assert STRICTER_BY_COMPOSE.items() <= COMPOSE.items()


def test_example_changes_nothing_when_it_is_copied() -> None:
    assert re.findall(r"^[^#\n].*$", EXAMPLE, re.MULTILINE) == []


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_example_shows_the_default(name: str) -> None:
    """The line without its # changes nothing. An empty value stands for none."""
    defaults = load_settings(SECRET)
    of_shells = {**COMPOSE, **PROCFILE}
    if name in STRICTER_BY_COMPOSE:
        del of_shells[name]
    if name in of_shells:
        assert DOCUMENTED[name] == of_shells[name]
    if name in read_by_the_program():
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
    assert set(environment_readers()) == {"core/config/settings.py"}
