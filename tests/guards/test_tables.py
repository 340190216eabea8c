"""Tables that must not fall behind the code: errors and their answers, scripts and their
replies, keys and their names, packages and their versions."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from core import errors, outages
from core.config import PROJECT_ROOT
from core.redis import keys, scripts
from core.redis.scripts import Outcome
from web.guards.problems import PROBLEMS

PRODUCT = ("core", "web", "worker")
LUA_FILES = sorted((PROJECT_ROOT / "core" / "redis" / "lua").glob("*.lua"))


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from (PROJECT_ROOT / package).rglob("*.py")


# Errors


def defined_errors() -> list[type[errors.Refusal]]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [k for k in kinds if issubclass(k, errors.Refusal) and k is not errors.Refusal]


def test_every_refusal_has_its_own_row_in_the_table_of_answers() -> None:
    assert len(defined_errors()) >= 15
    assert set(defined_errors()) <= set(PROBLEMS)


def test_every_outage_is_answered_as_one() -> None:
    assert {PROBLEMS[kind].code for kind in outages.ALL} == {"temporarily_unavailable"}


def test_every_refusal_is_used_by_the_rules() -> None:
    rules = [path for path in modules("core") if path.name != "errors.py"]
    source = "".join(path.read_text() for path in rules)
    for kind in defined_errors():
        assert re.search(rf"\b{kind.__name__}\b", source), kind.__name__


# Scripts


def code_of(path: Path) -> str:
    """A Lua file without its comments."""
    return re.sub(r"--.*", "", re.sub(r"--\[\[.*?\]\]", "", path.read_text(), flags=re.DOTALL))


def outcomes_of(path: Path) -> set[str]:
    """First elements of what a script returns."""
    replies = r"(?:return|local board =|reply =|\band|\bor)\s+\{?'(\w+)'"
    return set(re.findall(replies, code_of(path)))


@pytest.mark.parametrize("path", LUA_FILES, ids=lambda path: path.stem)
def test_script_returns_known_outcomes(path: Path) -> None:
    found = outcomes_of(path)
    assert found
    assert found <= set(Outcome)


def test_every_outcome_is_returned_by_a_script() -> None:
    assert set().union(*map(outcomes_of, LUA_FILES)) == set(Outcome)


def test_every_script_is_loaded() -> None:
    loaded = {value.source for value in vars(scripts).values() if isinstance(value, scripts.Script)}
    assert loaded == {path.read_text(encoding="utf-8") for path in LUA_FILES}


@pytest.mark.parametrize("path", LUA_FILES, ids=lambda path: path.stem)
def test_script_describes_the_keys_and_arguments_it_uses(path: Path) -> None:
    header = path.read_text().partition("]]")[0]
    for name in set(re.findall(r"\b(?:KEYS|ARGV)\[\d+\]", code_of(path))):
        kind, number = name.rstrip("]").split("[")
        ranges = re.findall(rf"{kind}\[(\d+)\.\.\]", header)
        assert name in header or any(int(first) <= int(number) for first in ranges), name


# Keys


def key_prefixes() -> set[str]:
    """What the names of keys start with, as core.redis.keys builds them."""
    built = {
        value(*["0"] * len(inspect.signature(value).parameters))
        for value in vars(keys).values()
        if inspect.isfunction(value)
    }
    built |= {value for value in vars(keys).values() if isinstance(value, str) and ":" in value}
    return {re.split(r"[{0]", key)[0] for key in built if " " not in key}


def texts(path: Path) -> Iterator[str]:
    """String literals of a module, without its docstrings."""
    tree = ast.parse(path.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_names_of_keys_are_spelled_in_one_module() -> None:
    """The load test audits from outside: it may not import core, and spells its own."""
    prefixes = key_prefixes()
    assert {"session:params:", "ranking:", "bid:", "bidlog:", "user:weight:"} <= prefixes
    for path in modules(*PRODUCT, "dev"):
        if path != PROJECT_ROOT / "core" / "redis" / "keys.py":
            for text in texts(path):
                assert not text.startswith(tuple(prefixes)), f"{path}: {text!r}"


def test_scripts_build_no_names_of_keys() -> None:
    """On a cluster every key that a script touches must be handed to it."""
    for path in LUA_FILES:
        for prefix in key_prefixes():
            assert not re.search(rf"""['"]{re.escape(prefix)}""", code_of(path)), path


# Packages


def pinned(file: str) -> dict[str, Requirement]:
    lines = (PROJECT_ROOT / file).read_text().splitlines()
    lines = [line.partition("#")[0].strip() for line in lines]
    requirements = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_is_pinned_to_one_version(file: str) -> None:
    for requirement in pinned(file).values():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), str(requirement)


def test_what_packages_bring_is_pinned_too() -> None:
    known = pinned("requirements.txt")
    for name, requirement in known.items():
        if requirement.marker and not requirement.marker.evaluate():
            continue
        for brought in map(Requirement, metadata.requires(name) or []):
            extras = [{"extra": extra} for extra in requirement.extras or [""]]
            if brought.marker is None or any(map(brought.marker.evaluate, extras)):
                assert canonicalize_name(brought.name) in known, f"{name} brings {brought.name}"
