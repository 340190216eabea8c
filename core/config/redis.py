"""Settings of the bids' Redis, one server or a cluster, and of the jobs' broker."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from core.config.reader import ConfigError, SettingsReader, host_port

_NODE = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})")
_BROKERS = ("redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp")
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas must confirm a write, and how long to wait for them."""

    count: int
    timeout_ms: int


def read_redis_cluster(read: SettingsReader) -> tuple[tuple[str, int], ...]:
    """Host and port of each node named in REDIS_CLUSTER."""
    named = read.text("REDIS_CLUSTER", "").replace(",", " ").split()
    nodes = []
    for address in named:
        node = _NODE.fullmatch(address)
        if node is None or int(node["port"]) not in _PORTS:
            raise ConfigError(
                f"REDIS_CLUSTER must be host:port,host:port, but contains {address!r}. An IPv6 "
                "address is in brackets."
            )
        nodes.append((node["ipv6"] or node["host"], int(node["port"])))
    return tuple(nodes)


def read_redis_replicas(read: SettingsReader) -> Replicas | None:
    count = read.integer("REDIS_WAIT_REPLICAS", 0, low=0, high=16)
    # Below REDIS_TIMEOUT_SECONDS: otherwise the call's time-out hides an unconfirmed write.
    timeout_ms = read.integer("REDIS_WAIT_MS", 500, low=1, high=4000)
    return Replicas(count, timeout_ms) if count else None


def read_broker_url(read: SettingsReader, *, default: str, on_cluster: bool) -> str:
    """Celery cannot keep its queues on a cluster, so there is no default with one."""
    url = read.text("CELERY_BROKER_URL", "" if on_cluster else default)
    if not url:
        raise ConfigError(
            "CELERY_BROKER_URL must be set with REDIS_CLUSTER: Celery needs a single Redis or "
            "RabbitMQ, as in redis://host:6379/0 or amqp://user:password@host//."
        )
    if not _is_broker(url):
        raise ConfigError(
            "CELERY_BROKER_URL must be a URL like redis://host:6379/0 or "
            "amqp://user:password@host:5672//."
        )
    return url


def _is_broker(url: str) -> bool:
    """Checked at the start: Celery's own error is a traceback of each process."""
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        _ = parts.port
    except ValueError:
        # Several sentinels are one URL each, which Celery separates.
        return url.startswith("sentinel://")
    is_database = not parts.path.strip("/") or parts.path.strip("/").isdecimal()
    return parts.scheme in _BROKERS and (is_database or not parts.scheme.startswith("redis"))


def redis_url(host: str, port: int, db: int, password: str) -> str:
    login = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{login}{host_port(host, port)}/{db}"
