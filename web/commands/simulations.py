"""The command `flask --app web simulate`: what a sale would come to."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import click
from flask import Flask

from core.rules.simulation import MAX_PLACES, USUAL_CROWD, Simulation
from web.commands.base import Command
from web.http.responses import encode
from web.http.schemas import NewSimulation
from web.http.schemas import Simulation as SimulationSchema
from web.state import services

_SHOWN_PLACES = 10
_PLACE = "{:>4}  {:>12}  {:>10}  {:>6}  {:>12}  {:>12}  {}"
# Name, default and help of what a crowd and a sale are made of; bounds are the schema's.
_OPTIONS = (
    ("alpha", "0.5", "Weight of the price in the score."),
    ("beta", "1000", "Weight of speed in the score."),
    ("gamma", "2", "Weight of loyalty in the score."),
    ("upset_price", "100", "Starting price."),
    ("inventory", "5", "Items."),
    ("duration_minutes", "60", "Length of the session."),
    ("bidders", USUAL_CROWD.bidders, "Members who bid, once each."),
    ("late_share", USUAL_CROWD.late_share, "Share of them, 0 to 1, who come in the last tenth."),
    ("lowest_price", USUAL_CROWD.lowest_price, "Lowest price that is bid."),
    ("highest_price", USUAL_CROWD.highest_price, "Highest price that is bid."),
    ("largest_weight", USUAL_CROWD.largest_weight, "Largest weight of a member, 1 to 5."),
    ("runs", USUAL_CROWD.runs, "Sales to simulate, each with a new crowd."),
    ("seed", USUAL_CROWD.seed, "The same seed makes the same crowds."),
)


def register(app: Flask) -> None:
    """Add the command to the application."""
    app.cli.add_command(simulate)


class Number(click.ParamType[Any]):
    """A number with the digits that were typed, as a JSON body has it."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Decimal:
        """The number. Fails if the text is none."""
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def _with_options(command: Any) -> Any:
    for name, default, text in reversed(_OPTIONS):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, type=Number(), help=f"{text}  [{default}]")(command)
    return command


@click.command("simulate", cls=Command)
@click.option(
    "--session",
    "session_id",
    type=click.UUID,
    help="A past session: its bids take the crowd's place, and its terms are the defaults.",
)
@_with_options
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
def simulate(as_json: bool, **values: Any) -> None:
    """Simulate a sale to a crowd, or a past session under other terms. Changes nothing."""
    sent = {name: value for name, value in values.items() if value is not None}
    if session_id := values["session_id"]:
        sent["session_id"] = str(session_id)
    loaded = NewSimulation().load(sent)
    terms, crowd = loaded["terms"], loaded["crowd"]
    simulations = services().simulations
    if session_id:
        result = simulations.of_session(session_id, terms)
    else:
        result = simulations.of_crowd(terms, crowd)
    if as_json:
        click.echo(encode(SimulationSchema().dump(result)))
        return
    for line in _lines(result):
        click.echo(line)


def _lines(found: Simulation) -> Iterator[str]:
    terms = found.terms
    yield (
        f"Score = {terms.alpha:g} * price + {terms.beta:g} / (seconds + 1) + {terms.gamma:g} * "
        f"weight; {terms.inventory} items from {terms.upset_price} on"
    )
    yield f"{found.bids:,} bids in {found.runs} run(s), {found.refused:,} below the starting price"
    yield ""
    yield from _figures(found)
    yield ""
    yield from _places(found)


def _figures(found: Simulation) -> Iterator[str]:
    yield f"{found.revenue_as_bid:>14,}  revenue of a run if winners pay their bids (pay_as_bid)"
    yield f"{found.revenue_second_score:>14,}  revenue of a run by second_score"
    yield f"{found.highest_bid_losses:>14,}  runs in which a loser bid more than every winner"
    yield f"{found.underbid_winners:>14,}  of {found.winners:,} winners bid less than a loser"
    if found.loyalty_worth is None:
        yield "Prices do not count: nothing is worth money."
        return
    yield f"{found.loyalty_worth:>14,.2f}  is what a weight of 5 is worth beside 1"
    for second in found.second_worth:
        yield f"{second.worth:>14,.2f}  is what one second is worth at {second.response_time:g} s"


def _places(found: Simulation) -> Iterator[str]:
    yield _PLACE.format("rank", "price", "seconds", "weight", "score", "by second", "wins")
    for place in found.places[:_SHOWN_PLACES]:
        yield _PLACE.format(
            place.rank,
            f"{place.price:,}",
            f"{place.response_time:.2f}",
            f"{place.weight:.2f}",
            f"{place.score:.2f}",
            "" if place.second_price is None else f"{place.second_price:,}",
            "yes" if place.is_winner else "no",
        )
    if len(found.places) > _SHOWN_PLACES:
        yield f"The first run's best {_SHOWN_PLACES}; --json has up to {MAX_PLACES}."
