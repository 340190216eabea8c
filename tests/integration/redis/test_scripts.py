"""Scripts as such: their cache, their outcomes."""

import re

import pytest

from core.redis import keys, scripts
from core.redis.scripts import Outcome, Script
from tests.support.factories import Shop

ALL = [value for value in vars(scripts).values() if isinstance(value, Script)]


@pytest.mark.parametrize("flush", ["before", "between"])
def test_a_flushed_script_cache_is_not_noticed(shop: Shop, flush: str) -> None:
    session, bidder = shop.session(), shop.bidder()
    if flush == "between":
        shop.bid(bidder, session, "120")
    shop.services.redis.script_flush()
    assert shop.bid(bidder, session, "121").rank == 1


def test_a_script_is_sent_once_and_then_called_by_its_sha(shop: Shop) -> None:
    redis = shop.services.redis
    redis.script_flush()
    for _ in range(2):
        scripts.read_board(redis, [keys.session_params("x"), keys.ranking("x")], ["bid:", 0, 1])
    assert redis.script_exists(scripts.read_board.sha) == [True]
    assert redis.info("commandstats")["cmdstat_evalsha"]["failed_calls"] >= 1


def test_the_outcomes_of_the_scripts_are_the_ones_that_core_knows() -> None:
    written = {
        word
        for script in ALL
        for line in re.sub(r"--\[\[.*?\]\]", "", script.source, flags=re.DOTALL).splitlines()
        for word in re.findall(r"(?:\{|\band )'([a-z_]+)'", line)
    } - {"sequence"}
    assert written == {outcome.value for outcome in Outcome}
