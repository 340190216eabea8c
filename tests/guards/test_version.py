"""There is one version number, and it stands in pyproject.toml."""

import tomllib

from flask import Flask

from core.config import PROJECT_ROOT
from web.routes.documents.openapi import openapi_document

VERSION = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["version"]
FOLDERS = ("core", "dev", "drill", "loadtest", "web", "worker", "docker", "deploy")


def test_the_openapi_document_has_the_projects_version(app: Flask) -> None:
    assert openapi_document(app)["info"]["version"] == VERSION


def test_no_other_file_spells_the_version() -> None:
    paths = [path for folder in FOLDERS for path in (PROJECT_ROOT / folder).rglob("*")]
    paths += [PROJECT_ROOT / name for name in ("Dockerfile", "docker-compose.yml", "Makefile")]
    quoted = (f'"{VERSION}"', f"'{VERSION}'", f":{VERSION}")
    for path in paths:
        if path.is_file() and path.suffix in {"", ".py", ".sh", ".yml", ".html", ".js"}:
            text = path.read_text()
            assert not any(spelling in text for spelling in quoted), path


def test_the_image_has_the_file_that_names_the_version() -> None:
    assert "!pyproject.toml" in (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
