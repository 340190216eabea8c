"""How much longer accepted bids may wait for PostgreSQL in Redis."""

from redis import Redis

# Of Redis's `maxmemory`. Above it bids are refused, so balancers should know before.
NEAR_BOUND_SHARE = 0.9


def is_near_bound(redis: Redis) -> bool:
    """Whether the memory that holds the backlog is nearly used up. Raises what Redis raises.

    A Redis without a `maxmemory` names no bound.
    """
    memory = redis.info("memory")
    bound_bytes = int(memory["maxmemory"])
    return bound_bytes > 0 and int(memory["used_memory"]) >= NEAR_BOUND_SHARE * bound_bytes
