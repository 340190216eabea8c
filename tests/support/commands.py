"""Which commands a script call costs, by Redis's own count."""

from collections.abc import Callable
from typing import Any

from tests.support.factories import Shop

# The call itself, and what asks for the count.
_NOT_COUNTED = {"config|resetstat", "info", "evalsha", "eval"}


def commands_of(shop: Shop, call: Callable[[], object]) -> dict[str, int]:
    """Calls by command. Nothing else may talk to this Redis meanwhile."""
    redis = shop.services.redis
    redis.config_resetstat()
    call()
    statistics: Any = redis.info("commandstats")
    counts = {
        name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in statistics.items()
    }
    return {name: calls for name, calls in counts.items() if name not in _NOT_COUNTED}
