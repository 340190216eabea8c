"""Describes the environment of a run: machine, versions, settings, commit."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import text

from core.config import PROJECT_ROOT
from dev.bench.options import Options
from dev.bench.runs.http import CONNECTIONS, TRICKLE_PER_SECOND
from dev.bench.servers.stack import WEB_PROCESSES, WEB_THREADS, WORKER_PROCESSES, BenchServers

PACKAGES = (
    *("celery", "flask", "flask-jwt-extended", "gunicorn", "marshmallow"),
    *("httptools", "msgspec", "psycopg2-binary", "redis", "sqlalchemy"),
    *("uvicorn", "uvicorn-worker", "uvloop", "websockets", "werkzeug"),
)
FLUSHES = 50


def describe(servers: BenchServers, options: Options) -> dict[str, Any]:
    """Everything a reader needs to interpret the figures."""
    settings = servers.settings
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(PROJECT_ROOT),
        "baseline": options.baseline and _commit(options.baseline),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "system": platform.platform(),
        "flush_ms": round(_flush_ms(servers.folder), 3),
        "python": platform.python_version(),
        "postgresql": _postgres_version(servers),
        "redis": _redis_version(servers),
        "packages": {name: version(name) for name in PACKAGES},
        "generator": _generator(options.generator),
        "settings": {
            "web_processes": WEB_PROCESSES,
            "web_threads": WEB_THREADS,
            "worker_processes": WORKER_PROCESSES,
            "bid_rate_per_second": settings.bid_rate_per_second,
            "drain_batch_size": settings.drain_batch_size,
            "drain_gather_ms": settings.drain_gather_ms,
            "appendonly": "yes",
            "appendfsync": "always",
            "connections": CONNECTIONS,
            "trickle_per_second": TRICKLE_PER_SECOND,
        },
        "options": {
            name: getattr(options, name) for name in options.__slots__ if name != "json_path"
        },
    }


def _commit(checkout: Path) -> str:
    """A checkout's commit, marked as dirty if files were changed."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],  # noqa: S607 - the developer's own git
        check=False,
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or "unknown"


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _flush_ms(folder: Path) -> float:
    """Milliseconds of a small write and flush, the cost of appendfsync always."""
    times = []
    with (folder / "flush").open("wb", buffering=0) as file:
        for _ in range(FLUSHES):
            start = time.perf_counter()
            file.write(b"x" * 512)
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - start))
    return median(times)


def _postgres_version(servers: BenchServers) -> str:
    with servers.services.engine.connect() as connection:
        return str(connection.scalar(text("SHOW server_version")))


def _redis_version(servers: BenchServers) -> str:
    info: Any = servers.services.redis.info("server")
    name = info.get("server_name", "redis")
    return f"{name} {info.get(f'{name}_version', info['redis_version'])}"


def _generator(name: str) -> str:
    if name != "wrk":
        return "dev.bench.generators.sockets"
    # wrk has no version option that exits with 0.
    output = subprocess.run(["wrk", "-v"], check=False, capture_output=True, text=True)  # noqa: S607 - as installed
    return " ".join((output.stdout or output.stderr).split()[:2])
