"""Where the bids' Redis is, one server or a cluster, and the jobs' broker beside it."""

from dataclasses import dataclass
from urllib.parse import quote

from core.config.reader import ConfigError, SettingsReader


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas must confirm a write before it counts, and how long to wait for them."""

    count: int
    timeout_ms: int


def read_redis_cluster(read: SettingsReader) -> tuple[tuple[str, int], ...]:
    """Host and port of each node named in REDIS_CLUSTER."""
    named = read.text("REDIS_CLUSTER", "").replace(",", " ").split()
    nodes = []
    for address in named:
        host, _, port = address.rpartition(":")
        if not (host and port.isascii() and port.isdigit()):
            raise ConfigError(f"REDIS_CLUSTER must be host:port,host:port, but has {address!r}.")
        nodes.append((host, int(port)))
    return tuple(nodes)


def read_redis_replicas(read: SettingsReader) -> Replicas | None:
    count = read.integer("REDIS_WAIT_REPLICAS", 0, low=0, high=16)
    # Shorter than a call may take: else the time-out would hide that the bid is in doubt.
    timeout_ms = read.integer("REDIS_WAIT_MS", 500, low=1, high=4000)
    return Replicas(count, timeout_ms) if count else None


def read_broker_url(read: SettingsReader, *, default: str, on_cluster: bool) -> str:
    """Celery's queues cannot lie on a cluster, so there is no default then."""
    url = read.text("CELERY_BROKER_URL", "" if on_cluster else default)
    if not url:
        raise ConfigError(
            "CELERY_BROKER_URL must be set with REDIS_CLUSTER: Celery's broker is a single "
            "Redis or a RabbitMQ, as in redis://host:6379/0 or amqp://user:password@host//."
        )
    return url


def redis_url(host: str, port: int, db: int, password: str) -> str:
    login = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{login}{host}:{port}/{db}"
