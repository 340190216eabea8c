"""What is wrong with how the servers are set up, in sentences for an operator."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core import outages
from core.config import Settings
from core.postgres import schema
from core.postgres.database import create_database_engine
from core.redis.cluster import ClusterClient
from core.redis.connecting import create_redis

_DATABASE_SENTENCES = {
    schema.State.MISSING: "The schema is missing. Create it: flask --app web init-db",
    schema.State.OUTDATED: "The schema is outdated. Upgrade it: flask --app web init-db",
    schema.State.UNKNOWN: (
        "The schema is of a version that this code does not run on: start that version, or "
        "correct POSTGRES_DB."
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and its remedy. `is_fatal`: the service cannot work, or deletes bids itself;
    otherwise it works, and loses bids when something else fails.
    """

    sentence: str
    is_fatal: bool = True


@dataclass(frozen=True, slots=True)
class RedisNode:
    """How a Redis keeps what it has accepted. None where the server does not say: hosted ones
    forbid CONFIG. `can_append`: its last write to the append-only file succeeded.
    """

    version: str
    maxmemory_policy: str | None
    appendonly: bool
    appendfsync: str | None
    can_append: bool


def check_servers(settings: Settings) -> list[tuple[str, Finding]]:
    """The findings of PostgreSQL and Redis by name, over connections of their own."""
    engine, redis = create_database_engine(settings), create_redis(settings)
    try:
        return [
            *(("postgresql", finding) for finding in check_database(engine)),
            *(("redis", finding) for finding in check_redis(redis)),
        ]
    finally:
        redis.close()
        engine.dispose()


def check_database(engine: Engine) -> list[Finding]:
    """Whether PostgreSQL answers, takes writes and has the schema."""
    try:
        with engine.connect() as connection:
            if schema.is_read_only(connection):
                return [Finding("It is read-only. Promote it, or correct POSTGRES_HOST.")]
            sentence = _DATABASE_SENTENCES.get(schema.state_of(connection))
    except SQLAlchemyError as error:
        reason = outages.reason_of(error)
        return [Finding(f"{reason}. Start it, or correct the POSTGRES_* settings.")]
    return [Finding(sentence)] if sentence else []


def check_redis(redis: Redis) -> list[Finding]:
    """Whether Redis answers, keeps what it has accepted, and deletes nothing of its own accord.

    On a cluster each master.
    """
    try:
        return findings_of(read_redis(redis))
    except outages.REDIS as error:
        return [Finding(f"{outages.reason_of(error)} Start it, or correct the REDIS_* settings.")]


def findings_of(nodes: Iterable[RedisNode]) -> list[Finding]:
    """How these may lose bids; equal findings once."""
    return list(dict.fromkeys(finding for node in nodes for finding in _check(node)))


def read_redis(redis: Redis) -> list[RedisNode]:
    """How Redis is set up; on a cluster each master. Raises what outages.REDIS has."""
    nodes = redis.masters() if isinstance(redis, ClusterClient) else [None]
    return [_read_node(redis, {} if node is None else {"target_nodes": node}) for node in nodes]


def _read_node(redis: Redis, target: Mapping[str, Any]) -> RedisNode:
    persistence = redis.info("persistence", **target)
    return RedisNode(
        version=redis.info("server", **target)["redis_version"],
        maxmemory_policy=redis.info("memory", **target).get("maxmemory_policy"),
        appendonly=bool(persistence.get("aof_enabled")),
        appendfsync=_append_fsync(redis, target),
        can_append=persistence.get("aof_last_write_status", "ok") == "ok",
    )


def _check(node: RedisNode) -> Iterator[Finding]:
    if node.maxmemory_policy not in (None, "noeviction"):
        yield Finding(
            f"maxmemory-policy is {node.maxmemory_policy}: with its memory full, Redis deletes "
            "bids. Set it to noeviction."
        )
    if not node.can_append:
        yield Finding("It cannot write its append-only file. See its log and its disk.")
    if not node.appendonly:
        yield Finding(
            "appendonly is no: a restart of Redis loses accepted bids. "
            "Set appendonly yes and appendfsync always.",
            is_fatal=False,
        )
    elif node.appendfsync not in (None, "always"):
        yield Finding(
            f"appendfsync is {node.appendfsync}: a crash of its host loses the last accepted "
            "bids. Set it to always.",
            is_fatal=False,
        )


def _append_fsync(redis: Redis, target: Mapping[str, Any]) -> str | None:
    with suppress(*outages.REDIS):
        found: Mapping[str, str] = redis.config_get("appendfsync", **target)  # type: ignore[assignment]
        return found.get("appendfsync")
    return None
