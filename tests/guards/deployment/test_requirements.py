"""Every dependency is one release, and the image installs only files with known hashes."""

import re

import pytest

from core.config import PROJECT_ROOT

PINS, DEV_PINS, LOCK, DOCKERFILE = (
    (PROJECT_ROOT / name).read_text()
    for name in ("requirements.txt", "requirements-dev.txt", "requirements.lock", "Dockerfile")
)
_PIN = r"[a-z0-9-]+==[\w.]+(; python_full_version < \"[\d.]+\")?"
_HASH = r"--hash=sha256:[0-9a-f]{64}"


def pins(text: str) -> set[str]:
    """Name, release and condition of each requirement, in one spelling."""
    lines = (re.sub(r"\s*(#.*|\\)$", "", line) for line in text.splitlines())
    pinned = (line.replace(" ;", ";").replace("'", '"') for line in lines if re.match(r"\w", line))
    return set(pinned)


def entries(lock: str) -> list[str]:
    return re.split(r"\n(?=\w)", lock.strip())


def faults(pinned: str, lock: str) -> list[str]:
    """Where the lock is not that of the requirements, or does not lock."""
    differing = pins(pinned) ^ pins(lock)
    unlocked = [e for e in entries(lock) if not re.fullmatch(rf"[^\\]+( \\\n {{4}}{_HASH})+", e)]
    return [*sorted(differing), *(entry.splitlines()[0] for entry in unlocked)]


@pytest.mark.parametrize("text", [PINS, DEV_PINS], ids=["product", "dev"])
def test_every_requirement_is_one_release(text: str) -> None:
    assert len(pins(text)) > 50
    assert [pin for pin in pins(text) if not re.fullmatch(_PIN, pin)] == []


def test_the_lock_is_that_of_the_requirements() -> None:
    """After a change: `make lock`."""
    assert faults(PINS, LOCK) == []


@pytest.mark.parametrize(
    ("pinned", "lock"),
    [
        (PINS.replace("celery==", "celery==9."), LOCK),
        (f"{PINS}new==1.0\n", LOCK),
        (PINS.replace("six==1.17.0\n", ""), LOCK),
        (PINS, re.sub(r"six==1.17.0 \\\n( {4}--hash.*\n)+", "six==1.17.0\n", LOCK)),
        (PINS, LOCK.replace("sha256:", "md5:", 1)),
    ],
)
def test_a_lock_that_is_not_is_found(pinned: str, lock: str) -> None:
    assert faults(pinned, lock)


def test_the_image_installs_the_lock_alone() -> None:
    [command] = re.findall(r"pip install (?:[^\n]*\\\n)*[^\n]*", DOCKERFILE)
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:", "-r requirements.lock"):
        assert option in command
    allowed = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert "!requirements.lock" in allowed
    assert "!requirements.txt" not in allowed
