"""The units in deploy/systemd: jobs in hand finish, and a process can do no more than it needs."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest

from core.config import PROJECT_ROOT

UNITS = {path.name: path.read_text() for path in (PROJECT_ROOT / "deploy/systemd").iterdir()}
PROCESS, RELEASE = "flashbid@.service", "flashbid-release.service"
DEPLOY = (PROJECT_ROOT / "docs" / "how-to" / "deploy.md").read_text()
INSTALLED = "/srv/flashbid"
ANALYZE = which("systemd-analyze")
CONFINED = {
    "NoNewPrivileges": ["yes"],
    "CapabilityBoundingSet": [""],
    "ProtectSystem": ["strict"],
    "ProtectHome": ["yes"],
    "PrivateTmp": ["yes"],
    "User": ["flashbid"],
}
# What a process must say; systemd's default differs from each.
WANTED = {
    **CONFINED,
    "KillMode": ["mixed"],
    "TimeoutStopSec": ["30"],
    "Restart": ["always"],
    "RuntimeDirectory": ["flashbid"],
    "RuntimeDirectoryMode": ["0700"],
    "RuntimeDirectoryPreserve": ["yes"],
    "StateDirectory": ["flashbid"],
    "StateDirectoryMode": ["0700"],
    "ExecStart": [f"{INSTALLED}/docker/start %i"],
    "WantedBy": ["flashbid.target"],
    "StartLimitIntervalSec": ["0"],
}


def parsed(text: str) -> dict[str, list[str]]:
    """The values of each key. Raises AssertionError on a line that is none."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line or line[0] in "#[":
            continue
        match = re.fullmatch(r"([A-Z]\w+)=(.*)", line)
        assert match, line
        found.setdefault(match[1], []).append(match[2])
    return found


def faults(process: str, release: str) -> Iterator[str]:
    settings = parsed(process)
    for key, values in WANTED.items():
        if settings.get(key) != values:
            yield f"{PROCESS}: {key} is {settings.get(key)}"
    if "RUNTIME_FOLDER=%t/flashbid" not in " ".join(settings.get("Environment", ())):
        yield f"{PROCESS}: metrics are not in its runtime folder"
    if "EXPORTS_FOLDER=%S/flashbid" not in " ".join(settings.get("Environment", ())):
        yield f"{PROCESS}: exports are not in its state folder"
    if RELEASE in " ".join(settings.get("Requires", ())):
        yield f"{PROCESS}: does not start while PostgreSQL is down"
    settings = parsed(release)
    for key, values in {**CONFINED, "Type": ["oneshot"], "TimeoutStartSec": ["infinity"]}.items():
        if settings.get(key) != values:
            yield f"{RELEASE}: {key} is {settings.get(key)}"


def processes() -> list[str]:
    names = re.findall(r"^(\w+): ", (PROJECT_ROOT / "Procfile").read_text(), re.MULTILINE)
    return [name for name in names if name != "release"]


def test_the_units_let_jobs_finish_and_confine_the_processes() -> None:
    assert list(faults(UNITS[PROCESS], UNITS[RELEASE])) == []


@pytest.mark.parametrize("key", WANTED)
def test_a_missing_line_of_a_process_is_found(key: str) -> None:
    without = re.sub(rf"^{key}=.*\n", "", UNITS[PROCESS], flags=re.MULTILINE)
    assert without != UNITS[PROCESS]
    assert list(faults(without, UNITS[RELEASE]))


@pytest.mark.parametrize("key", [*CONFINED, "Type", "TimeoutStartSec"])
def test_a_missing_line_of_the_release_is_found(key: str) -> None:
    without = re.sub(rf"^{key}=.*\n", "", UNITS[RELEASE], flags=re.MULTILINE)
    assert list(faults(UNITS[PROCESS], without))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("KillMode=mixed", "KillMode=control-group"),
        lambda text: text.replace("RUNTIME_FOLDER=%t/flashbid", ""),
        lambda text: text.replace("EXPORTS_FOLDER=%S/flashbid", ""),
        lambda text: text.replace("[Service]", "Requires=flashbid-release.service\n[Service]"),
    ],
)
def test_a_wrong_line_is_found(change: Callable[[str], str]) -> None:
    assert list(faults(change(UNITS[PROCESS]), UNITS[RELEASE]))


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """By its own program where that is installed; `parsed` has read them in any case."""
    for name, text in UNITS.items():
        assert parsed(text)
        (tmp_path / name).write_text(text.replace(INSTALLED, str(PROJECT_ROOT)))
    if ANALYZE:
        assert complaints(tmp_path) == ""


def test_systemd_finds_a_word_it_does_not_know(tmp_path: Path) -> None:
    for name, text in UNITS.items():
        installed = text.replace(INSTALLED, str(PROJECT_ROOT))
        (tmp_path / name).write_text(installed.replace("KillMode=", "KilMode="))
    assert not ANALYZE or "KilMode" in complaints(tmp_path)


def complaints(folder: Path) -> str:
    """What systemd says of the units in this folder; of the host's own units nothing."""
    assert ANALYZE
    done = subprocess.run(  # noqa: S603 - a program of the system's
        [ANALYZE, "verify", "--man=no", *(folder / name for name in UNITS)],
        check=False,
        capture_output=True,
        text=True,
    )
    return "\n".join(line for line in done.stderr.splitlines() if "flashbid" in line)


def test_the_instructions_start_every_process() -> None:
    """In one line, which is pasted."""
    [enabled] = re.findall(r"systemctl enable .*flashbid@\{([\w,]+)\}", DEPLOY)
    assert sorted(enabled.split(",")) == sorted(processes())
