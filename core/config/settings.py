"""Every setting, read once from the environment into a frozen object.

Order of precedence: the process environment, then `.env`, then
`.data/running.env`, which `make run` writes while it is up so that commands in
other terminals use the servers and secrets that it serves with. A configured
host overrides all of that file's settings for the same server.
"""

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from sqlalchemy import URL

from core.config.channels import (
    MailSettings,
    WebhookSettings,
    read_destinations,
    read_mail,
    read_webhook,
)
from core.config.currency import read_currency
from core.config.dotenv import read_dotenv, unknown_names, without_copies
from core.config.limits import LimitSettings, read_limits
from core.config.passwords import PasswordSettings, read_passwords
from core.config.reader import ConfigError, SettingsReader, host_port
from core.config.redis import (
    Replicas,
    read_broker_url,
    read_redis_cluster,
    read_redis_replicas,
    redis_url,
)
from core.config.tokens import (
    DEBUG_JWT_SECRET,
    read_jwt_algorithm,
    read_jwt_secret,
    read_metrics_token,
    read_previous_jwt_secret,
)
from core.config.web import (
    AccessLogMode,
    read_access_log,
    read_cors_origins,
    read_exports_folder,
    read_image_hosts,
    read_metrics_folder,
    read_public_url,
)
from core.rules.destinations import Destinations
from core.rules.images import ImageHosts

__all__ = [
    "DEBUG_JWT_SECRET",
    "DOTENV_PATH",
    "EXAMPLE_PATH",
    "PROJECT_ROOT",
    "RUNNING_ENV_PATH",
    "AccessLogMode",
    "ConfigError",
    "Settings",
    "SettingsReader",
    "gather_values",
    "load_settings",
    "read_settings",
    "running_values",
    "unknown_setting_sentences",
    "unknown_settings",
]

PROJECT_ROOT = Path(__file__).resolve().parents[2]
DOTENV_PATH = PROJECT_ROOT / ".env"
EXAMPLE_PATH = PROJECT_ROOT / ".env.example"
RUNNING_ENV_PATH = PROJECT_ROOT / ".data" / "running.env"
# Not in the system's temporary folder, where another user may come first.
RUNTIME_PATH = PROJECT_ROOT / ".data" / "run"
EXPORTS_PATH = PROJECT_ROOT / ".data" / "exports"
# The folder of a Unix socket, or libpq's list of hosts.
_SOCKET_OR_HOSTS = r"/.*|[\w.-]+(?:,[\w.-]+)+"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment's settings, checked. A name ends with its unit."""

    debug: bool
    host: str
    port: int
    web_processes: int
    web_threads: int
    max_queue_wait_ms: int
    cors_origins: tuple[str, ...]
    # Where members find the page, without a slash at the end; empty: e-mails have no links.
    public_url: str
    image_hosts: ImageHosts
    trusted_proxies: int
    hsts_seconds: int
    live_max_watchers: int
    access_log: AccessLogMode
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
    # Addresses of some of a cluster's nodes; empty: the single Redis above.
    redis_cluster: tuple[tuple[str, int], ...]
    # None: bids are answered without confirmation by replicas.
    redis_replicas: Replicas | None
    broker_url: str

    jwt_secret: str
    # Still verifies, no longer signs; empty: none.
    jwt_secret_previous: str
    jwt_algorithm: str
    access_token_expire_minutes: int
    first_account_is_admin: bool
    passwords: PasswordSettings

    # ISO 4217, for new sessions.
    currency: str
    exports_folder: str
    # For new sessions whose terms do not say.
    allow_lower_bids: bool

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
    webhook_destinations: Destinations

    @property
    def max_queue_wait_seconds(self) -> float:
        """How long a request may wait for a thread or a call; infinity if unbounded."""
        return self.max_queue_wait_ms / 1000 or inf

    @property
    def database_url(self) -> URL:
        """PostgreSQL's URL for SQLAlchemy. A host that starts with `/` is a socket folder."""
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
        """PostgreSQL's address for messages to an operator; without a password."""
        return f"{host_port(self.postgres_host, self.postgres_port)}/{self.postgres_db}"

    @property
    def redis_address(self) -> str:
        """Redis's address for messages to an operator; without a password."""
        if self.redis_cluster:
            return ",".join(host_port(host, port) for host, port in self.redis_cluster)
        return f"{host_port(self.redis_host, self.redis_port)}/{self.redis_db}"


