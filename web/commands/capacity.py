"""The command line: `flask --app web capacity`, which tells what a sale needs."""

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


@click.command("capacity", cls=Command)
@click.option("--bidders", type=click.IntRange(1), required=True, help="Members who bid.")
@click.option(
    "--peak-rate",
    type=click.FloatRange(0, min_open=True),
    required=True,
    help="Bids a second at the peak, over all sessions.",
)
@click.option("--sessions", type=click.IntRange(1), default=1, show_default=True)
@click.option("--peak-seconds", type=click.FloatRange(0), default=60.0, show_default=True)
@click.option(
    "--outage-seconds",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    help="How long PostgreSQL may be away at the peak.",
)
def capacity(**expected: Any) -> None:
    """Tell the processes, Redis masters and memory that a sale needs, and why."""
    sale = SaleForecast(**expected)
    needed = plan(sale)
    max_bids = services().settings.backlog_max_bids
    for line in (*_plan_lines(needed), *_refusal_lines(needed, max_bids), *_assumption_lines(sale)):
        click.echo(line)
    if not needed.fits:
        click.echo(f"\n{_too_much(needed)}", err=True)
        raise SystemExit(1)


def _plan_lines(needed: CapacityPlan) -> list[str]:
    return [
        f"web        {needed.web_processes} processes (WEB_PROCESSES over all hosts), a core each",
        f"redis      {needed.redis_masters} masters, a core each, and two replicas of each",
        f"           {needed.redis_bytes / GIB:.1f} GiB over all masters",
        f"worker     {needed.worker_processes} processes (WORKER_CONCURRENCY over all hosts)",
        f"backlog    {needed.backlog_bids:,} bids at the end of the peak",
        f"           {needed.outage_backlog_bids:,} bids when PostgreSQL was away",
        f"session    {needed.session_rate:,.0f} bids/s each",
        f"           {needed.session_rate_limit:,.0f} bids/s at most",
    ]


def _refusal_lines(needed: CapacityPlan, max_bids: int) -> list[str]:
    """What the settings of this place would refuse."""
    if needed.outage_backlog_bids <= max_bids:
        return []
    return [
        "",
        f"BACKLOG_MAX_BIDS is {max_bids:,}: more are refused (503 backlog_full). Raise it.",
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
        f"  A core is planned {PLANNED_UTILISATION:.0%} busy.",
        f"  Redis gets {MEMORY_FACTOR:g} times the memory of what it holds.",
        f"  Bids are spread evenly over {sale.sessions} session(s), and those over the masters.",
        "  Each bidder bids in one session.",
        f"  The peak lasts {sale.peak_seconds:g} s.",
        f"  PostgreSQL may be away for {sale.outage_seconds:g} s, at the rate of the peak.",
        f"  A bid waits {GATHER_SECONDS:g} s for the drain that gathers it.",
        "  One session lies on one Redis and is drained by one process at a time.",
        "  Cores are like those measured, and costs grow in proportion: load-test before the sale.",
    ]


def _too_much(needed: CapacityPlan) -> str:
    return (
        f"One session cannot take {needed.session_rate:,.0f} bids a second: Redis runs its "
        f"scripts on one core. Spread the sale over {needed.redis_masters} sessions or more, or "
        "expect that those above the limit are refused (503 overloaded) and ask again."
    )
