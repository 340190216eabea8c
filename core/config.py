"""Every setting, read once from the environment into a frozen object.

Order of precedence: the process environment, then `.env`, then
`.data/running.env`, which `make run` writes while its own servers are up so
that command-line tools find them. A configured host switches off everything
that file says about the same server.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import gettempdir
from typing import TypeVar
from urllib.parse import quote

from dotenv import dotenv_values
from sqlalchemy import URL

from core.channel_settings import (
    MailSettings,
    Tls,
    WebhookSettings,
    is_loopback,
    is_web_address,
    webhook_key,
)
from core.combiner import Replicas
from core.limit_settings import LimitSettings

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DOTENV_PATH = PROJECT_ROOT / ".env"
RUNNING_ENV_PATH = PROJECT_ROOT / ".data" / "running.env"

# Used only while DEBUG is on; with DEBUG off it stops the start.
DEBUG_JWT_SECRET = "debug-only-secret-never-for-production-use"  # noqa: S105
# RFC 7518, section 3.2: an HMAC key must be at least as long as the hash.
JWT_SECRET_MIN_BYTES = 32
JWT_ALGORITHMS = ("HS256", "HS384", "HS512")
_HOW_TO_MAKE_A_SECRET = (
    "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_LIMITS_SCHEMES = (
    "redis://",
    "rediss://",
    "redis+unix://",
    "redis+cluster://",
    "redis+sentinel://",
)

METRICS_TOKEN_MIN_BYTES = 16

T = TypeVar("T")


class AccessLog(StrEnum):
    """Which answers get a line in the log."""

    # Every one.
    ALL = "all"
    # Bids and board pages only when they fail here or are slow: docs/operations.md.
    LEAN = "lean"
    OFF = "off"


class ConfigError(Exception):
    """A setting is missing or malformed. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says, checked. Units are the last word of a name."""

    debug: bool
    host: str
    port: int
    web_processes: int
    web_threads: int
    max_queue_wait_ms: int
    cors_origins: tuple[str, ...]
    trusted_proxies: int
    hsts_seconds: int
    live_socket: str
    live_max_watchers: int
    access_log: AccessLog
    metrics_folder: str
    metrics_token: str

    postgres_user: str
    postgres_password: str
    postgres_host: str
    postgres_port: int
    postgres_db: str
    postgres_pool_size: int

    redis_host: str
    redis_port: int
    redis_db: int
    redis_password: str
    # Addresses of some of a cluster's nodes; empty: the one Redis above.
    redis_cluster: tuple[tuple[str, int], ...]
    # None: a bid is answered without asking replicas.
    redis_replicas: Replicas | None
    broker_url: str

    jwt_secret: str
    # Still verifies, no longer signs; empty: none.
    jwt_secret_previous: str
    jwt_algorithm: str
    access_token_expire_minutes: int
    first_account_is_admin: bool

    bid_rate_per_second: float
    bid_rate_burst: int

    limits: LimitSettings

    backlog_max_bids: int
    drain_batch_size: int
    drain_gather_ms: int
    ended_session_keys_ttl_seconds: int

    # None: the channel is off.
    mail: MailSettings | None
    webhook: WebhookSettings | None

    @property
    def database_url(self) -> URL:
        """SQLAlchemy's address of PostgreSQL. A host that starts with `/` is a socket folder."""
        on_socket = self.postgres_host.startswith("/")
        return URL.create(
            "postgresql+psycopg2",
            username=self.postgres_user,
            password=self.postgres_password or None,
            host=None if on_socket else self.postgres_host,
            port=None if on_socket else self.postgres_port,
            database=self.postgres_db,
            query={"host": self.postgres_host, "port": str(self.postgres_port)}
            if on_socket
            else {},
        )

    @property
    def database_address(self) -> str:
        """Where PostgreSQL is, for messages to an operator; never with a password."""
        return f"{self.postgres_host}:{self.postgres_port}/{self.postgres_db}"

    @property
    def redis_address(self) -> str:
        """Where Redis is, for messages to an operator; never with a password."""
        if self.redis_cluster:
            return ",".join(f"{host}:{port}" for host, port in self.redis_cluster)
        return f"{self.redis_host}:{self.redis_port}/{self.redis_db}"


