"""Who may import whom: the contracts of pyproject.toml hold, and can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

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


BREAKS = {
    "web stands on worker, worker stands on core": ("worker", "import web"),
    "core knows neither the web nor the queue": ("core", "import flask"),
    "worker knows nothing of the web": ("worker", "import flask"),
    "the product runs without its tools": ("web", "import dev"),
    "the load test shares no code with the product": ("loadtest", "import core"),
    "dev knows the settings, not the application": ("dev", "import web"),
    "the drills see the application from outside": ("drill", "import web"),
}


@pytest.mark.parametrize("contract", BREAKS)
def test_contract_can_fail(tmp_path: Path, contract: str) -> None:
    """Packages of one import each, and that one is not allowed."""
    for package in ("core", "dev", "drill", "loadtest", "web", "worker"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    package, statement = BREAKS[contract]
    (tmp_path / package / "__init__.py").write_text(statement)
    checked = lint(tmp_path)
    assert f"{contract} BROKEN" in " ".join(checked.stdout.split())
