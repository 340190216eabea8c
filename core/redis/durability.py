"""Whether a Redis server keeps what it has acknowledged."""

from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

_REMEDIES = {
    ("appendonly", "yes"): "accepted bids are lost when it restarts",
    ("appendfsync", "always"): "the last accepted bids are lost when its machine fails",
    ("maxmemory-policy", "noeviction"): "it deletes bids when its memory is full",
}


def weaknesses(redis: Redis) -> list[str]:
    """One sentence for each setting that may lose accepted bids. Raises RedisError."""
    try:
        found: dict[Any, Any] = redis.config_get(*(name for name, _ in _REMEDIES))
    except ResponseError:
        # Hosted servers often forbid CONFIG.
        found = _from_info(redis)
    return [
        f"{name} is {_text(found[name])}: {consequence}. Set {name} {wanted}."
        for (name, wanted), consequence in _REMEDIES.items()
        if name in found
        and _text(found[name]) != wanted
        # Without a file there is nothing to sync.
        and not (name == "appendfsync" and _text(found.get("appendonly", "yes")) == "no")
    ]


def _from_info(redis: Redis) -> dict[Any, Any]:
    """What INFO says of it: not how often the file is synced."""
    info = {**redis.info("persistence"), **redis.info("memory")}
    found = {"maxmemory-policy": info.get("maxmemory_policy", "noeviction")}
    return {"appendonly": "yes" if info.get("aof_enabled", 1) else "no", **found}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
