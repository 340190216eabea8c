"""The file `.env`: read in UTF-8, with a sentence for whatever cannot be understood."""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values, find_dotenv
from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables

from core.config.reader import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# PORTT is like PORT, but SECRET_KEY is like no setting.
_LIKENESS = 0.75


def read_dotenv(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Values by name; none if there is no file. `${NAME}` is replaced by the value of an earlier
    line or of `environ`, except in single quotes, where all characters are literal.

    Raises ConfigError. Its message names the line but does not show it: it may be a secret.
    """
    values: dict[str, str] = {}
    for binding in _bindings(path):
        name, value = binding.key, binding.value
        if name is None or value is None:
            continue
        if not _is_literal(binding):
            value = _expanded(value, {**environ, **values}, f"{path}, line {_line(binding)}")
        values[name] = value
    return values


def without_copies(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the `flask` command has copied into it: the values of the
    nearest `.env`, which may be in a folder above, and expanded within single quotes, too.
    """
    if environ.get("FLASK_RUN_FROM_CLI") != "true" or environ.get("FLASK_SKIP_DOTENV"):
        return dict(environ)
    copied = dotenv_values(find_dotenv(usecwd=True) or None, encoding="utf-8")
    return {name: value for name, value in environ.items() if copied.get(name) != value}


def unknown_names(path: Path, environ: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Names in the file that are no settings, each with the likely one or an empty text.

    A name that is also in `environ` belongs to whoever set it there.
    """
    names = dict.fromkeys(binding.key for binding in _bindings(path) if binding.key)
    return {
        name: _likely(name, known) for name in names if name not in known and name not in environ
    }


def _likely(name: str, known: Collection[str]) -> str:
    return next(iter(get_close_matches(name.upper(), known, n=1, cutoff=_LIKENESS)), "")


def _bindings(path: Path) -> Iterator[Binding]:
    for binding in parse_stream(StringIO(_text(path))):
        is_assignment = binding.value is not None and _NAME.fullmatch(binding.key or "")
        is_empty = binding.key is None and not binding.error
        if not (is_assignment or is_empty):
            raise ConfigError(
                f"{path}, line {_line(binding)}: this is not NAME=value. Use an equals sign, a "
                "name without spaces, and quotes in pairs."
            )
        yield binding


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if raw.startswith(_UTF_16_MARKS) or b"\0" in raw:
        raise ConfigError(f"{path} is in UTF-16 or not text. Save it in UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: this is not UTF-8. Save the file in UTF-8."
        ) from None


def _line(binding: Binding) -> int:
    """The parser counts the empty lines before a statement as its own."""
    text = binding.original.string
    skipped = text[: len(text) - len(text.lstrip())]
    return int(binding.original.line + len(re.findall(r"\r\n|\n|\r", skipped)))


def _is_literal(binding: Binding) -> bool:
    return str(binding.original.string).partition("=")[2].lstrip().startswith("'")


def _expanded(value: str, values: Mapping[str, str], where: str) -> str:
    atoms = list(parse_variables(value))
    for atom in atoms:
        if isinstance(atom, Variable) and atom.name not in values and atom.default is None:
            raise ConfigError(
                f"{where}: ${{{atom.name}}} is not set. Put the value in single quotes if it "
                f"contains this text, or write ${{{atom.name}:-}} if it may be empty."
            )
    return "".join(atom.resolve(values) for atom in atoms)
