"""The report of a run: one self-contained HTML file."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from math import floor
from pathlib import Path
from typing import Any

from loadtest.ledger import figures, lags
from loadtest.ledger.figures import Latency, Second, Totals
from loadtest.ledger.lags import Lag
from loadtest.ledger.ledger import LedgerContents
from loadtest.ledger.verify import Verdict
from loadtest.report import plots
from loadtest.report.plots import Axis, Point, Series
from loadtest.sale.plan import LoadPlan
from loadtest.sale.sale import SaleSession

MODELS = {"closed": "Closed model", "open": "Open model"}
MEANINGS = {
    "closed": """each member waits for the response before the next bid, so a slow service
        reduces the load. Latency is measured from sending a bid.""",
    "open": """bids are sent on a schedule, without waiting for responses. Latency is measured
        from the scheduled time, so waiting clients hide no stall.""",
}
SHOWN_WINNERS = 100
COLOURS = 8
STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class ServiceSample:
    """The service's own figures at a moment; `at` is in seconds since 1970."""

    at: float
    backlog: float | None
    threshold: float | None
    bidders: int


@dataclass(frozen=True, slots=True)
class Run:
    """The contents of the report."""

    mode: str
    plan: LoadPlan
    sale: SaleSession
    recorded: LedgerContents
    service_samples: Sequence[ServiceSample]
    results: Mapping[str, Any]
    verdict: Verdict
    environment: Mapping[str, str]
    command: str
    warning: str = ""


