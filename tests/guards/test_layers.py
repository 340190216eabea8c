"""Who may import whom: the contracts of pyproject.toml hold, and can fail."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config import PROJECT_ROOT

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts over the packages in a folder."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_hold() -> None:
    checked = lint(PROJECT_ROOT)
    assert checked.returncode == 0, checked.stdout


PACKAGES = ("core", "dev", "drill", "loadtest", "web", "worker")
BREAKS = {
    "web stands on worker, worker stands on core": ("worker", "import web"),
    "core's packages stand in layers": ("core/rules", "import core.redis"),
    "web's packages stand in layers": ("web/http", "import web.guards"),
    "in web, only commands know the database": ("web/routes", "import core.postgres"),
    "core knows neither the web nor the queue": ("core", "import flask"),
    "worker knows nothing of the web": ("worker", "import flask"),
    "the product runs without its tools": ("web", "import dev"),
    "the load test shares no code with the product": ("loadtest", "import core"),
    "dev knows the settings, not the application": ("dev", "import web"),
    "the drills see the application from outside": ("drill", "import web"),
}


def layers_of(contract: dict[str, Any]) -> Iterator[str]:
    """The folders that a contract on the layers inside packages speaks of."""
    for container in contract.get("containers", ()):
        for layer in contract["layers"]:
            yield from (f"{container}/{name}" for name in re.findall(r"\w+", layer))


def make_empty_packages(folder: Path) -> None:
    """All packages that the contracts name, with nothing in them."""
    shutil.copy(PROJECT_ROOT / "pyproject.toml", folder)
    settings = tomllib.loads((folder / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    inner = [package for contract in contracts for package in layers_of(contract)]
    for package in (*PACKAGES, *inner):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()


@pytest.mark.parametrize("contract", BREAKS)
def test_contract_can_fail(tmp_path: Path, contract: str) -> None:
    """Packages of one import each, and that one is not allowed."""
    make_empty_packages(tmp_path)
    assert lint(tmp_path).returncode == 0
    package, statement = BREAKS[contract]
    (tmp_path / package / "__init__.py").write_text(statement)
    checked = lint(tmp_path)
    assert f"{contract} BROKEN" in " ".join(checked.stdout.split())


@pytest.mark.parametrize("package", ["core", "web"])
def test_each_package_has_its_layer(tmp_path: Path, package: str) -> None:
    make_empty_packages(tmp_path)
    (tmp_path / package / "somewhere.py").touch()
    assert lint(tmp_path).returncode != 0
