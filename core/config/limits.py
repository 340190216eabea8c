"""Rate limits of requests. 0 switches a limit off."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from core.config.reader import ConfigError, SettingsReader

_LIMITS_SCHEMES = (
    "redis://",
    "rediss://",
    "redis+unix://",
    "redis+cluster://",
    "redis+sentinel://",
)


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Quotas, and the Redis that counts them; its URL may contain a password."""

    storage_url: str = field(repr=False)
    # By address: clients behind one router share these.
    registrations_per_minute: int
    logins_per_minute: int
    reads_per_minute: int
    # By address and name together: registering or logging in with one name.
    tries_per_minute: int
    # By account, from addresses it has not logged in from before.
    stranger_logins_per_hour: int
    # By member.
    member_reads_per_minute: int
    # In each web process. By member: bids that are refused or change nothing.
    refused_bids_per_minute: int
    # In each web process. By address: pages of boards and results that are not cached.
    uncached_pages_per_minute: int


def read_limits(read: SettingsReader, broker_url: str, redis_url: str) -> LimitSettings:
    """Counters default to the broker's Redis: losing them, like jobs, does no harm."""
    is_redis = broker_url.startswith(("redis://", "rediss://"))

    def quota(name: str, default: int) -> int:
        return read.integer(name, default, low=0, high=100_000_000)

    url = read.text("LIMITS_REDIS_URL", broker_url if is_redis else redis_url)
    if not url.startswith(_LIMITS_SCHEMES):
        raise ConfigError(
            f"LIMITS_REDIS_URL must be a URL that starts with one of {', '.join(_LIMITS_SCHEMES)}."
        )
    if not _is_complete(url):
        raise ConfigError(
            "LIMITS_REDIS_URL must be a URL with numeric ports. Cluster nodes and sentinels need "
            "one each, and sentinels a service name: redis+sentinel://host:port/name."
        )
    return LimitSettings(
        storage_url=url,
        registrations_per_minute=quota("REGISTRATIONS_PER_MINUTE", 600),
        logins_per_minute=quota("LOGINS_PER_MINUTE", 1200),
        reads_per_minute=quota("READS_PER_MINUTE", 12_000),
        tries_per_minute=quota("TRIES_PER_MINUTE", 10),
        stranger_logins_per_hour=quota("STRANGER_LOGINS_PER_HOUR", 100),
        member_reads_per_minute=quota("MEMBER_READS_PER_MINUTE", 1200),
        refused_bids_per_minute=quota("REFUSED_BIDS_PER_MINUTE", 300),
        uncached_pages_per_minute=quota("UNCACHED_PAGES_PER_MINUTE", 300),
    )


def _is_complete(url: str) -> bool:
    """Checked at the start, since the first connection is made by the first request."""
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports = [urlsplit(f"//{host}").port for host in hosts]
    except ValueError:
        return False
    if parts.scheme not in ("redis+cluster", "redis+sentinel"):
        return True
    is_named = parts.scheme == "redis+cluster" or bool(parts.path.strip("/"))
    return None not in ports and is_named
