"""The command `flask --app web capacity`: the resources a sale needs."""

from math import isnan
from typing import Any

import click

from core.operations.capacity import (
    CONSTANTS,
    GATHER_SECONDS,
    MEMORY_FACTOR,
    PLANNED_UTILISATION,
    CapacityPlan,
    SaleForecast,
    plan,
)
from web.commands.base import Command
from web.state import services

GIB = 1024**3
MAX_COUNT = 1_000_000_000
MAX_SECONDS = 1_000_000.0


class Range(click.FloatRange):
    """A range that refuses NaN, which no comparison does."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number. Fails if it is outside the range."""
        number: float = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


@click.command("capacity", cls=Command)
@click.option(
    "--bidders",
    type=click.IntRange(1, MAX_COUNT),
    required=True,
    help="Number of members who bid.",
)
@click.option(
    "--peak-rate",
    type=Range(0, MAX_COUNT, min_open=True),
    required=True,
    help="Bids per second at the peak, over all sessions.",
)
@click.option(
    "--sessions",
    type=click.IntRange(1, MAX_COUNT),
    default=1,
    show_default=True,
    help="Sessions that run at the same time.",
)
@click.option(
    "--peak-seconds",
    type=Range(0, MAX_SECONDS),
    default=60.0,
    show_default=True,
    help="Length of the peak.",
)
@click.option(
    "--outage-seconds",
    type=Range(0, MAX_SECONDS),
    default=300.0,
    show_default=True,
    help="Length of a PostgreSQL outage to survive at the peak.",
)
def capacity(**expected: Any) -> None:
    """Calculate the processes, Redis masters and memory for a sale."""
    sale = SaleForecast(**expected)
    needed = plan(sale)
    max_bids = services().settings.backlog_max_bids
    for line in (
        *_plan_lines(needed),
        *_backlog_warning(needed, max_bids),
        *_assumption_lines(sale),
    ):
        click.echo(line)
    if not needed.fits:
        click.echo(f"\n{_overload_message(needed)}", err=True)
        raise SystemExit(1)


def _plan_lines(needed: CapacityPlan) -> list[str]:
    return [
        f"web        {needed.web_processes} processes (WEB_PROCESSES over all hosts), 1 core each",
        f"redis      {needed.redis_masters} masters, 1 core and 2 replicas each",
        f"           {needed.redis_bytes / GIB:.1f} GiB of memory over all masters",
        f"           {needed.append_only_bytes / GIB:.1f} GiB of append-only file on disk",
        f"worker     {needed.worker_processes} processes (WORKER_CONCURRENCY over all hosts)",
        f"backlog    {needed.backlog_bids:,} bids at the end of the peak",
        f"           {needed.outage_backlog_bids:,} bids after the PostgreSQL outage",
        f"session    {needed.session_rate:,.0f} bids/s each",
        f"           {needed.session_rate_limit:,.0f} bids/s at most",
    ]


def _backlog_warning(needed: CapacityPlan, max_bids: int) -> list[str]:
    """A warning when BACKLOG_MAX_BIDS is too low for the outage."""
    if needed.outage_backlog_bids <= max_bids:
        return []
    return [
        "",
        f"BACKLOG_MAX_BIDS is {max_bids:,}; bids beyond that get 503 backlog_full. Raise it.",
    ]


def _assumption_lines(sale: SaleForecast) -> list[str]:
    measured = [
        f"  {constant.value:>8,.0f} {constant.unit:7} {constant.meaning} ({constant.measured})"
        for constant in CONSTANTS
    ]
    return [
        "",
        "Measured:",
        *measured,
        "Assumed:",
        f"  Cores are planned for {PLANNED_UTILISATION * 100:.0f} % utilisation.",
        f"  Redis gets {MEMORY_FACTOR:g} times the memory that its data takes.",
        f"  Bids are spread evenly over {sale.sessions} session(s), and sessions over masters.",
        "  Each bidder bids in one session.",
        f"  The peak lasts {sale.peak_seconds:g} s.",
        f"  PostgreSQL is down for {sale.outage_seconds:g} s at the peak rate.",
        f"  A bid waits {GATHER_SECONDS:g} s for its drain.",
        "  Each session is on one Redis master and is drained by one process at a time.",
        "  Cores match those measured and costs grow linearly: load-test before the sale.",
    ]


def _overload_message(needed: CapacityPlan) -> str:
    return (
        f"One session cannot handle {needed.session_rate:,.0f} bids/s, because Redis runs its "
        f"scripts on one core. Split the sale into {needed.redis_masters} sessions or more, or "
        "expect bids above the limit to be shed (503 overloaded) and retried."
    )
