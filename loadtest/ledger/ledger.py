"""The ledger: the generators' requests and responses, as append-only JSON lines.

Each line is an object whose `line` names its type:

    run       the first line of each file: mode, session, plan
    attempt   one bid request and its response or failure
    sample    members and requests in progress at a moment
    crowd     watchers at a moment, and their counts since the previous line
    seen      delays of one frame, for watchers with the same preceding frame

Every line is flushed when it is written. A killed generator leaves at most one torn line,
the last one; readers skip it.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from socket import gethostname
from typing import Any, Self

from loadtest.errors import LoadTestError

ACCEPTED = "accepted"
REPLAYED = "replayed"
TIMEOUT = "timeout"
CONNECTION = "connection"
ABANDONED = "abandoned"
# No connection became free in time, so nothing was sent.
NOT_SENT = "not_sent"
# Without a response, the member cannot know whether the bid was accepted.
UNANSWERED = frozenset({TIMEOUT, CONNECTION, ABANDONED})
# Refusals in every sale: bids that are too early or too late, below a standing price whose
# answer was lost, or so late that the score would drop.
EXPECTED_REFUSALS = frozenset(
    {"session_not_started", "session_ended", "price_below_standing", "score_would_drop"}
)
# Watcher counts: frames seen, connections lost before the end, reconnections, refused upgrades.
CROWD_COUNTS = ("frames", "lost", "reconnects", "refused")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One bid request. Times are seconds since 1970.

    `latency_ms` counts from the intended time, `service_ms` from sending. `kind` is accepted,
    replayed, the response's error code or, without one, http_<status>, not_sent, or one of
    UNANSWERED. The fields after it come from the response to an accepted bid; the last says
    what the request asked for.
    """

    user_id: str
    price: str
    intended_at: float
    sent_at: float
    latency_ms: float
    service_ms: float
    status: int
    kind: str
    sequence: int | None = None
    score: float | None = None
    rank: int | None = None
    response_time: float | None = None
    weight: float | None = None
    accepted_at: str | None = None
    only_if_better: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Whether the response confirmed the bid."""
        return self.kind in {ACCEPTED, REPLAYED}

    @property
    def may_be_stored(self) -> bool:
        """Whether the bid may have been stored."""
        return self.is_confirmed or self.kind in UNANSWERED or self.status >= 500

    @property
    def is_error(self) -> bool:
        """Whether the service failed. A bid abandoned by the stopping generator is no error."""
        return not (self.is_confirmed or self.kind in EXPECTED_REFUSALS or self.kind == ABANDONED)

    @property
    def answered_at(self) -> float:
        """The time of the response or failure."""
        return self.intended_at + self.latency_ms / 1000


@dataclass(frozen=True, slots=True)
class SeenFrames:
    """Watchers who saw the board of `after`, and next that of `shown`.

    Times are seconds since 1970 by the server's clock. `delays_ms` maps milliseconds from
    `shown` until the frame arrived to the number of watchers.
    """

    after: float
    shown: float
    delays_ms: dict[int, int]


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one request."""

    intended_at: float
    sent_at: float
    answered_at: float


def answered(
    user_id: str, price: Decimal, timing: Timing, status: int, body: bytes | None
) -> Attempt:
    """The attempt of a request with an HTTP response."""
    answer = _json_object(body)
    if status == 200 and "sequence" in answer:
        return _attempt(
            user_id,
            price,
            timing,
            status=status,
            kind=REPLAYED if answer["replayed"] else ACCEPTED,
            sequence=answer["sequence"],
            score=answer["score"],
            rank=answer["rank"],
            response_time=answer["response_time"],
            weight=answer["user_weight"],
            accepted_at=answer["accepted_at"],
        )
    return _attempt(
        user_id, price, timing, status=status, kind=answer.get("code") or f"http_{status}"
    )


def failure(error: BaseException | None) -> str:
    """The kind of an attempt that ended in this error."""
    return TIMEOUT if isinstance(error, TimeoutError) else CONNECTION


def unanswered(user_id: str, price: Decimal, timing: Timing, kind: str) -> Attempt:
    """The attempt of a request without a response."""
    return _attempt(user_id, price, timing, status=0, kind=kind)


def _attempt(user_id: str, price: Decimal, timing: Timing, **outcome: Any) -> Attempt:
    return Attempt(
        user_id=user_id,
        price=str(price),
        intended_at=timing.intended_at,
        sent_at=timing.sent_at,
        latency_ms=round((timing.answered_at - timing.intended_at) * 1000, 3),
        service_ms=round((timing.answered_at - timing.sent_at) * 1000, 3),
        **outcome,
    )


