"""Plots as inline SVG, coloured by the page's style sheet, without scripts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, isfinite, log10

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 22, 14, 30
MAX_POINTS = 600
MAX_COLUMNS = 100
GOOD_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line or layer of bars; `colour` is a colour number in the style sheet."""

    name: str
    points: Sequence[Point]
    colour: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps values to coordinates."""

    x_low: float
    x_high: float
    y_high: float
    logarithmic: bool = False
    y_low: float = 0.0

    def x(self, value: float) -> float:
        share = (value - self.x_low) / ((self.x_high - self.x_low) or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - self._share(value) * (HEIGHT - TOP - BOTTOM)

    def _share(self, value: float) -> float:
        if not self.logarithmic:
            return (value - self.y_low) / ((self.y_high - self.y_low) or 1)
        low, high = log10(self.y_low), log10(self.y_high)
        return max(0.0, (log10(max(value, self.y_low)) - low) / ((high - low) or 1))

    def y_marks(self) -> list[float]:
        if not self.logarithmic:
            return ticks(self.y_low, self.y_high)
        powers = range(round(log10(self.y_low)), round(log10(self.y_high)) + 1)
        return [10.0**power for power in powers]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round numbers from `low` to `high`."""
    span = high - low
    if span <= 0 or not isfinite(span):
        return [low]
    raw = span / about
    power = 10.0 ** floor(log10(raw))
    step = next(power * good for good in GOOD_STEPS if power * good >= raw * 0.999)
    first = -floor(-low / step)
    marks = [(first + number) * step for number in range(4 * about)]
    return [mark for mark in marks if mark <= high + step * 1e-9]


@dataclass(frozen=True, slots=True)
class Axis:
    """The range of seconds shown, and moments to mark."""

    low: float
    high: float
    moments: Sequence[float] = ()


def line_plot(series: Sequence[Series], axis: Axis, unit: str, *, logarithmic: bool = False) -> str:
    """Lines over seconds since the start."""
    series = [Series(one.name, _thin(_finite(one.points)), one.colour) for one in series]
    heights = [y for one in series for _, y in one.points]
    if not heights:
        return _nothing()
    frame = _frame(heights, axis, logarithmic)
    lines = (_line(one, frame) for one in series)
    return _drawing(series, frame, axis, unit, "".join(lines))


def bar_plot(series: Sequence[Series], axis: Axis, unit: str) -> str:
    """Stacked bars, one second wide."""
    heights: dict[float, float] = {}
    rectangles: list[tuple[float, float, float, int]] = []
    for one in series:
        for x, y in one.points:
            below = heights.get(x, 0.0)
            heights[x] = below + y
            rectangles.append((x, below, below + y, one.colour))
    if not any(heights.values()):
        return _nothing()
    frame = _frame([*heights.values()], axis, logarithmic=False)
    bars = (_bar(frame, *rectangle) for rectangle in rectangles)
    return _drawing(series, frame, axis, unit, "".join(bars))


def _frame(heights: Sequence[float], axis: Axis, logarithmic: bool) -> Frame:
    highest = max(heights) or 1.0
    if not logarithmic:
        return Frame(axis.low, axis.high, highest * 1.05)
    low = floor(log10(max(min(heights), 0.1)))
    high = max(low + 1, -floor(-log10(highest)))
    return Frame(axis.low, axis.high, 10.0**high, logarithmic=True, y_low=10.0**low)


def _drawing(series: Sequence[Series], frame: Frame, axis: Axis, unit: str, body: str) -> str:
    legend = "".join(
        f'<span><i class="k{one.colour}"></i>{escape(one.name)}</span>' for one in series
    )
    return (
        f'<div class="legend">{legend}<span class="unit">{escape(unit)}</span></div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"{''.join(_grid(frame))}{''.join(_moments(frame, axis.moments))}{body}"
        f"{''.join(_columns(series, frame))}</svg>"
    )


def _columns(series: Sequence[Series], frame: Frame) -> Iterator[str]:
    """Invisible columns that show their values when pointed at; of several seconds the highest."""
    seconds = sorted({floor(x) for one in series for x, _ in one.points})
    if not seconds:
        return
    width = -(-(seconds[-1] - seconds[0] + 1) // MAX_COLUMNS)
    highest: dict[int, dict[str, float]] = {}
    for one in series:
        for x, y in one.points:
            values = highest.setdefault((floor(x) - seconds[0]) // width, {})
            values[one.name] = max(y, values.get(one.name, y))
    for column, values in sorted(highest.items()):
        first = seconds[0] + column * width
        left, right = frame.x(first), frame.x(first + width)
        when = f"{first} s" if width == 1 else f"{first} to {first + width - 1} s"
        lines = "".join(f"\n{escape(name)}: {_number(value)}" for name, value in values.items())
        yield (
            f'<rect class="at" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}"'
            f' height="{HEIGHT - TOP - BOTTOM}"><title>{when}{lines}</title></rect>'
        )


def _grid(frame: Frame) -> Iterator[str]:
    for mark in frame.y_marks():
        y = frame.y(mark)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="end">{_number(mark)}</text>'
    for mark in ticks(frame.x_low, frame.x_high, 8):
        x = frame.x(mark)
        yield f'<text x="{x:.1f}" y="{HEIGHT - 10}" class="mid">{_number(mark)} s</text>'


def _moments(frame: Frame, marks: Sequence[float]) -> Iterator[str]:
    for mark in marks:
        yield f'<path class="moment" d="M{frame.x(mark):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'


def _line(series: Series, frame: Frame) -> str:
    places = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in series.points)
    return f'<polyline class="c{series.colour}" points="{places}"/>'


def _bar(frame: Frame, x: float, low: float, high: float, colour: int) -> str:
    left, right = frame.x(x), frame.x(x + 1)
    top, bottom = frame.y(high), frame.y(low)
    return (
        f'<rect class="b{colour}" x="{left:.1f}" y="{top:.1f}"'
        f' width="{max(1.0, right - left - 0.5):.1f}" height="{bottom - top:.1f}"/>'
    )


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if isfinite(y)]


def _thin(points: Sequence[Point]) -> list[Point]:
    """The highest point of each stretch, so that no peak is lost."""
    stretch = -(-len(points) // MAX_POINTS) or 1
    return [
        max(points[at : at + stretch], key=lambda point: point[1])
        for at in range(0, len(points), stretch)
    ]


def _nothing() -> str:
    return '<p class="none">No data.</p>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.3g}"