class SettingsReader:
    """Reads typed values from a mapping and remembers which names it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.names: list[str] = []

    def text(self, name: str, default: str) -> str:
        self.names.append(name)
        return self._values.get(name) or default

    def secret(self, name: str, default: str) -> str:
        """A secret, or the content of the file that NAME_FILE names, as containers mount it."""
        path = self.text(f"{name}_FILE", "")
        value = self.text(name, "")
        if value or not path:
            return value or default
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(
                f"{name}_FILE names {path}, which cannot be read: {reason}."
            ) from None

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        number = self._parsed(name, str(default), int, "a whole number")
        return self._within(name, number, low, high)

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        number = self._parsed(name, str(default), float, "a number")
        return self._within(name, number, low, high)

    def flag(self, name: str, default: bool) -> bool:
        words = {"true": True, "1": True, "yes": True, "on": True}
        words |= {"false": False, "0": False, "no": False, "off": False}
        return self._parsed(
            name, str(default), lambda text: words[text.strip().lower()], "true or false"
        )

    def _parsed(self, name: str, default: str, parse: Callable[[str], T], wanted: str) -> T:
        text = self.text(name, default)
        try:
            return parse(text)
        except (ValueError, KeyError):
            raise ConfigError(f"{name} must be {wanted}, but it is {text!r}.") from None

    @staticmethod
    def _within(name: str, number: T, low: float, high: float) -> T:
        if not low <= number <= high:  # type: ignore[operator]
            raise ConfigError(f"{name} must be between {low} and {high}, but it is {number}.")
        return number


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings of this process; of the given mapping alone when there is one (for tests)."""
    return read_settings(SettingsReader(gather_values() if environ is None else environ))


def gather_values() -> dict[str, str]:
    """Name to text, from the environment and the files behind it."""
    configured = {**_file_values(DOTENV_PATH), **os.environ}
    running = _file_values(RUNNING_ENV_PATH)
    for prefix in ("POSTGRES_", "REDIS_"):
        if configured.get(f"{prefix}HOST") or configured.get(f"{prefix}CLUSTER"):
            running = _without(prefix, running)
        elif running.get(f"{prefix}HOST"):
            configured = _without(prefix, configured)
    return {**running, **{name: value for name, value in configured.items() if value}}


def _without(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    """Half a server's settings from one place and half from another would reach neither."""
    return {name: value for name, value in values.items() if not name.startswith(prefix)}


def _file_values(path: Path) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(path).items() if value}


def read_settings(read: SettingsReader) -> Settings:
    """Build the settings. The one place that knows their names, defaults and bounds."""
    debug = read.flag("DEBUG", False)
    port = read.integer("PORT", 8000, low=1, high=65535)
    redis_host = read.text("REDIS_HOST", "localhost")
    redis_port = read.integer("REDIS_PORT", 6379, low=1, high=65535)
    redis_db = read.integer("REDIS_DB", 0, low=0, high=1023)
    redis_password = read.secret("REDIS_PASSWORD", "")
    redis_cluster = _redis_cluster(read)
    if redis_cluster and redis_db:
        raise ConfigError("REDIS_DB must be 0 with REDIS_CLUSTER: a cluster has no other database.")
    broker_url = read.text(
        "CELERY_BROKER_URL",
        _no_broker_on_a_cluster(read, redis_cluster)
        or _default_broker_url(redis_host, redis_port, redis_db, redis_password),
    )
    jwt_secret = _jwt_secret(read, debug)
    return Settings(
        debug=debug,
        host=read.text("HOST", "0.0.0.0"),  # noqa: S104 - a server in a container must listen
        port=port,
        web_processes=read.integer("WEB_PROCESSES", 2, low=1, high=256),
        web_threads=read.integer("WEB_THREADS", 32, low=1, high=256),
        max_queue_wait_ms=read.integer("MAX_QUEUE_WAIT_MS", 1000, low=0, high=600_000),
        cors_origins=_cors_origins(read),
        trusted_proxies=read.integer("TRUSTED_PROXIES", 0, low=0, high=10),
        hsts_seconds=read.integer("HSTS_SECONDS", 0, low=0, high=100_000_000),
        live_socket=read.text("LIVE_SOCKET", _default_live_socket(port)),
        access_log=_access_log(read),
        metrics_folder=read.text("METRICS_FOLDER", f"{gettempdir()}/flashbid-metrics-{port}"),
        metrics_token=_metrics_token(read),
        live_max_watchers=read.integer("LIVE_MAX_WATCHERS", 5000, low=1, high=1_000_000),
        postgres_user=read.text("POSTGRES_USER", "postgres"),
        postgres_password=read.secret("POSTGRES_PASSWORD", ""),
        postgres_host=read.text("POSTGRES_HOST", "localhost"),
        postgres_port=read.integer("POSTGRES_PORT", 5432, low=1, high=65535),
        postgres_db=read.text("POSTGRES_DB", "flashbid"),
        postgres_pool_size=read.integer("POSTGRES_POOL_SIZE", 8, low=1, high=256),
        redis_host=redis_host,
        redis_port=redis_port,
        redis_db=redis_db,
        redis_password=redis_password,
        redis_cluster=redis_cluster,
        redis_replicas=_redis_replicas(read),
        broker_url=broker_url,
        jwt_secret=jwt_secret,
        jwt_secret_previous=_previous_jwt_secret(read, jwt_secret, debug),
        jwt_algorithm=_jwt_algorithm(read),
        access_token_expire_minutes=read.integer(
            "ACCESS_TOKEN_EXPIRE_MINUTES", 1440, low=1, high=525_600
        ),
        first_account_is_admin=read.flag("FIRST_ACCOUNT_IS_ADMIN", True),
        bid_rate_per_second=read.number("BID_RATE_PER_SECOND", 10.0, low=0.0, high=1e6),
        bid_rate_burst=read.integer("BID_RATE_BURST", 20, low=1, high=1_000_000),
        limits=_limits(
            read, broker_url, _redis_url(redis_host, redis_port, redis_db, redis_password)
        ),
        backlog_max_bids=read.integer("BACKLOG_MAX_BIDS", 2_000_000, low=1, high=1_000_000_000),
        drain_batch_size=read.integer("DRAIN_BATCH_SIZE", 5000, low=1, high=100_000),
        drain_gather_ms=read.integer("DRAIN_GATHER_MS", 250, low=0, high=5000),
        ended_session_keys_ttl_seconds=read.integer(
            "ENDED_SESSION_KEYS_TTL_SECONDS", 3600, low=1, high=2_592_000
        ),
        mail=_mail(read, debug),
        webhook=_webhook(read, debug),
    )


