"""What the product knows of its server and of redis-py: their documented sides alone."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT

ONLY_HERE = ("web/front/http.py", "web/front/server.py", "web/front/websocket.py")
HTTP = ONLY_HERE[0]
_UVICORN = {"uvicorn", "uvicorn_worker"}
# Whose names with a leading underscore are nobody's to use.
_THEIRS = {*_UVICORN, "gunicorn", "redis"}
# Names with an underscore that their documentation tells of.
_DOCUMENTED = {"_replace", "_asdict", "_make", "_fields"}
_PRIVATE = re.compile(r"\b_[a-z]\w*")


def sources() -> dict[str, str]:
    """The product's files, by path."""
    return {
        str(path.relative_to(PROJECT_ROOT)): path.read_text()
        for folder in ("core", "web", "worker")
        for path in sorted((PROJECT_ROOT / folder).rglob("*.py"))
    }


def faults_in(files: dict[str, str]) -> list[str]:
    """What these files of the product may not do."""
    trees = {path: _tree(text) for path, text in files.items()}
    own = {name for text in files.values() for name in _names_of(text)}
    return [
        f"{path}: {fault}"
        for path, tree in trees.items()
        for fault in (*_imports(path, tree), *_foreign_names(tree, own), *_overridden(tree))
    ]


@cache
def _tree(text: str) -> ast.Module:
    """Most files are the same in each test."""
    return ast.parse(text)


@cache
def _names_of(text: str) -> frozenset[str]:
    return frozenset(_defined(_tree(text)))


def _imports(path: str, tree: ast.Module) -> Iterator[str]:
    for module, name in _imported(tree):
        package = module.partition(".")[0]
        if package == "gunicorn" or (package in _UVICORN and path not in ONLY_HERE):
            yield f"imports {module}"
        elif package in _THEIRS and _PRIVATE.search(f"{module}.{name}"):
            yield f"imports {module}.{name}"


@cache
def _imported(tree: ast.Module) -> list[tuple[str, str]]:
    """Module and name of each import, wherever it stands."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(node.module, alias.asname or alias.name) for alias in node.names]
    return found


def _foreign_names(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Private names that are used, and that no file of the product gives to anything."""
    yield from (f"uses {name}" for name in _used(tree) if name not in own)


@cache
def _used(tree: ast.Module) -> set[str]:
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in used if _PRIVATE.match(name)}


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Constant(value=str(name)) if _PRIVATE.fullmatch(name):
                yield name  # in __slots__
    yield from _DOCUMENTED


def _overridden(tree: ast.Module) -> Iterator[str]:
    """Names in a class over one of theirs that are private names of its base's module."""
    module_of = {name: module for module, name in _imported(tree)}
    for node in _classes(tree):
        modules = {module_of.get(ast.unparse(base).partition(".")[0]) for base in node.bases}
        for module in modules:
            if module and module.partition(".")[0] in _THEIRS:
                inside = set(_PRIVATE.findall(ast.unparse(node)))
                yield from (f"uses {name} of {module}" for name in inside & _private_in(module))


@cache
def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


@cache
def _private_in(module: str) -> set[str]:
    """The private names that a module's file has, or all files of a package."""
    spec = find_spec(module)
    assert spec
    assert spec.origin
    origin = Path(spec.origin)
    files = origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]
    return {name for file in files for name in _PRIVATE.findall(file.read_text())}


def test_the_product_uses_no_inside_of_its_server() -> None:
    assert faults_in(sources()) == []


BREAKS = {
    "web/gunicorn_conf.py": "from gunicorn.arbiter import Arbiter",
    "web/front/server.py": "class W:\n    import gunicorn.workers.base",
    "core/bidding/board.py": "import uvicorn",
    "worker/tasks.py": "def f():\n    from uvicorn_worker import UvicornWorker",
    "core/redis/calls.py": "from redis._parsers import encoders",
    "core/redis/cluster.py": "def f(cluster):\n    return cluster._move_slots()",
    "core/bootstrap.py": (
        "from redis import asyncio as redis_asyncio\n"
        "class Pool(redis_asyncio.ConnectionPool):\n"
        "    def get(self):\n        return self._available_connections"
    ),
    "web/http/access_log.py": "def f(log):\n    return log._gunicorn_name",
}
SERVER_BREAKS = (
    "self._unset_keepalive_if_required()",
    "self._should_upgrade()",
)


@pytest.mark.parametrize("path", BREAKS)
def test_each_fault_is_found(path: str) -> None:
    files = sources()
    files[path] += f"\n{BREAKS[path]}\n"
    assert [fault for fault in faults_in(files) if fault.startswith(path)]


@pytest.mark.parametrize("statement", SERVER_BREAKS)
def test_a_private_name_of_a_base_is_found(statement: str) -> None:
    files = sources()
    before = '        """Parse, and limit the head'
    assert before in files[HTTP]
    files[HTTP] = files[HTTP].replace(before, f"        {statement}\n{before}")
    assert faults_in(files)
