"""PostgreSQL and a Redis-protocol server from Python wheels; nothing else to install.

Each runs in its own folder and yields the settings to connect to it:

    with embedded_postgres(folder / "postgres") as settings:
        os.environ.update(settings)
"""

from dev.embedded.cluster import Cluster, embedded_cluster
from dev.embedded.postgres import PostgresServer, embedded_postgres
from dev.embedded.redis import RedisServer, embedded_redis

__all__ = [
    "Cluster",
    "PostgresServer",
    "RedisServer",
    "embedded_cluster",
    "embedded_postgres",
    "embedded_redis",
]