def _default_live_socket(port: int) -> str:
    """One for each web server of this machine: no two of them share a port."""
    return f"{gettempdir()}/flashbid-live-{port}.sock"


def _default_broker_url(host: str, port: int, db: int, password: str) -> str:
    """The bids' own Redis, the next database: good to start with, see docs/operations.md."""
    return _redis_url(host, port, db + 1, password)


def _redis_url(host: str, port: int, db: int, password: str) -> str:
    login = f":{quote(password, safe='')}@" if password else ""
    return f"redis://{login}{host}:{port}/{db}"


def _cors_origins(read: SettingsReader) -> tuple[str, ...]:
    origins = tuple(read.text("CORS_ORIGINS", "").replace(",", " ").split())
    for origin in origins:
        # flask-cors would take one with a * in it for a regular expression.
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"CORS_ORIGINS must be origins like https://shop.example, but one is {origin!r}."
            )
    return origins


def _limits(read: SettingsReader, broker_url: str, redis_url: str) -> LimitSettings:
    """Counters may get lost, like jobs and unlike bids: they live where the jobs do."""
    is_redis = broker_url.startswith(("redis://", "rediss://"))

    def quota(name: str, default: int) -> int:
        return read.integer(name, default, low=0, high=100_000_000)

    url = read.text("LIMITS_REDIS_URL", broker_url if is_redis else redis_url)
    if not url.startswith(_LIMITS_SCHEMES):
        raise ConfigError(
            f"LIMITS_REDIS_URL must be a URL that starts with one of {', '.join(_LIMITS_SCHEMES)}."
        )
    return LimitSettings(
        storage_url=url,
        registrations_per_minute=quota("REGISTRATIONS_PER_MINUTE", 600),
        logins_per_minute=quota("LOGINS_PER_MINUTE", 1200),
        reads_per_minute=quota("READS_PER_MINUTE", 12_000),
        tries_per_minute=quota("TRIES_PER_MINUTE", 10),
        stranger_logins_per_hour=quota("STRANGER_LOGINS_PER_HOUR", 100),
        member_reads_per_minute=quota("MEMBER_READS_PER_MINUTE", 1200),
    )


def _redis_cluster(read: SettingsReader) -> tuple[tuple[str, int], ...]:
    """Host and port of each node named in REDIS_CLUSTER."""
    named = read.text("REDIS_CLUSTER", "").replace(",", " ").split()
    nodes = []
    for address in named:
        host, _, port = address.rpartition(":")
        if not (host and port.isascii() and port.isdigit()):
            raise ConfigError(f"REDIS_CLUSTER must be host:port,host:port, but has {address!r}.")
        nodes.append((host, int(port)))
    return tuple(nodes)


def _redis_replicas(read: SettingsReader) -> Replicas | None:
    count = read.integer("REDIS_WAIT_REPLICAS", 0, low=0, high=16)
    # Shorter than a call may take: else the time-out would hide that the bid is in doubt.
    timeout_ms = read.integer("REDIS_WAIT_MS", 500, low=1, high=4000)
    return Replicas(count, timeout_ms) if count else None


