"""Work in steps: a generator yields what it waits for, and whoever runs it chooses how to wait.

The same bid is so placed by a thread that waits for its own reply, and by an event loop
that sends the commands of many bids in one pipeline and waits for none of them.
"""

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Command = tuple[str | float, ...]


class Caller(Protocol):
    """What carries a call to Redis: a client, or a CallCombiner over one."""

    def execute_command(self, *command: str | float) -> Any:
        """The command's reply."""


class Query(Command):
    """A command that changes nothing: equal ones that are asked at once may share one reply."""

    __slots__ = ()


# A command for Redis, whose reply is sent back in; or a function that may take long, as
# PostgreSQL and the broker do, whose value is. What either raises is thrown in. Such a
# function is safe to repeat, and who asks for what is under way already may share it.
SlowStep = Callable[[], Any]
Step = Command | SlowStep
Steps = Generator[Step, Any, T]


def run(steps: Steps[T], calls: Caller) -> T:
    """Take all steps in this thread. Returns and raises what they do."""
    try:
        step = next(steps)
        while True:
            try:
                reply = step() if callable(step) else calls.execute_command(*step)
            except Exception as error:  # noqa: BLE001 - the steps know what to make of it
                step = steps.throw(error)
            else:
                step = steps.send(reply)
    except StopIteration as stop:
        value: T = stop.value
        return value
