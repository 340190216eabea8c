"""The Makefile in surroundings that are not a developer's own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT
from dev.embedded.server import wait_until

TIMEOUT_SECONDS = 60.0
# An installer that fails when another is at work, as two real ones may.
INSTALLER = """\
#!/bin/sh
echo "$1" >> calls
[ "$1" = venv ] || exit 0
mkdir busy || exit 1
while [ ! -e go ]; do sleep 0.02; done
mkdir -p .venv/bin .venv/lib/python3/site-packages
rmdir busy
"""


Make = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def make() -> Iterator[Make]:
    """Starts `make`; what is left of it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        started.append(_make(folder, *arguments, **environ))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _make(folder: Path, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
    # A `make` that runs these tests is not the one above this one.
    surroundings = {name: os.environ[name] for name in os.environ if "MAKE" not in name}
    return subprocess.Popen(  # noqa: S603 - our own Makefile
        ["make", f"PYTHON={sys.executable}", *arguments],  # noqa: S607 - wherever make is
        cwd=folder,
        env={**surroundings, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(PROJECT_ROOT / name, folder)
    return folder


def test_two_that_install_at_once_take_turns_and_the_second_finds_all_done(
    make: Make, clone: Path, tmp_path: Path
) -> None:
    installer = tmp_path / "uv"
    installer.write_text(INSTALLER)
    installer.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    first = make(clone, "setup", PATH=path)
    assert wait_until((clone / "busy").exists, TIMEOUT_SECONDS)
    second = make(clone, "setup", PATH=path)
    assert second.stdout
    assert "waiting" in second.stdout.readline()
    (clone / "go").touch()
    for process in (first, second):
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0, output
        assert "Everything is installed" in output
    [hook] = clone.glob(".venv/lib/*/*/*.pth")
    assert "FLASK_SKIP_DOTENV" in hook.read_text()
    assert (clone / "calls").read_text().split() == ["venv", "pip"]


def test_foreign_settings_of_python_do_not_reach_what_make_runs(make: Make, clone: Path) -> None:
    foreign = dict.fromkeys(("PYTHONPATH", "PYTHONHOME"), "/foreign")
    foreign |= dict.fromkeys(("PIP_USER", "PYTHONDONTWRITEBYTECODE"), "1")
    shown = make(clone, "--eval=show: ; @env", "show", **foreign)
    output, _ = shown.communicate(timeout=TIMEOUT_SECONDS)
    assert shown.returncode == 0, output
    assert not {line.partition("=")[0] for line in output.splitlines()} & foreign.keys()


# Says when it is ready, and ends when a stop is requested.
STOPPABLE = """\
import sys, time
from dev.signals import StopSignals
signals = StopSignals()
print("ready", flush=True)
while not signals.stop_requested():
    time.sleep(0.02)
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_make_alone_stops_what_it_runs(make: Make, tmp_path: Path, number: int) -> None:
    script = tmp_path / "stoppable.py"
    script.write_text(STOPPABLE)
    makefile = tmp_path / "Makefile"
    makefile.write_text(f"run:\n\t@exec '{sys.executable}' '{script}'\n")
    running = make(tmp_path, "run", PYTHONPATH=str(PROJECT_ROOT))
    assert running.stdout
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    # To the end of the file: until the last process has closed it.
    output, _ = running.communicate(timeout=TIMEOUT_SECONDS)
    assert "stopped" in output