def _no_broker_on_a_cluster(read: SettingsReader, cluster: Sequence[object]) -> str:
    """Celery's queues cannot lie on a cluster, so there is no default then."""
    if cluster and not read.text("CELERY_BROKER_URL", ""):
        raise ConfigError(
            "CELERY_BROKER_URL must be set with REDIS_CLUSTER: Celery's broker is a single "
            "Redis or a RabbitMQ, as in redis://host:6379/0 or amqp://user:password@host//."
        )
    return ""


def _jwt_secret(read: SettingsReader, debug: bool) -> str:
    secret = read.secret("JWT_SECRET", DEBUG_JWT_SECRET if debug else "")
    if debug:
        return secret
    if not secret:
        raise ConfigError(f"JWT_SECRET is not set, and DEBUG is off. {_HOW_TO_MAKE_A_SECRET}")
    _require_good_secret("JWT_SECRET", secret)
    return secret


def _previous_jwt_secret(read: SettingsReader, current: str, debug: bool) -> str:
    """A poor key would let anybody in, whichever of the two it is."""
    secret = read.secret("JWT_SECRET_PREVIOUS", "")
    if secret and not debug:
        _require_good_secret("JWT_SECRET_PREVIOUS", secret)
    return "" if secret == current else secret


def _require_good_secret(name: str, secret: str) -> None:
    if secret == DEBUG_JWT_SECRET or secret.lower().startswith(("change", "your", "example")):
        raise ConfigError(
            f"{name} is a published default, and DEBUG is off. {_HOW_TO_MAKE_A_SECRET}"
        )
    if len(secret.encode()) < JWT_SECRET_MIN_BYTES:
        raise ConfigError(
            f"{name} must have at least {JWT_SECRET_MIN_BYTES} bytes. {_HOW_TO_MAKE_A_SECRET}"
        )


def _jwt_algorithm(read: SettingsReader) -> str:
    algorithm = read.text("ALGORITHM", "HS256")
    if algorithm not in JWT_ALGORITHMS:
        raise ConfigError(f"ALGORITHM must be one of {', '.join(JWT_ALGORITHMS)}.")
    return algorithm


def _access_log(read: SettingsReader) -> AccessLog:
    try:
        return AccessLog(read.text("ACCESS_LOG", AccessLog.LEAN.value))
    except ValueError:
        raise ConfigError(f"ACCESS_LOG must be one of {', '.join(AccessLog)}.") from None


def _metrics_token(read: SettingsReader) -> str:
    token = read.secret("METRICS_TOKEN", "")
    if token and len(token.encode()) < METRICS_TOKEN_MIN_BYTES:
        raise ConfigError(f"METRICS_TOKEN must have at least {METRICS_TOKEN_MIN_BYTES} bytes.")
    return token


def _mail(read: SettingsReader, debug: bool) -> MailSettings | None:
    settings = MailSettings(
        host=read.text("SMTP_HOST", ""),
        port=read.integer("SMTP_PORT", 587, low=1, high=65535),
        user=read.text("SMTP_USER", ""),
        password=read.secret("SMTP_PASSWORD", ""),
        sender=read.text("SMTP_FROM", ""),
        tls=_tls(read),
    )
    if not settings.host:
        return None
    if "@" not in settings.sender:
        raise ConfigError("SMTP_FROM must be the address that e-mails come from.")
    private = settings.tls is not Tls.NONE or is_loopback(settings.host)
    if settings.user and not (private or debug):
        raise ConfigError("SMTP_TLS must be starttls or tls: the password would be sent in clear.")
    return settings


def _tls(read: SettingsReader) -> Tls:
    try:
        return Tls(read.text("SMTP_TLS", Tls.STARTTLS.value))
    except ValueError:
        raise ConfigError(f"SMTP_TLS must be one of {', '.join(Tls)}.") from None


def _webhook(read: SettingsReader, debug: bool) -> WebhookSettings | None:
    """Neither the address, which may carry a token, nor the secret is shown."""
    url, secret = read.text("WEBHOOK_URL", ""), read.secret("WEBHOOK_SECRET", "")
    if not url:
        return None
    if not is_web_address(url, plain_allowed=debug):
        raise ConfigError(
            "WEBHOOK_URL must be an https address; http will do on this machine, or with DEBUG."
        )
    try:
        return WebhookSettings(url, webhook_key(secret))
    except ValueError:
        how = "python3 -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'"
        raise ConfigError(
            f"WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64, as made with: {how}"
        ) from None