def load_settings(
    environ: Mapping[str, str] | None = None, *, handles_tokens: bool = True
) -> Settings:
    """The settings of this process; from `environ` alone if given (for tests).

    A process that handles no tokens needs no JWT_SECRET, and is better off without.
    """
    values = gather_values() if environ is None else environ
    return read_settings(SettingsReader(values), handles_tokens=handles_tokens)


def gather_values() -> dict[str, str]:
    """Values by name, from the environment and the two files. Raises ConfigError."""
    configured = {**_file_values(DOTENV_PATH), **without_copies(os.environ)}
    running = running_values()
    for prefix in ("POSTGRES_", "REDIS_"):
        if _names_server(prefix, configured):
            running = _without(prefix, running)
        elif _names_server(prefix, running):
            configured = _without(prefix, configured)
    # A variable that is set but empty hides the value of a file.
    return {name: value for name, value in {**running, **configured}.items() if value}


def running_values() -> dict[str, str]:
    """The settings of the `make run` that is up; empty when none is.

    A killed run leaves its file behind. A live one holds the lock beside it.
    """
    if not RUNNING_ENV_PATH.exists() or not _is_locked(RUNNING_ENV_PATH.with_name("lock")):
        return {}
    return _file_values(RUNNING_ENV_PATH)


def unknown_settings() -> dict[str, str]:
    """Names in `.env` that are no settings, each with the likely one or an empty text.

    Empty without `.env.example`, which lists all settings.
    """
    if not EXAMPLE_PATH.exists():
        return {}
    example = EXAMPLE_PATH.read_text(encoding="utf-8")
    known = re.findall(r"^#([A-Z][A-Z0-9_]*)=", example, re.MULTILINE)
    return unknown_names(DOTENV_PATH, without_copies(os.environ), known)


def unknown_setting_sentences() -> list[str]:
    """A sentence for each name in `.env` that is no setting."""
    return [
        f"{DOTENV_PATH}: {name} is no setting of Flashbid and is ignored."
        + (f" Did you mean {likely}?" if likely else "")
        for name, likely in unknown_settings().items()
    ]


def _names_server(prefix: str, values: Mapping[str, str]) -> bool:
    return bool(values.get(f"{prefix}HOST") or values.get(f"{prefix}CLUSTER"))