def _json_object(body: bytes | None) -> dict[str, Any]:
    try:
        answer = json.loads(body or b"{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


class Ledger:
    """Writes one ledger file; each generator process has its own."""

    def __init__(self, path: Path, **run: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self._write("run", run)

    def attempt(self, attempt: Attempt) -> None:
        """Write a bid request."""
        self._write("attempt", asdict(attempt))

    def sample(self, **sample: float) -> None:
        """Write a sample of the generator."""
        self._write("sample", sample)

    def crowd(self, **counts: float) -> None:
        """Write a sample of the watchers."""
        self._write("crowd", counts)

    def seen(self, after: float, shown: float, delays_ms: Mapping[int, int]) -> None:
        """Write the delays of a frame."""
        self._write("seen", {"after": after, "shown": shown, "delays_ms": delays_ms})

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: str, content: dict[str, Any]) -> None:
        self._file.write(json.dumps({"line": line, **content}) + "\n")
        self._file.flush()


class CpuShare:
    """Measures this process's CPU use. Near a full core, the generator is the bottleneck."""

    def __init__(self) -> None:
        self._at, self._used = time.perf_counter(), time.process_time()

    def share(self) -> float:
        """Share of one core used since the last call."""
        at, used = time.perf_counter(), time.process_time()
        share = (used - self._used) / max(at - self._at, 1e-9)
        self._at, self._used = at, used
        return round(share, 3)


@dataclass(slots=True)
class LedgerContents:
    """All lines of the ledgers of one session."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)
    crowd: list[dict[str, float]] = field(default_factory=list)
    seen: list[SeenFrames] = field(default_factory=list)
    torn_lines: int = 0

    @property
    def mode(self) -> str:
        """The load model: "closed" or "open"."""
        modes = {str(run.get("mode")) for run in self.runs}
        return " and ".join(sorted(modes)) or "unknown"

    def add(self, line: dict[str, Any]) -> None:
        """Add one parsed line."""
        match line.pop("line", None):
            case "run":
                self.runs.append(line)
            case "attempt":
                self.attempts.append(Attempt(**line))
            case "sample":
                self.samples.append(line)
            case "crowd":
                self.crowd.append(line)
            case "seen":
                delays_ms = {int(ms): count for ms, count in line.pop("delays_ms").items()}
                self.seen.append(SeenFrames(**line, delays_ms=delays_ms))


def ledger_path(folder: Path, session_id: str) -> Path:
    """The path of this process's ledger of a session."""
    return folder / f"ledger-{session_id}-{gethostname()}-{os.getpid()}.jsonl"


def read(paths: Iterable[Path], session_id: str | None = None) -> LedgerContents:
    """Read ledger files, optionally of one session only."""
    recorded = LedgerContents()
    for path in paths:
        _read_file(path, session_id, recorded)
    if not recorded.runs:
        raise LoadTestError("No ledger of this session was found there.")
    return recorded


def _read_file(path: Path, session_id: str | None, recorded: LedgerContents) -> None:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in _parsed(lines, recorded):
                if line.get("line") == "run" and session_id not in {None, line.get("session_id")}:
                    return
                recorded.add(line)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise LoadTestError(f"{path} cannot be read: {reason}.") from None
    except TypeError:
        raise LoadTestError(f"{path} is not a ledger of this version.") from None


def _parsed(lines: Iterable[str], recorded: LedgerContents) -> Iterator[dict[str, Any]]:
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            recorded.torn_lines += 1
            continue
        if isinstance(line, dict):
            yield line


def find(place: Path) -> list[Path]:
    """The ledger files at a path, which is a file or a folder."""
    if place.is_dir():
        return sorted(place.glob("ledger-*.jsonl"))
    if not place.exists():
        raise LoadTestError(f"There is no ledger at {place}.")
    return [place]


class LedgerTail:
    """Reads a folder's growing ledgers; each call returns the new lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def read(self) -> LedgerContents:
        """Complete lines written since the last call."""
        fresh = LedgerContents()
        for path in self._folder.glob("ledger-*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                text = file.read()
            whole = text.rfind(b"\n") + 1
            self._offsets[path] = self._offsets.get(path, 0) + whole
            for line in _parsed(text[:whole].decode().splitlines(), fresh):
                fresh.add(line)
        return fresh
