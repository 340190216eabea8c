"""What runs with which settings, for admins: no secret, no host and no path."""

import platform
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from sqlalchemy import text

from core.config import PROJECT_ROOT, Settings
from core.notifications.email import Mailer
from core.notifications.webhooks import Webhooks
from core.operations.server_checks import RedisNode, findings_of, read_redis
from core.postgres.database import Database

# The one place that says which version this is.
VERSION: str = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["version"]
# By the names of their settings; a secret, a host or a path is never among them.
_SHOWN = (
    *("currency", "allow_lower_bids", "first_account_is_admin", "access_token_expire_minutes"),
    *("bid_rate_per_second", "bid_rate_burst", "backlog_max_bids", "live_max_watchers"),
    *("web_processes", "web_threads", "max_queue_wait_ms", "ended_session_keys_ttl_seconds"),
)
_SHOWN_LIMITS = (
    *("registrations_per_minute", "logins_per_minute", "tries_per_minute"),
    *("stranger_logins_per_hour", "reads_per_minute", "member_reads_per_minute"),
    *("refused_bids_per_minute", "uncached_pages_per_minute"),
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """`versions` by program; `findings`: how Redis may lose bids; `channels`: which are on;
    `settings` by name, as in effect.
    """

    versions: Mapping[str, str]
    redis: Sequence[RedisNode]
    findings: Sequence[str]
    confirming_replicas: int
    channels: Mapping[str, bool]
    settings: Mapping[str, Any]


class Configurations:
    """Reads the configuration of this process and its servers."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        redis: Redis,
        mailer: Mailer,
        webhooks: Webhooks,
    ) -> None:
        self._settings = settings
        self._database = database
        self._redis = redis
        self._mailer = mailer
        self._webhooks = webhooks

    def read(self) -> Configuration:
        """The configuration now. `redis`: of a cluster's masters, each that differs."""
        nodes = list(dict.fromkeys(read_redis(self._redis)))
        replicas = self._settings.redis_replicas
        return Configuration(
            versions={
                "flashbid": VERSION,
                "python": platform.python_version(),
                "postgresql": self._postgres_version(),
                "redis": ", ".join(dict.fromkeys(node.version for node in nodes)),
            },
            redis=nodes,
            findings=[finding.sentence for finding in findings_of(nodes)],
            confirming_replicas=replicas.count if replicas else 0,
            channels={"email": self._mailer.is_on, "webhook": self._webhooks.is_on},
            settings={
                **_shown(self._settings, _SHOWN),
                **_shown(self._settings.passwords, ("min_length", "refuse_common"), "PASSWORD_"),
                **_shown(self._settings.limits, _SHOWN_LIMITS),
            },
        )

    def _postgres_version(self) -> str:
        """Without the build, which may name the host's system."""
        with self._database.begin() as db:
            return str(db.scalar(text("SHOW server_version"))).split()[0]


def _shown(source: object, names: Sequence[str], prefix: str = "") -> dict[str, Any]:
    return {prefix + name.upper(): getattr(source, name) for name in names}
