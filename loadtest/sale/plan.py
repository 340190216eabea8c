"""The options of a load test, the same in every mode."""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.sale.curve import Curve

# Half of the rate limit of 10 bids a second, because arrivals are random.
BIDS_PER_MEMBER_AND_SECOND = 5.0


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Size, duration and terms of the sale. `peak` is in bids per second."""

    members: int = 1000
    peak: float = 250.0
    duration: float = 60.0
    inventory: int = 50
    upset_price: float = 100.0
    alpha: float = 0.5
    beta: float = 1000.0
    gamma: float = 2.0
    timeout: float = 5.0
    seed: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name, getattr(self, field.name))
        enough = self.peak / BIDS_PER_MEMBER_AND_SECOND
        if self.members < enough:
            raise LoadTestError(
                f"{self.members} members cannot place {self.peak:g} bids a second within the rate "
                f"limit. Use at least {enough:.0f} members or a lower peak."
            )

    @staticmethod
    def _check(name: str, number: float) -> None:
        low, high = _BOUNDS[name]
        if not (isfinite(number) and low <= number <= high):
            option = name.replace("_", "-")
            raise LoadTestError(f"--{option} must be between {low:g} and {high:g}, not {number:g}.")

    @property
    def curve(self) -> Curve:
        """The traffic curve."""
        return Curve(self.duration)

    @property
    def pace_seconds(self) -> float:
        """Seconds between a member's bids at which all members together reach the peak."""
        return self.members / self.peak

    def terms(self, start_time: str) -> dict[str, Any]:
        """The request body that creates the session."""
        names = ("upset_price", "inventory", "alpha", "beta", "gamma")
        return {name: getattr(self, name) for name in names} | {
            "name": "Flash sale of a load test",
            "duration_minutes": self.duration / 60,
            "start_time": start_time,
        }

    def options(self) -> list[str]:
        """This plan as command-line options."""
        pairs = ((f"--{name.replace('_', '-')}", value) for name, value in asdict(self).items())
        return [text for option, value in pairs for text in (option, f"{value:.15g}")]


_BOUNDS = {
    "members": (1, 100_000),
    "peak": (0.1, 100_000),
    "duration": (2, 86_400),
    "inventory": (1, 1_000_000),
    "upset_price": (0.01, 1_000_000),
    "alpha": (0, 1e15),
    "beta": (0, 1e15),
    "gamma": (0, 1e15),
    "timeout": (0.1, 300),
    "seed": (0, 2**53),
}
_HELP = {
    "members": "number of members, all present at the peak",
    "peak": "bids per second at the deadline",
    "duration": "seconds from the opening to the deadline",
    "inventory": "items for sale, the maximum number of winners",
    "upset_price": "the lowest price that bids may have",
    "alpha": "factor of the price in the score",
    "beta": "factor of the speed in the score",
    "gamma": "factor of the member's weight in the score",
    "timeout": "seconds until a member stops waiting for a response and retries",
    "seed": "the same seed repeats the same prices and arrivals",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add one command-line option per field, with its default."""
    for field in fields(LoadPlan):
        kind: Callable[[str], float] = int if isinstance(field.default, int) else float
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            metavar="N",
            help=f"{_HELP[field.name]} (%(default)s)",
        )


def plan_from_options(options: argparse.Namespace) -> LoadPlan:
    """The plan given by parsed options."""
    return LoadPlan(**{field.name: getattr(options, field.name) for field in fields(LoadPlan)})
