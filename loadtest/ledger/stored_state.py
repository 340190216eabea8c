"""The stored state of one session in PostgreSQL and Redis.

Read with plain SQL and Redis commands. Table, column and key names are repeated here on
purpose: the verification shares no code with the product.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import psycopg2
import redis
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a lower-case name
from psycopg2.extensions import make_dsn
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException

from loadtest.errors import LoadTestError
from loadtest.settings import ServerAddresses

CONNECT_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class SessionRow:
    """The session's terms and times."""

    status: str
    inventory: int
    upset_price: Decimal
    alpha: float
    beta: float
    gamma: float
    start: datetime
    end: datetime
    closed_at: datetime | None
    allow_lower_bids: bool
    highest_bid: Decimal | None
    pricing: str


@dataclass(frozen=True, slots=True)
class BidRow:
    """One accepted bid."""

    sequence: int
    user_id: str
    price: Decimal
    score: float
    response_time: float
    weight: float
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """One member's place on the board, in the rankings, or as recomputed."""

    rank: int
    user_id: str
    sequence: int
    score: float
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StoredBoard:
    """The session in Redis; `exists` is false once its keys have expired."""

    exists: bool
    places: list[Place] = field(default_factory=list)
    sequence: int = 0
    log_length: int = 0
    highest_bid: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StoredState:
    """Everything stored about one session."""

    session: SessionRow
    bids: list[BidRow]
    rankings: list[Place]
    # By rank; None: not offered.
    prices_to_pay: Mapping[int, Decimal | None]
    persisted_sequence: int
    board: StoredBoard
    now: datetime
    # Sequences that Redis assigned twice, mapped to the bids' final sequences.
    moved: Mapping[int, Sequence[int]] = field(default_factory=dict)


def read(servers: ServerAddresses, session_id: str) -> StoredState:
    """Read the stored state of a session. Raises LoadTestError if it does not exist."""
    board = _board(servers, session_id)
    with _postgres(servers) as cursor:
        cursor.execute(
            "SELECT status, inventory, upset_price, alpha, beta, gamma, start_time, end_time,"
            " closed_at, allow_lower_bids, highest_bid, pricing FROM sessions WHERE id = %s",
            [session_id],
        )
        row = cursor.fetchone()
        if row is None:
            raise LoadTestError(f"PostgreSQL has no session {session_id}.")
        return StoredState(
            session=SessionRow(*row),
            bids=_bids(cursor, session_id),
            rankings=_rankings(cursor, session_id),
            prices_to_pay=_prices_to_pay(cursor, session_id),
            persisted_sequence=_one(
                cursor,
                "SELECT persisted_sequence FROM bid_log_offsets WHERE session_id = %s",
                session_id,
            ),
            board=board,
            now=_one(cursor, "SELECT now() WHERE %s IS NOT NULL", session_id),
            moved=_moved(cursor, session_id),
        )


def versions(servers: ServerAddresses) -> dict[str, str]:
    """The servers' versions."""
    with _postgres(servers) as cursor, _redis(servers) as client:
        postgres = _one(cursor, "SELECT current_setting('server_version') WHERE %s <> ''", "-")
        info: Any = client.info("server")
    name = info.get("server_name") or "redis"
    version = info.get(f"{name}_version") or info["redis_version"]
    return {"PostgreSQL": str(postgres), "Redis protocol": f"{name} {version}"}


def _bids(cursor: Cursor, session_id: str) -> list[BidRow]:
    cursor.execute(
        "SELECT sequence, user_id::text, price, score, response_time, weight, accepted_at"
        " FROM bids WHERE session_id = %s ORDER BY sequence",
        [session_id],
    )
    return [BidRow(*row) for row in cursor]


def _rankings(cursor: Cursor, session_id: str) -> list[Place]:
    cursor.execute(
        "SELECT rank, user_id::text, sequence, score, price"
        " FROM rankings WHERE session_id = %s ORDER BY rank",
        [session_id],
    )
    return [Place(*row) for row in cursor]


def _prices_to_pay(cursor: Cursor, session_id: str) -> Mapping[int, Decimal | None]:
    cursor.execute("SELECT rank, price_to_pay FROM rankings WHERE session_id = %s", [session_id])
    return dict(cursor.fetchall())


def _moved(cursor: Cursor, session_id: str) -> Mapping[int, Sequence[int]]:
    """Rewind events map entry ids, `<answered sequence>-0`, to new sequences."""
    cursor.execute(
        "SELECT split_part(moved.key, '-', 1)::bigint, moved.value::bigint"
        " FROM session_events, jsonb_each_text(details -> 'moved') moved"
        " WHERE session_id = %s AND kind = 'redis_rewound' ORDER BY id",
        [session_id],
    )
    moved = defaultdict(list)
    for answered, sequence in cursor:
        moved[answered].append(sequence)
    return moved


def _one(cursor: Cursor, statement: str, parameter: str) -> Any:
    cursor.execute(statement, [parameter])
    row = cursor.fetchone()
    return row[0] if row else None


def _board(servers: ServerAddresses, session_id: str) -> StoredBoard:
    with _redis(servers) as client:
        params: Any = client.hgetall(f"session:params:{{{session_id}}}")
        ranked: Any = client.zrevrange(f"ranking:{{{session_id}}}", 0, -1, withscores=True)
        log_length: Any = client.xlen(f"bidlog:{{{session_id}}}")
    places = [_place(rank, member, score) for rank, (member, score) in enumerate(ranked, 1)]
    highest = params.get("highest_bid")
    return StoredBoard(
        bool(params),
        places,
        int(params.get("sequence", 0)),
        log_length,
        Decimal(highest) if highest else None,
    )


def _place(rank: int, member: str, score: float) -> Place:
    """Parse a ranking member: a number that falls with the sequence, and the user id."""
    falling, _, user_id = member.partition(":")
    return Place(rank, user_id, 999_999_999_999_999 - int(falling), score)


@contextmanager
def _postgres(servers: ServerAddresses) -> Iterator[Cursor]:
    try:
        connection = psycopg2.connect(
            make_dsn(**servers.postgres, connect_timeout=CONNECT_TIMEOUT_SECONDS)
        )
    except psycopg2.OperationalError as error:
        raise LoadTestError(
            f"PostgreSQL cannot be reached: {str(error).strip()} "
            "(settings: POSTGRES_*, or a running `make run`)"
        ) from None
    with closing(connection):
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            yield cursor


@contextmanager
def _redis(servers: ServerAddresses) -> Iterator["redis.Redis"]:
    try:
        with _connected(servers) as client:
            yield client
    except (redis.RedisError, RedisClusterException) as error:
        raise LoadTestError(
            f"Redis cannot be read: {error} (settings: REDIS_*, or a running `make run`)"
        ) from None


def _connected(servers: ServerAddresses) -> "redis.Redis":
    options: dict[str, Any] = {
        "password": servers.redis_password,
        "decode_responses": True,
        "socket_timeout": CONNECT_TIMEOUT_SECONDS,
    }
    if servers.redis_cluster:
        addresses = (address.rpartition(":") for address in servers.redis_cluster)
        nodes = [ClusterNode(host, int(port)) for host, _, port in addresses]  # type: ignore[no-untyped-call]
        # Has the same commands, but another type.
        return cast("redis.Redis", redis.RedisCluster(startup_nodes=nodes, **options))
    return redis.Redis(servers.redis_host, servers.redis_port, servers.redis_db, **options)


def is_uuid(text: str) -> bool:
    """Whether this can be a session's id."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
