"""The Python client's types are those of the served documents."""

import subprocess
import sys
from pathlib import Path

from core.config import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "clients" / "python"


def test_its_types_are_those_of_the_documents(tmp_path: Path) -> None:
    """After a change of a schema: `make client`."""
    written = tmp_path / "models.py"
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, str(FOLDER / "generate.py"), "--output", str(written)],
        env={"PYTHONPATH": str(PROJECT_ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert written.read_text() == (FOLDER / "flashbid_client" / "models.py").read_text()
