"""The pages say what the code says, and their links lead somewhere."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from core.config import PROJECT_ROOT
from web.guards import problems
from web.routes.documents.openapi import openapi_document

API = (PROJECT_ROOT / "docs" / "reference" / "api.md").read_text()
SETTINGS = (PROJECT_ROOT / "docs" / "reference" / "settings.md").read_text()
EXAMPLE = (PROJECT_ROOT / ".env.example").read_text()
# Not ours, or made by make.
ELSEWHERE = {"artifacts", "node_modules", "site"}


def pages() -> Iterator[Path]:
    """Every page of the repository."""
    for folder, below, files in os.walk(PROJECT_ROOT):
        below[:] = sorted(n for n in below if n not in ELSEWHERE and not n.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if name.endswith(".md"))


PAGES = list(pages())


# The API's page


def codes_in_the_code() -> set[tuple[int, str]]:
    named = [value for value in vars(problems).values() if isinstance(value, problems.Problem)]
    known = [*named, *problems.PROBLEMS.values(), *problems.HTTP_PROBLEMS.values()]
    return {(problem.status, problem.code) for problem in known}


def codes_on_the_page(page: str) -> set[tuple[int, str]]:
    """Rows of the table of errors; one row may name several codes."""
    table = page.partition("| status | code | when |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", table, re.MULTILINE)
    return {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


def test_the_table_of_errors_has_every_code_and_no_other() -> None:
    assert len(codes_in_the_code()) >= 35
    assert codes_on_the_page(API) == codes_in_the_code()


def test_a_code_that_is_missing_on_the_page_is_found() -> None:
    assert codes_on_the_page(API.replace("`session_ended`", "")) != codes_in_the_code()


def test_the_page_has_every_route_and_no_other(app: Flask) -> None:
    paths = openapi_document(app)["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    rows = re.findall(r"^\| (`(?:GET|POST|PUT|PATCH|DELETE) .*?) \|", API, re.MULTILINE)
    shown = {route for row in rows for route in re.findall(r"`([A-Z]+ [^`]+)`", row)}
    # Pages for people and the document itself are no operations.
    assert shown - {"GET /", "GET /docs", "GET /openapi.json", "GET /asyncapi.json"} == routes


def test_the_page_names_every_field(app: Flask) -> None:
    document = openapi_document(app)
    schemas = document["components"]["schemas"]
    fields = {field for schema in schemas.values() for field in schema["properties"]}
    for methods in document["paths"].values():
        for operation in methods.values():
            fields |= {parameter["name"] for parameter in operation.get("parameters", ())}
    named = {name.removesuffix("?") for name in re.findall(r"`([\w?-]+)`", API)}
    named |= set(re.findall(r"{(\w+)}", API))
    assert len(fields) >= 80
    assert fields - named == set()


# The settings' page


def test_the_page_of_settings_has_every_setting_and_default() -> None:
    documented = dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE))
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ?(.*?) ?\|", SETTINGS, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert {name: default.strip("`") for name, default in rows} == documented


# Links


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as they are made from headings by most readers of Markdown."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        repeated = sum(name == anchor for name in found)
        found.append(f"{anchor}-{repeated}" if repeated else anchor)
    return set(found)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def links(text: str) -> Iterator[str]:
    """What a page links to or shows, but for addresses on the web."""
    prose = re.sub(r"`[^`\n]*`", "`code`", without_code(text))
    found = re.findall(r"\]\(([^)\s]+)[^)]*\)", prose)
    found += re.findall(r'(?:src|srcset|href)="([^"]+)"', prose)
    yield from (link for link in found if not re.match(r"[a-z]+:", link))


def dead_links(page: Path, text: str) -> list[str]:
    return [link for link in links(text) if not _leads_somewhere(page, text, link)]


def _leads_somewhere(page: Path, text: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    if not anchor:
        return True
    there = text if target == page else target.read_text()
    return anchor in anchors(there)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page, page.read_text()) == []


@pytest.mark.parametrize(
    "link", ["[x](nowhere.md)", "[x](security.md#nowhere)", "[x](#nowhere)", '<img src="no.png">']
)
def test_a_dead_link_is_found(link: str) -> None:
    page = PROJECT_ROOT / "docs" / "reference" / "api.md"
    assert dead_links(page, f"{API}\n{link}\n") != []


def test_no_page_leads_out_of_the_repository() -> None:
    for page in PAGES:
        for link in links(page.read_text()):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.is_relative_to(PROJECT_ROOT), f"{page}: {link}"


# Places in the code


def named_files(page: Path) -> set[str]:
    """Files of the project that a page names in backticks."""
    return set(
        re.findall(
            r"`((?:core|web|worker|dev|drill|loadtest|tests)/[\w./]+\.\w+)`", page.read_text()
        )
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    missing = {name for name in named_files(page) if not (PROJECT_ROOT / name).exists()}
    assert not missing


# Commands


# What `make setup` installs is in .venv, and on nobody's PATH.
BARE = re.compile(
    r"^(?: {4}|\$ )?(?:python3? -m (?!venv)\S+|flask|celery|gunicorn|locust) .*", re.MULTILINE
)


def command_lines(page: str) -> list[str]:
    """Indented blocks, and blocks of a shell."""
    fenced = re.findall(r"```(?:sh|bash|console)?\n(.*?)```", page, re.DOTALL)
    return [*"\n".join(fenced).splitlines(), *re.findall(r"^ {4}\S.*", page, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_commands_name_the_virtual_environment(page: Path) -> None:
    assert [line for line in command_lines(page.read_text()) if BARE.match(line)] == []


def test_a_command_without_it_is_found() -> None:
    page = "    python -m loadtest open\n\n```sh\nflask --app web init-db\n```\n"
    assert sum(bool(BARE.match(line)) for line in command_lines(page)) == 2
