"""Starts load generators and reads what they saw: wrk where installed, else our own."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Protocol

from core.config import PROJECT_ROOT
from dev.bench.generators.sockets import Plan

HOW_TO_INSTALL_WRK = "apt-get install wrk (Debian, Ubuntu), dnf install wrk, brew install wrk"
SCRIPT = Path(__file__).with_name("wrk.lua")
# wrk waits this long after the last request, for the answers on their way.
GRACE_SECONDS = 1
# A generator that does not end by itself is broken.
TIMEOUT_SECONDS = 60.0


class GeneratorBroken(Exception):
    """A generator ended without a report."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run saw. `answered` are all answers with status 200."""

    answered: int
    per_second: float
    refused: dict[str, int]
    broken: int
    latencies_ms: list[float]


class Running(Protocol):
    """A load that is on."""

    def finish(self) -> Load:
        """Wait for its end; what it saw."""
        ...

    def kill(self) -> None:
        """End it at once; nothing happens when it has ended."""
        ...


class Generator(Protocol):
    """Sends as much as the server takes."""

    name: str

    def start(self, plan: Plan) -> Running: ...


def run(generator: Generator, plan: Plan) -> Load:
    """Run one plan to its end."""
    running = generator.start(plan)
    try:
        return running.finish()
    finally:
        running.kill()


class Process:
    """A generator's process. In a session of its own: Ctrl-C is ours to handle."""

    def __init__(self, command: Sequence[str | Path], text: str = "") -> None:
        self._popen = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._popen.stdin is not None  # noqa: S101 - it was asked for above
        with suppress(BrokenPipeError), self._popen.stdin as stdin:
            stdin.write(text)
        self._popen.stdin = None

    def output(self) -> str:
        output, complaint = self._popen.communicate(timeout=TIMEOUT_SECONDS)
        if self._popen.returncode != 0:
            last_line = (complaint.strip() or output.strip()).splitlines()[-1:]
            raise GeneratorBroken(f"The load generator failed: {''.join(last_line)}")
        return output

    def kill(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()


class Wrk:
    """wrk with a script: it costs the servers the least of the machine."""

    name = "wrk"
    threads: ClassVar[int] = 1

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("wrk") is not None

    def start(self, plan: Plan) -> Running:
        command: list[str | Path] = [
            *("wrk", "--threads", str(self.threads)),
            *("--connections", str(plan.connections)),
            *("--duration", f"{ceil(plan.seconds) + GRACE_SECONDS}s", "--timeout", "10s"),
            *("--script", SCRIPT, f"http://{plan.host}:{plan.port}{plan.path}", "--"),
            *(plan.method, plan.path, f"{plan.host}:{plan.port}", ",".join(plan.session_ids)),
            *(str(plan.first_cents), str(plan.seconds), str(self.threads), plan.tokens_path),
            "".join(f"{line}\n" for line in plan.headers),
        ]
        return _WrkRunning(Process(command), plan)


class _WrkRunning:
    def __init__(self, process: Process, plan: Plan) -> None:
        self._process = process
        self._plan = plan

    def finish(self) -> Load:
        output = self._process.output()
        found = re.search(r"^BENCH (.*)$", output, re.MULTILINE)
        if found is None:
            raise GeneratorBroken(f"wrk ended without a report:\n{output}")
        seen: dict[str, Any] = json.loads(found[1])
        answered = seen["answers"] - seen["refused"]
        # The last request of each connection is answered after the window's end.
        in_window = max(0, answered - self._plan.connections)
        return Load(
            answered=answered,
            per_second=in_window / self._plan.seconds,
            refused={"not 2xx": seen["refused"]} if seen["refused"] else {},
            broken=seen["broken"],
            latencies_ms=[],
        )

    def kill(self) -> None:
        self._process.kill()


class Sockets:
    """Our own generator, in as many processes as asked for."""

    name = "dev.bench.generators.sockets"

    def __init__(self, processes: int = 2) -> None:
        self._processes = processes

    def start(self, plan: Plan) -> Running:
        return _SocketsRunning([_start_sockets(part) for part in _split(plan, self._processes)])


class _SocketsRunning:
    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes

    def finish(self) -> Load:
        seen = [json.loads(process.output()) for process in self._processes]
        statuses = sum((Counter(one["statuses"]) for one in seen), Counter[str]())
        answered = statuses.pop("200", 0)
        return Load(
            answered=answered,
            per_second=sum(one["in_window"] / one["window_seconds"] for one in seen),
            refused=dict(statuses),
            broken=sum(one["broken"] for one in seen),
            latencies_ms=sorted(latency for one in seen for latency in one["latencies_ms"]),
        )

    def kill(self) -> None:
        for process in self._processes:
            process.kill()


def _start_sockets(plan: Plan) -> Process:
    return Process([sys.executable, "-m", "dev.bench.generators.sockets"], json.dumps(asdict(plan)))


def _split(plan: Plan, parts: int) -> list[Plan]:
    """The plan's share for each process; their prices interleave, so that no two are equal."""
    return [
        replace(
            plan,
            connections=max(1, plan.connections // parts),
            rate=None if plan.rate is None else plan.rate / parts,
            first_cents=plan.first_cents + part,
            step=parts,
        )
        for part in range(parts)
    ]
