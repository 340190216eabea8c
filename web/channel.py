"""Carries commands of many requests to Redis, one pipeline at a time, in a thread of its own."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from core.combiner import CallCombiner
from core.steps import Command, Query

Asker = TypeVar("Asker")


class Channel(Generic[Asker]):
    """Commands that come in while a pipeline is on its way leave together with the next.

    All but the thread's own part runs in the main loop. `deliver` is called in the thread,
    with who asked and each one's reply or error.
    """

    def __init__(
        self, calls: CallCombiner, deliver: "Callable[[list[Asker], list[object]], None]"
    ) -> None:
        self._calls = calls
        self._deliver = deliver
        self._waiting: list[tuple[Asker, Command]] = []
        self._on_their_way = 0
        self._pipelines: SimpleQueue[tuple[list[Asker], list[Command], list[int]]] = SimpleQueue()
        # It holds nothing that a stop must wait for: who is answered is up to the main loop.
        Thread(target=self._carry, name="channel", daemon=True).start()

    @property
    def load(self) -> int:
        """How many wait for their replies."""
        return len(self._waiting) + self._on_their_way

    def add(self, asker: Asker, command: Command) -> None:
        """Have the command sent with the next pipeline."""
        self._waiting.append((asker, command))

    def send(self) -> None:
        """Send what waits, unless a pipeline is on its way."""
        if self._on_their_way or not self._waiting:
            return
        askers = [asker for asker, _ in self._waiting]
        commands, places = _without_repeats([command for _, command in self._waiting])
        self._waiting.clear()
        self._on_their_way = len(askers)
        self._pipelines.put((askers, commands, places))

    def arrived(self) -> None:
        """Note that the pipeline's replies were delivered."""
        self._on_their_way = 0

    def _carry(self) -> None:
        while True:
            askers, commands, places = self._pipelines.get()
            replies = self._calls.execute_commands(commands)
            self._deliver(askers, [replies[place] for place in places])


def _without_repeats(commands: Sequence[Command]) -> tuple[list[Command], list[int]]:
    """The commands to send, and for each one given which of them it is. Equal queries are one."""
    kept: list[Command] = []
    place_of: dict[Command, int] = {}
    places = []
    for command in commands:
        place = place_of.get(command) if isinstance(command, Query) else None
        if place is None:
            place = len(kept)
            kept.append(command)
            if isinstance(command, Query):
                place_of[command] = place
        places.append(place)
    return kept, places
