"""The measures with their bars, and the figures collected for them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Measure:
    """A ratio of two series of figures, or one series when there is no denominator."""

    name: str
    title: str
    numerator: str
    denominator: str | None
    # None: reported only.
    bar: float | None
    # Whether the bar is a minimum; else it is a maximum.
    at_least: bool
    unit: str = ""
    # False: reported only. Absolute figures depend on the machine as much as on the code.
    is_judged: bool = True

    @property
    def bar_text(self) -> str:
        if self.bar is None:
            return "none"
        return f"{'>=' if self.at_least else '<='} {self.bar:g}{self.unit}"


_OWN_MEASURES = (
    Measure(
        "bids-to-echo",
        "accepted bids/s ÷ bare Flask JSON echo/s",
        "bids/s",
        "echo/s",
        2.5,
        at_least=True,
    ),
    Measure(
        "bids-to-asgi-echo",
        "accepted bids/s ÷ bare ASGI JSON echo/s",
        "bids/s",
        "asgi echo/s",
        0.25,
        at_least=True,
    ),
    Measure(
        "web-cpu-to-echo",
        "web CPU per bid ÷ CPU of a bare Flask JSON echo",
        "cpu µs/bid, web",
        "cpu µs/echo, echo",
        0.2,
        at_least=False,
    ),
    Measure(
        "browser-headers",
        "bids/s with a browser's headers ÷ with the four required ones",
        "bids/s, browser's headers",
        "bids/s, few headers",
        0.85,
        at_least=True,
    ),
    Measure(
        "batches-to-singles",
        "Redis CPU per bid in batches ÷ in single calls",
        "cpu µs/bid, redis, batches",
        "cpu µs/bid, redis, singles",
        0.6,
        at_least=False,
    ),
    Measure(
        "nginx-to-keepalive",
        "bids/s through default nginx ÷ through nginx with keep-alive",
        "bids/s, nginx",
        "bids/s, nginx keeping",
        None,
        at_least=True,
        is_judged=False,
    ),
    Measure(
        "jobs-per-1000-bids",
        "drain jobs per 1,000 accepted bids at saturation",
        "drain jobs",
        "thousand bids",
        5.0,
        at_least=False,
    ),
    Measure(
        "drain-to-insert",
        "drained rows/s ÷ rows/s of a plain batched INSERT",
        "drained rows/s",
        "inserted rows/s",
        0.60,
        at_least=True,
    ),
    Measure(
        "drain-to-bids",
        "drained rows/s ÷ accepted bids/s at saturation",
        "drained rows/s",
        "bids/s",
        5.0,
        at_least=True,
    ),
    Measure(
        "script-growth",
        "µs per bid script call with many bidders ÷ with 1,000",
        "script µs, many bidders",
        "script µs, 1,000 bidders",
        1.3,
        at_least=False,
    ),
    Measure(
        "board-to-echo",
        "board page 1 requests/s during bids ÷ bare Flask JSON echo/s",
        "boards/s",
        "echo/s beside boards",
        3.0,
        at_least=True,
    ),
    Measure(
        "always-to-everysec",
        "bids/s with appendfsync always ÷ everysec",
        "bids/s, always",
        "bids/s, everysec",
        0.85,
        at_least=True,
    ),
    Measure(
        "metrics-to-none",
        "bids/s with metrics, access log and rate limit ÷ without",
        "bids/s, metered",
        "bids/s, unmetered",
        0.95,
        at_least=True,
    ),
    Measure(
        "cluster-to-one",
        "bids/s on a cluster of three masters ÷ on one Redis",
        "bids/s, cluster",
        "bids/s, one Redis",
        0.70,
        at_least=True,
        is_judged=False,
    ),
    Measure(
        "close-to-sql",
        "seconds of a close ÷ of its ranking SQL alone",
        "close s",
        "ranking SQL s",
        2.0,
        at_least=False,
    ),
    Measure(
        "close-priced-to-plain",
        "seconds of a close with second_score and offers ÷ of one without",
        "close s, priced",
        "close s",
        1.3,
        at_least=False,
    ),
    Measure(
        "export-to-copy",
        "seconds of an export, the slower format ÷ of PostgreSQL's own COPY",
        "export s",
        "copy s",
        3.0,
        at_least=False,
    ),
    Measure(
        "export-memory",
        "growth of an exporting process's memory",
        "export MiB",
        None,
        64.0,
        at_least=False,
        unit=" MiB",
    ),
    Measure(
        "bid-p99",
        "p99 latency of bids at half of saturation",
        "bid p99 ms",
        None,
        15.0,
        at_least=False,
        unit=" ms",
        is_judged=False,
    ),
    Measure(
        "watchers-to-none",
        "accepted bids/s with watchers ÷ without",
        "bids/s, watched",
        "bids/s, unwatched",
        0.75,
        at_least=True,
    ),
    Measure(
        "frame-lag-p99",
        "p99 from accepting a bid to a watcher's frame, at saturation",
        "frame lag p99 ms",
        None,
        500.0,
        at_least=False,
        unit=" ms",
    ),
    Measure(
        "watcher-memory",
        "memory of the web processes per watcher",
        "KiB a watcher",
        None,
        64.0,
        at_least=False,
        unit=" KiB",
        is_judged=False,
    ),
    Measure(
        "own-lines",
        "lines of our own code for HTTP, WebSockets and batching",
        "own lines",
        None,
        1000.0,
        at_least=False,
        is_judged=False,
    ),
)
# Measured only with --baseline.
BASELINE_MEASURES = (
    Measure(
        "bids-to-baseline",
        "accepted bids/s ÷ the baseline's",
        "bids/s, this",
        "bids/s, baseline",
        None,
        at_least=True,
        is_judged=False,
    ),
    Measure(
        "p99-to-baseline",
        "p99 latency at half of the baseline's saturation ÷ the baseline's",
        "p99 ms, this",
        "p99 ms, baseline",
        None,
        at_least=False,
        is_judged=False,
    ),
    Measure(
        "watched-to-baseline",
        "bids/s with watchers ÷ the baseline's with watchers",
        "bids/s, this, watched",
        "bids/s, baseline, watched",
        None,
        at_least=True,
        is_judged=False,
    ),
)
MEASURES = (*_OWN_MEASURES, *BASELINE_MEASURES)
BASELINE_NAMES = {measure.name for measure in BASELINE_MEASURES}
NAMES = tuple(measure.name for measure in MEASURES)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of some figures."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread":
        found = sorted(figures)
        return cls(median(found), found[0], found[-1], len(found))


@dataclass(slots=True)
class Figures:
    """Series of figures by name, one figure per round, and all failed checks."""

    series: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        self.series.setdefault(name, []).append(value)

    def check(self, holds: bool, sentence: str) -> None:
        """Record a failed check; the run continues and exits with an error."""
        if not holds:
            print(f"  FAILED: {sentence}", flush=True)
            self.failures.append(sentence)

    def median(self, name: str) -> float:
        return median(self.series[name])


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one measure."""

    measure: Measure
    numerator: Spread
    denominator: Spread | None
    ratio: Spread

    @property
    def is_met(self) -> bool:
        found, bar = self.ratio.median, self.measure.bar
        if bar is None:
            return True
        return found >= bar if self.measure.at_least else found <= bar


def result_of(measure: Measure, figures: Figures) -> Result | None:
    """The measure's result over all complete rounds; None when there is none.

    The ratio is the median of the rounds' ratios: both halves of a round run within seconds
    of each other, so a slow machine affects both.
    """
    above = figures.series.get(measure.numerator, [])
    if measure.denominator is None:
        return Result(measure, Spread.of(above), None, Spread.of(above)) if above else None
    below = figures.series.get(measure.denominator, [])
    pairs = [(a, b) for a, b in zip(above, below, strict=False) if b]
    if not pairs:
        return None
    return Result(
        measure,
        Spread.of(a for a, _ in pairs),
        Spread.of(b for _, b in pairs),
        Spread.of(a / b for a, b in pairs),
    )