def render(run: Run) -> str:
    """The whole page."""
    by_second = figures.seconds(run.recorded.attempts, run.sale.start)
    total = figures.totals(run.recorded.attempts, by_second)
    model, meaning = MODELS[run.mode], MEANINGS[run.mode]
    when = datetime.fromtimestamp(run.sale.start, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    sections = [
        f"<h1>Flash sale, {model.lower()}</h1>",
        f'<p class="when">{when} · session {escape(run.sale.session_id)}</p>',
        _verdict(run.verdict, run.warning),
        _tiles(total, run),
        f'<p class="model"><b>{model}:</b> {meaning}</p>',
        *_plots(by_second, run),
        *_crowd(run),
        _kinds(total),
        _winners(run.results),
        _facts("Options", run.plan.options()[::2], run.plan.options()[1::2]),
        _facts("Environment", run.environment.keys(), run.environment.values()),
        f"<h2>Command</h2><pre>{escape(run.command)}</pre>",
        "<p>The figures are beside this file, for programs: figures.json and seconds.csv.</p>",
    ]
    return _page(f"Flash sale {when}", "\n".join(sections))


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _verdict(verdict: Verdict, warning: str) -> str:
    kind = "good" if verdict.holds else "bad"
    rows = []
    for finding in verdict.findings:
        mark = f"{finding.count} differ" if finding.count else "holds"
        details = "".join(f"<br><small>{escape(text)}</small>" for text in finding.differences)
        rows.append((mark, f"{escape(finding.rule)}{details}"))
    notes = "".join(f"<li>{escape(note)}</li>" for note in verdict.notes)
    paragraph = f"<p>{escape(warning)}</p>" if warning else ""
    return (
        f'<section class="verdict {kind}"><b>{escape(verdict.summary)}</b>{paragraph}'
        f"<details{'' if verdict.holds else ' open'}><summary>Checks</summary>"
        f"{_table(rows)}<ul>{notes}</ul></details></section>"
    )


def _tiles(total: Totals, run: Run) -> str:
    share = total.errors / total.attempts if total.attempts else 0.0
    busiest = max((sample["cpu"] for sample in run.recorded.samples), default=0.0)
    tiles = (
        ("bids accepted", f"{total.accepted:,}"),
        ("best second", f"{total.best_second:,} /s"),
        ("p50", _ms(total.latency.p50)),
        ("p99", _ms(total.latency.p99)),
        ("slowest", _ms(total.latency.slowest)),
        ("errors", f"{total.errors:,} ({share:.2%})"),
        (
            "largest backlog",
            f"{max((w.backlog or 0 for w in run.service_samples), default=0):,.0f}",
        ),
        ("busiest generator", f"{busiest:.0%} of a core"),
        ("winners", f"{run.results['total_winners']} of {run.results['total_bidders']}"),
    )
    return _tile_row(tiles)


def _tile_row(tiles: Iterable[tuple[str, str]]) -> str:
    cells = (f"<div><b>{escape(value)}</b><span>{name}</span></div>" for name, value in tiles)
    return f'<section class="tiles">{"".join(cells)}</section>'


def _crowd(run: Run) -> list[str]:
    """The section about watchers, if there were any."""
    recorded, start = run.recorded, run.sale.start
    if not recorded.crowd:
        return []
    found = lags.by_second(recorded.seen, lags.moments(recorded.attempts), start + run.sale.ahead)
    lag = Lag.of(sum(found.values(), Counter()))
    frames = _summed(recorded.crowd, "frames", start)
    tiles = (
        (
            "watchers, maximum",
            f"{max(n for _, n in _summed(recorded.crowd, 'watching', start)):,.0f}",
        ),
        ("frame lag p50", _ms(lag.p50)),
        ("frame lag p99", _ms(lag.p99)),
        ("frame lag, slowest", _ms(lag.slowest)),
        ("frames", f"{sum(n for _, n in frames):,.0f}"),
        ("best second", f"{max(n for _, n in frames):,.0f} frames/s"),
        *((name, f"{_all(recorded.crowd, name):,.0f}") for name in ("lost", "reconnects")),
        ("refused", f"{_all(recorded.crowd, 'refused'):,.0f}"),
    )
    axis = _axis([], run)
    return [
        "<h2>Watchers</h2>",
        _tile_row(tiles),
        _plot("Frame lag: from accepting a bid to seeing its frame", _lag_plot(found, axis)),
        _plot(
            "Frames and watchers",
            plots.line_plot(
                [
                    Series("frames per second", frames, 0),
                    Series("watchers", _summed(recorded.crowd, "watching", start), 1),
                ],
                axis,
                "",
            ),
        ),
    ]


def _lag_plot(found: Mapping[int, Counter[int]], axis: Axis) -> str:
    by_second = {second: Lag.of(counted) for second, counted in found.items()}
    chosen: tuple[tuple[str, Callable[[Lag], float]], ...] = (
        ("p50", lambda lag: lag.p50),
        ("p99", lambda lag: lag.p99),
        ("slowest", lambda lag: lag.slowest),
    )
    series = [
        Series(name, [(second, value(lag)) for second, lag in by_second.items()], colour)
        for colour, (name, value) in enumerate(chosen)
    ]
    return plots.line_plot(series, axis, "ms")


def _all(samples: Iterable[Mapping[str, float]], name: str) -> float:
    return sum(sample[name] for sample in samples)


def _plots(by_second: Sequence[Second], run: Run) -> list[str]:
    axis = _axis(by_second, run)
    return [
        _plot("Bids per second", plots.line_plot(_rates(by_second), axis, "bids/s")),
        _plot(
            "Latency",
            plots.line_plot(_latencies(by_second), axis, "ms, log scale", logarithmic=True),
        ),
        _plot("Persist backlog", plots.line_plot(_backlog(run), axis, "bids")),
        _plot("Threshold score", plots.line_plot(_threshold(run), axis, "score")),
        _plot("Members and requests in flight", plots.line_plot(_present(run), axis, "")),
        _plot(
            "Refusals and errors by kind", plots.bar_plot(_errors(by_second), axis, "per second")
        ),
    ]


def _axis(by_second: Sequence[Second], run: Run) -> Axis:
    """The axis of all plots, covering the whole run."""
    duration = run.sale.end - run.sale.start
    ats = [second.at for second in by_second]
    ats += [floor(watched.at - run.sale.start) for watched in run.service_samples]
    samples = [*run.recorded.samples, *run.recorded.crowd]
    ats += [floor(sample["at"] - run.sale.start) for sample in samples]
    return Axis(min([*ats, 0]), max([*(at + 1 for at in ats), duration]), (0.0, duration))


def _plot(title: str, drawing: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{drawing}</section>"


def _rates(by_second: Sequence[Second]) -> list[Series]:
    return [
        Series("offered", [(second.at, second.offered) for second in by_second], 0),
        Series("accepted", [(second.at, second.achieved) for second in by_second], 1),
    ]


def _latencies(by_second: Sequence[Second]) -> list[Series]:
    chosen: tuple[tuple[str, Callable[[Latency], float]], ...] = (
        ("p50", lambda latency: latency.p50),
        ("p99", lambda latency: latency.p99),
        ("slowest", lambda latency: latency.slowest),
    )
    return [
        Series(name, [(second.at, value(second.latency)) for second in by_second], colour)
        for colour, (name, value) in enumerate(chosen)
    ]


def _backlog(run: Run) -> list[Series]:
    points = [(w.at - run.sale.start, w.backlog) for w in run.service_samples]
    return [Series("accepted, not yet in PostgreSQL", _known(points), 0)]


def _threshold(run: Run) -> list[Series]:
    points = [(w.at - run.sale.start, w.threshold) for w in run.service_samples]
    return [Series("score of the last winning place", _known(points), 0)]


def _known(points: Iterable[tuple[float, float | None]]) -> list[Point]:
    return [(x, y) for x, y in points if y is not None]


def _present(run: Run) -> list[Series]:
    names = ("members", "in_flight") if run.mode == "closed" else ("in_flight",)
    words = {"members": "members", "in_flight": "requests in flight"}
    return [
        Series(words[name], _summed(run.recorded.samples, name, run.sale.start), colour)
        for colour, name in enumerate(names)
    ]


def _summed(samples: Iterable[Mapping[str, float]], name: str, start: float) -> list[Point]:
    """The sum over all processes, per second."""
    sums: Counter[int] = Counter()
    for sample in samples:
        sums[round(sample["at"] - start)] += int(sample[name])
    return [(float(at), float(sums[at])) for at in sorted(sums)]


def _errors(by_second: Sequence[Second]) -> list[Series]:
    kinds = sorted({kind for second in by_second for kind in second.errors})
    return [
        Series(kind, [(s.at, s.errors[kind]) for s in by_second if s.errors[kind]], at % COLOURS)
        for at, kind in enumerate(kinds)
    ]


def _kinds(total: Totals) -> str:
    rows = [(escape(kind), f"{count:,}") for kind, count in total.kinds.most_common()]
    return f"<h2>Responses by kind</h2>{_table(rows)}"


def _winners(results: Mapping[str, Any]) -> str:
    winners = results["winners"]
    rows = [
        (
            str(entry["rank"]),
            escape(entry["username"]),
            f"{entry['price']:,.2f}",
            repr(entry["score"]),
        )
        for entry in winners[:SHOWN_WINNERS]
    ]
    more = len(winners) - len(rows)
    rest = f"<p>and {more} more</p>" if more else ""
    table = _table(rows, ("rank", "member", "price", "score"))
    return f"<details><summary>{len(winners)} winners</summary>{table}{rest}</details>"


def _facts(title: str, names: Iterable[str], values: Iterable[str]) -> str:
    rows = [(escape(name), escape(value)) for name, value in zip(names, values, strict=True)]
    return f"<h2>{escape(title)}</h2>{_table(rows)}"


def _table(rows: Iterable[Sequence[str]], heads: Sequence[str] = ()) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table>{f"<tr>{head}</tr>" if head else ""}{body}</table></div>'


def _ms(value: float) -> str:
    if value != value:  # noqa: PLR0124 - true for nan only
        return "none"
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"
