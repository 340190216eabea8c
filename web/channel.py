"""Carries commands of many requests to one Redis, a pipeline at a time, in a thread of its own."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import structlog

from core.steps import Carrier, Command, Query

log = structlog.get_logger(__name__)

Asker = TypeVar("Asker")

# More in a pipeline would make the first wait for the last; fewer would share a flush of
# Redis's log among fewer.
MAX_COMMANDS = 128
# A pipeline that takes longer is held up by its server: what is for others need not wait.
SLOW_SECONDS = 0.5


class Channel(Generic[Asker]):
    """Commands that come in while a pipeline is on its way leave together with the next.

    All but the thread's own part runs in the main loop. `deliver` is called in the thread,
    with who asked and each one's reply or error.
    """

    def __init__(
        self, carrier: Carrier, deliver: "Callable[[list[Asker], list[object]], None]"
    ) -> None:
        self._carrier = carrier
        self._deliver = deliver
        self._waiting: deque[tuple[float, Asker, Command]] = deque()
        self._on_their_way = 0
        self._sent_at = 0.0
        self._pipelines: SimpleQueue[tuple[list[Asker], list[Command], list[int]]] = SimpleQueue()
        # It holds nothing that a stop must wait for: who is answered is up to the main loop.
        Thread(target=self._carry, name="channel", daemon=True).start()

    @property
    def load(self) -> int:
        """How many wait for their replies."""
        return len(self._waiting) + self._on_their_way

    @property
    def is_slow(self) -> bool:
        """Whether the pipeline that is on its way takes long."""
        return bool(self._on_their_way) and time.monotonic() - self._sent_at > SLOW_SECONDS

    @property
    def is_stuck(self) -> bool:
        """Whether it has its fill, and it is not known when it will take more."""
        return self.is_slow and self.load >= MAX_COMMANDS

    @property
    def is_waited_for(self) -> bool:
        """Whether a command waits for its pipeline."""
        return bool(self._waiting)

    def add(self, asker: Asker, command: Command) -> None:
        """Have the command sent with the next pipeline that has room."""
        self._waiting.append((time.monotonic(), asker, command))

    def late(self, max_wait_seconds: float) -> "Iterator[Asker]":
        """Those whose commands have waited longer than that: they are not sent any more."""
        give_up_since = time.monotonic() - max_wait_seconds
        while self._waiting and self._waiting[0][0] < give_up_since:
            yield self._waiting.popleft()[1]

    def send(self) -> None:
        """Send what waits, unless a pipeline is on its way."""
        if self._on_their_way or not self._waiting:
            return
        leaving = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_COMMANDS))]
        askers = [asker for _, asker, _ in leaving]
        commands, places = _without_repeats([command for _, _, command in leaving])
        self._on_their_way = len(askers)
        self._sent_at = time.monotonic()
        self._pipelines.put((askers, commands, places))

    def arrived(self) -> None:
        """Note that the pipeline's replies were delivered."""
        self._on_their_way = 0

    def _carry(self) -> None:
        while True:
            askers, commands, places = self._pipelines.get()
            try:
                replies = self._carrier.execute_commands(commands)
            except Exception as error:
                # A defect: those who ask next must not wait for a thread that is gone.
                log.exception("channel_failed")
                replies = [error] * len(commands)
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
