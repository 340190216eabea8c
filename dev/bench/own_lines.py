"""Counts our own lines of code between the network and a bid's script call."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from core.config import PROJECT_ROOT

# HTTP, WebSockets and the batching of calls.
PATTERNS = (
    "web/front/*.py",
    "web/asgi.py",
    "web/lane.py",
    "web/http/requests.py",
    "core/bidding/batches.py",
    "core/runtime.py",
    "core/redis/calls.py",
)
_NO_CODE = frozenset(
    {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    }
)
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def count(root: Path = PROJECT_ROOT) -> int:
    """Lines of code without blank lines, comments and docstrings."""
    return sum(count_in(path.read_text()) for path in _paths(root))


def count_in(source: str) -> int:
    """The same for the source of one module."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {
        line
        for token in tokens
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - _docstring_lines(source))


def _docstring_lines(source: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            found.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return found


def _paths(root: Path) -> Iterator[Path]:
    for pattern in PATTERNS:
        yield from sorted(root.glob(pattern))