def _without(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    """Drop a server's settings: mixing two sources would reach neither server."""
    return {name: value for name, value in values.items() if not name.startswith(prefix)}


def _file_values(path: Path) -> dict[str, str]:
    values = read_dotenv(path, without_copies(os.environ))
    return {name: value for name, value in values.items() if value}


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_settings(read: SettingsReader, *, handles_tokens: bool = True) -> Settings:
    """Build the settings. Names, defaults and bounds are here and in the modules of core.config."""
    debug = read.flag("DEBUG", False)
    port = read.integer("PORT", 8000, low=1, high=65535)
    redis_host = read.host("REDIS_HOST", "localhost")
    redis_port = read.integer("REDIS_PORT", 6379, low=1, high=65535)
    redis_db = read.integer("REDIS_DB", 0, low=0, high=1023)
    redis_password = read.secret("REDIS_PASSWORD", "")
    redis_cluster = read_redis_cluster(read)
    if redis_cluster and redis_db:
        raise ConfigError("REDIS_DB must be 0 with REDIS_CLUSTER: a cluster has only database 0.")
    broker_url = read_broker_url(
        read,
        # The next database of the bids' Redis: enough to start with, see docs/how-to/deploy.md.
        default=redis_url(redis_host, redis_port, redis_db + 1, redis_password),
        on_cluster=bool(redis_cluster),
    )
    jwt_secret = read_jwt_secret(read, debug, is_required=handles_tokens)
    return Settings(
        debug=debug,
        # This machine only: TLS is a proxy's task, and the next network may be anybody's.
        host=read.host("HOST", "127.0.0.1"),
        port=port,
        web_processes=read.integer("WEB_PROCESSES", 2, low=1, high=256),
        web_threads=read.integer("WEB_THREADS", 16, low=1, high=256),
        max_queue_wait_ms=read.integer("MAX_QUEUE_WAIT_MS", 1000, low=0, high=600_000),
        cors_origins=read_cors_origins(read),
        public_url=read_public_url(read),
        image_hosts=read_image_hosts(read),
        trusted_proxies=read.integer("TRUSTED_PROXIES", 0, low=0, high=10),
        hsts_seconds=read.integer("HSTS_SECONDS", 0, low=0, high=100_000_000),
        access_log=read_access_log(read),
        metrics_folder=read_metrics_folder(read, port, RUNTIME_PATH),
        metrics_token=read_metrics_token(read),
        live_max_watchers=read.integer("LIVE_MAX_WATCHERS", 5000, low=1, high=1_000_000),
        postgres_user=read.text("POSTGRES_USER", "postgres"),
        postgres_password=read.secret("POSTGRES_PASSWORD", ""),
        postgres_host=read.host("POSTGRES_HOST", "localhost", also=_SOCKET_OR_HOSTS),
        postgres_port=read.integer("POSTGRES_PORT", 5432, low=1, high=65535),
        postgres_db=read.text("POSTGRES_DB", "flashbid"),
        postgres_pool_size=read.integer("POSTGRES_POOL_SIZE", 8, low=1, high=256),
        redis_host=redis_host,
        redis_port=redis_port,
        redis_db=redis_db,
        redis_password=redis_password,
        redis_cluster=redis_cluster,
        redis_replicas=read_redis_replicas(read),
        broker_url=broker_url,
        jwt_secret=jwt_secret,
        jwt_secret_previous=read_previous_jwt_secret(read, jwt_secret, debug),
        jwt_algorithm=read_jwt_algorithm(read),
        access_token_expire_minutes=read.integer(
            "ACCESS_TOKEN_EXPIRE_MINUTES", 1440, low=1, high=525_600
        ),
        first_account_is_admin=read.flag("FIRST_ACCOUNT_IS_ADMIN", True),
        passwords=read_passwords(read),
        currency=read_currency(read),
        exports_folder=read_exports_folder(read, EXPORTS_PATH),
        allow_lower_bids=read.flag("ALLOW_LOWER_BIDS", False),
        bid_rate_per_second=read.number("BID_RATE_PER_SECOND", 10.0, low=0.0, high=1e6),
        bid_rate_burst=read.integer("BID_RATE_BURST", 20, low=1, high=1_000_000),
        limits=read_limits(
            read, broker_url, redis_url(redis_host, redis_port, redis_db, redis_password)
        ),
        backlog_max_bids=read.integer("BACKLOG_MAX_BIDS", 2_000_000, low=1, high=1_000_000_000),
        drain_batch_size=read.integer("DRAIN_BATCH_SIZE", 5000, low=1, high=100_000),
        drain_gather_ms=read.integer("DRAIN_GATHER_MS", 250, low=0, high=5000),
        ended_session_keys_ttl_seconds=read.integer(
            "ENDED_SESSION_KEYS_TTL_SECONDS", 3600, low=1, high=2_592_000
        ),
        mail=read_mail(read, debug),
        webhook=read_webhook(read, debug),
        webhook_destinations=read_destinations(read, debug),
    )
