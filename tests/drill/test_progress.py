"""What a drill says while it is at work."""

import io
from pathlib import Path

from drill.environment.bidders import Crowd
from drill.progress import DrillProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_only_results_are_written() -> None:
    stream = io.StringIO()
    with DrillProgress(stream) as progress:
        progress.show_phase("100 of 1000 bids")
        progress.print_line("redis-killed holds")
    assert stream.getvalue() == "redis-killed holds\n"


def test_on_a_terminal_one_line_is_rewritten() -> None:
    stream = Terminal()
    with DrillProgress(stream) as progress:
        progress.start_round("redis-killed")
        progress.show_phase("100 of 1000 bids")
        progress.show_phase("200 of 1000 bids")
        progress.print_line("redis-killed holds")
    first, second, *rest = stream.getvalue().split("\r\x1b[K")[1:]
    assert (first, second) == (
        "redis-killed: 100 of 1000 bids (0 s)",
        "redis-killed: 200 of 1000 bids (0 s)",
    )
    assert rest == ["redis-killed holds\n", ""]


def test_the_longest_pause_counts_from_the_begin_to_the_end(tmp_path: Path) -> None:
    crowd = Crowd(0, "", [], tmp_path, seed=0, may_lower=False)
    crowd._accepted_at = [9.0, 11.0, 12.0, 15.0, 21.0]
    assert crowd.longest_pause(10.0, 16.0) == 3.0
    assert crowd.longest_pause(16.0, 20.0) == 4.0
