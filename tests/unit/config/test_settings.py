"""Settings: their defaults, and what stops the start."""

import shlex
import subprocess

import pytest
from sqlalchemy import make_url

from core.config import PROJECT_ROOT, ConfigError, Settings, load_settings
from core.config import settings as config
from core.config.limits import LimitSettings
from core.config.passwords import PasswordSettings
from core.config.redis import Replicas
from core.config.web import reach_of
from core.rules.destinations import Destinations
from core.rules.images import ImageHosts

SECRET = "x" * 32
DEFAULTS = {
    "debug": False,
    "host": "127.0.0.1",
    "port": 8000,
    "web_processes": 2,
    "web_threads": 16,
    "max_queue_wait_ms": 1000,
    "cors_origins": (),
    "public_url": "",
    "image_hosts": ImageHosts(),
    "trusted_proxies": 0,
    "hsts_seconds": 0,
    "live_max_watchers": 5000,
    "access_log": "lean",
    "metrics_folder": f"{PROJECT_ROOT}/.data/run/metrics-8000",
    "metrics_token": "",
    "postgres_user": "postgres",
    "postgres_password": "",
    "postgres_host": "localhost",
    "postgres_port": 5432,
    "postgres_db": "flashbid",
    "postgres_pool_size": 8,
    "redis_host": "localhost",
    "redis_port": 6379,
    "redis_db": 0,
    "redis_password": "",
    "redis_cluster": (),
    "redis_replicas": None,
    "broker_url": "redis://localhost:6379/1",
    "jwt_secret": SECRET,
    "jwt_secret_previous": "",
    "jwt_algorithm": "HS256",
    "access_token_expire_minutes": 1440,
    "first_account_is_admin": True,
    "passwords": PasswordSettings(min_length=6, refuse_common=False),
    "currency": "EUR",
    "exports_folder": f"{PROJECT_ROOT}/.data/exports",
    "allow_lower_bids": False,
    "bid_rate_per_second": 10.0,
    "bid_rate_burst": 20,
    "limits": LimitSettings(
        storage_url="redis://localhost:6379/1",
        registrations_per_minute=600,
        logins_per_minute=1200,
        reads_per_minute=12_000,
        tries_per_minute=10,
        stranger_logins_per_hour=100,
        member_reads_per_minute=1200,
        refused_bids_per_minute=300,
        uncached_pages_per_minute=300,
    ),
    "backlog_max_bids": 2_000_000,
    "drain_batch_size": 5000,
    "drain_gather_ms": 250,
    "ended_session_keys_ttl_seconds": 3600,
    "mail": None,
    "webhook": None,
    "webhook_destinations": Destinations(),
}


def load(**values: str) -> Settings:
    return load_settings({"JWT_SECRET": SECRET, **values})


def test_every_setting_has_its_default() -> None:
    settings = load()
    assert {name: getattr(settings, name) for name in settings.__slots__} == DEFAULTS


def test_an_empty_value_counts_as_not_set() -> None:
    assert load(PORT="", POSTGRES_HOST="", CORS_ORIGINS="") == load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("WEB_PROCESSES", "0"),
        ("WEB_THREADS", "1.5"),
        ("MAX_QUEUE_WAIT_MS", "-1"),
        ("POSTGRES_PORT", "x"),
        ("POSTGRES_POOL_SIZE", "-1"),
        ("REDIS_PORT", "six"),
        ("REDIS_DB", "-1"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("FIRST_ACCOUNT_IS_ADMIN", "2"),
        ("CURRENCY", "JPY"),
        ("CURRENCY", "KWD"),
        ("CURRENCY", "XAU"),
        ("CURRENCY", "eur"),
        ("CURRENCY", "DEM"),
        ("CURRENCY", "978"),
        ("ALLOW_LOWER_BIDS", "maybe"),
        ("BID_RATE_PER_SECOND", "-0.1"),
        ("BID_RATE_PER_SECOND", "nan"),
        ("BID_RATE_PER_SECOND", "inf"),
        ("BID_RATE_BURST", "0"),
        ("RUNTIME_FOLDER", "run"),
        ("PASSWORD_MIN_LENGTH", "5"),
        ("PASSWORD_MIN_LENGTH", "65"),
        ("PASSWORD_REFUSE_COMMON", "some"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "10.0.0.1"),
        ("HSTS_SECONDS", "-1"),
        ("CORS_ORIGINS", "shop.example"),
        ("CORS_ORIGINS", "https://shop.example https://*.example"),
        ("CORS_ORIGINS", "https://shop.example/"),
        ("CORS_ORIGINS", "http://::1:3000"),
        ("CORS_ORIGINS", "http://[shop]:3000"),
        ("PUBLIC_URL", "sale.shop.example"),
        ("PUBLIC_URL", "https://sale.shop.example/page"),
        ("PUBLIC_URL", "javascript://alert"),
        ("IMAGE_HOSTS", "https://images.shop.example"),
        ("IMAGE_HOSTS", "images.shop.example:443"),
        ("IMAGE_HOSTS", "images.shop.example, *.shop.example"),
        ("IMAGE_HOSTS", "images.shop.example/"),
        ("IMAGE_HOSTS", "images.shop.example."),
        ("IMAGE_HOSTS", "eve@images.shop.example"),
        ("IMAGE_HOSTS", "bücher.example"),
        ("IMAGE_HOSTS", "images.shop.example;script-src"),
        ("HOST", "127.0.0.1:8000"),
        ("HOST", "http://shop.example"),
        ("HOST", "[shop.example]"),
        ("HOST", "::1:8000:"),
        ("POSTGRES_HOST", "db:5432"),
        ("POSTGRES_HOST", "postgresql://db/flashbid"),
        ("REDIS_HOST", "redis://bids:6379"),
        ("REDIS_HOST", "/run/redis.sock"),
        ("REDIS_CLUSTER", "::1:7000"),
        ("REDIS_CLUSTER", "a:70000"),
        ("POSTGRES_PASSWORD", "caf\udce9"),
        ("JWT_SECRET", "caf\udce9" + "x" * 32),
        ("CELERY_BROKER_URL", "jobs"),
        ("CELERY_BROKER_URL", "jobs:6379/0"),
        ("CELERY_BROKER_URL", "redis://jobs:six/0"),
        ("CELERY_BROKER_URL", "redis://jobs/first"),
        ("CELERY_BROKER_URL", "redis://[::1:6379/0"),
        ("CELERY_BROKER_URL", "rabbitmq://jobs"),
        ("LIMITS_REDIS_URL", "memcached://localhost"),
        ("LIMITS_REDIS_URL", "redis://localhost:six"),
        ("LIMITS_REDIS_URL", "redis+cluster://a:1,b"),
        ("LIMITS_REDIS_URL", "redis+sentinel://a:1"),
        ("LOGINS_PER_MINUTE", "-1"),
        ("READS_PER_MINUTE", "many"),
        ("DRAIN_BATCH_SIZE", "0"),
        ("DRAIN_GATHER_MS", "5001"),
        ("ENDED_SESSION_KEYS_TTL_SECONDS", "0"),
        ("SMTP_PORT", "0"),
        ("ACCESS_LOG", "everything"),
        ("SMTP_TLS", "ssl"),
        ("ALGORITHM", "none"),
        ("ALGORITHM", "RS256"),
        ("ALGORITHM", "hs256"),
    ],
)
def test_a_malformed_value_stops_the_start_with_its_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} must be "):
        load(**{name: value})


@pytest.mark.parametrize("secret", ["", config.DEBUG_JWT_SECRET, "x" * 31, "change-me" + "x" * 32])
def test_a_poor_jwt_secret_stops_the_start_while_debug_is_off(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"^JWT_SECRET "):
        load(JWT_SECRET=secret)


def test_a_worker_needs_no_jwt_secret() -> None:
    assert load_settings({}, handles_tokens=False).jwt_secret == ""


def test_a_poor_one_stops_a_worker_too() -> None:
    with pytest.raises(ConfigError, match=r"^JWT_SECRET "):
        load_settings({"JWT_SECRET": "short"}, handles_tokens=False)


def test_a_refused_jwt_secret_is_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        load(JWT_SECRET="too-short-but-secret")
    assert "too-short-but-secret" not in str(refused.value)


def test_a_jwt_secret_is_measured_in_bytes() -> None:
    assert load(JWT_SECRET="ä" * 16).jwt_secret == "ä" * 16


@pytest.mark.parametrize(("secret", "used"), [("", config.DEBUG_JWT_SECRET), ("short", "short")])
def test_any_jwt_secret_will_do_while_debug_is_on(secret: str, used: str) -> None:
    assert load(DEBUG="true", JWT_SECRET=secret).jwt_secret == used


@pytest.mark.parametrize("word", ["true", "1", "yes", "ON"])
def test_a_flag_is_switched_on_by_several_words(word: str) -> None:
    assert load(DEBUG=word).debug is True


@pytest.mark.parametrize("word", ["false", "0", "no", "Off"])
def test_a_flag_is_switched_off_by_several_words(word: str) -> None:
    assert load(FIRST_ACCOUNT_IS_ADMIN=word).first_account_is_admin is False


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        *((host, "this machine only") for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")),
        *((host, "all networks") for host in ("0.0.0.0", "::", "0:0::0")),  # noqa: S104 - words
        *((host, "the network of") for host in ("10.0.0.5", "fd00::1", "shop.internal")),
    ],
)
def test_the_log_says_who_can_connect(host: str, reach: str) -> None:
    assert reach_of(host).startswith(reach)


def test_metrics_are_in_the_runtime_folder_apart_for_each_port() -> None:
    assert load(RUNTIME_FOLDER="/run/shop", PORT="81").metrics_folder == "/run/shop/metrics-81"
    assert load(RUNTIME_FOLDER="/run/shop", METRICS_FOLDER="/x").metrics_folder == "/x"


def test_origins_are_separated_by_commas_or_spaces() -> None:
    origins = load(CORS_ORIGINS="https://a.example, https://b.example").cors_origins
    assert origins == ("https://a.example", "https://b.example")


def test_origins_are_in_lower_case_as_browsers_send_them() -> None:
    origins = load(
        CORS_ORIGINS="HTTPS://Shop.Example http://[::1]:3000 http://[FE80::A]"
    ).cors_origins
    assert origins == ("https://shop.example", "http://[::1]:3000", "http://[fe80::a]")


def test_the_page_is_where_the_setting_says_without_a_slash_at_the_end() -> None:
    assert load(PUBLIC_URL="https://Sale.Shop.example/").public_url == "https://sale.shop.example"


def test_hosts_of_pictures_are_in_lower_case_and_separated_by_commas_or_spaces() -> None:
    hosts = load(IMAGE_HOSTS="Images.Shop.example, cdn.example a-b.example").image_hosts
    assert hosts.names == ("images.shop.example", "cdn.example", "a-b.example")


def test_the_broker_is_the_next_database_of_the_same_redis() -> None:
    settings = load(REDIS_HOST="bids", REDIS_PORT="7000", REDIS_DB="4", REDIS_PASSWORD="p@ss/w")
    assert settings.broker_url == "redis://:p%40ss%2Fw@bids:7000/5"


@pytest.mark.parametrize("address", ["::1", "[::1]", " [::1] "])
def test_a_server_may_have_an_ipv6_address(address: str) -> None:
    settings = load(HOST=address, POSTGRES_HOST=address, REDIS_HOST=address, CORS_ORIGINS="")
    assert (settings.host, settings.postgres_host, settings.redis_host) == ("::1",) * 3
    assert settings.broker_url == "redis://[::1]:6379/1"
    assert settings.redis_address == "[::1]:6379/0"
    assert settings.database_address == "[::1]:5432/flashbid"
    assert make_url(settings.database_url.render_as_string()).host == "::1"
    cluster = load(REDIS_CLUSTER="[::1]:7000,a:1", CELERY_BROKER_URL="amqp://[::1]//")
    assert cluster.redis_cluster == (("::1", 7000), ("a", 1))
    assert cluster.redis_address == "[::1]:7000,a:1"


def test_postgresql_may_have_several_hosts_or_a_folder() -> None:
    assert load(POSTGRES_HOST="db-1,db-2").postgres_host == "db-1,db-2"
    assert load(POSTGRES_HOST="/a b/%c").postgres_host == "/a b/%c"


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    settings = load(REDIS_CLUSTER="a:7000, b:7001", CELERY_BROKER_URL="amqp://rabbit//")
    assert settings.redis_cluster == (("a", 7000), ("b", 7001))
    assert settings.redis_address == "a:7000,b:7001"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "CELERY_BROKER_URL must be set with REDIS_CLUSTER"),
        ({"CELERY_BROKER_URL": "amqp://rabbit//", "REDIS_DB": "1"}, "REDIS_DB must be 0"),
        ({"REDIS_CLUSTER": "a"}, "REDIS_CLUSTER must be host:port"),
    ],
)
def test_half_a_cluster_stops_the_start(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(**{"REDIS_CLUSTER": "a:7000", **values})


def test_bids_wait_for_replicas_where_that_is_set() -> None:
    assert load(REDIS_WAIT_REPLICAS="1").redis_replicas == Replicas(1, 500)


def test_a_configured_broker_is_taken_as_it_is() -> None:
    assert load(CELERY_BROKER_URL="redis://other/3").broker_url == "redis://other/3"


@pytest.mark.parametrize(
    "url",
    [
        "rediss://:p%40ss@jobs",
        "redis://[::1]:6379/",
        "amqps://user:password@jobs:5671//",
        "pyamqp://jobs/shop",
        "sentinel://a:26379;sentinel://b:26379",
    ],
)
def test_a_broker_may_be_of_any_kind_that_celery_keeps_jobs_in(url: str) -> None:
    assert load(CELERY_BROKER_URL=url, LIMITS_REDIS_URL="redis://a").broker_url == url


def test_the_database_url_survives_a_password_with_special_characters() -> None:
    url = load(POSTGRES_PASSWORD="p@ss:w/rd", POSTGRES_HOST="db").database_url
    assert make_url(url.render_as_string(hide_password=False)) == url
    assert (url.host, url.password) == ("db", "p@ss:w/rd")


def test_a_host_that_is_a_path_is_the_folder_of_a_socket() -> None:
    url = load(POSTGRES_HOST="/run/postgresql").database_url
    assert url.host is None
    assert url.query == {"host": "/run/postgresql", "port": "5432"}


@pytest.mark.parametrize("address", ["database_address", "redis_address"])
def test_an_address_for_a_message_holds_no_password(address: str) -> None:
    settings = load(POSTGRES_PASSWORD="hidden", REDIS_PASSWORD="hidden")
    assert "hidden" not in getattr(settings, address)


# --- Channels to the outside ---------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"CELERY_BROKER_URL": "redis://jobs:6379/3"}, "redis://jobs:6379/3"),
        (
            {"CELERY_BROKER_URL": "amqp://jobs", "REDIS_PASSWORD": "a/b"},
            "redis://:a%2Fb@localhost:6379/0",
        ),
        *(
            ({"LIMITS_REDIS_URL": url}, url)
            for url in (
                "redis+cluster://:p%40ss@a:1,b:2",
                "redis+sentinel://a:1,b:2/service",
                "redis+unix:///run/redis.sock",
                "rediss://a/3",
            )
        ),
    ],
)
def test_limits_are_counted_where_the_jobs_are_if_that_is_a_redis(
    values: dict[str, str], url: str
) -> None:
    limits = load(**values).limits
    assert limits.storage_url == url
    assert url not in repr(limits)


@pytest.mark.parametrize("secret", ["short", "change-me-change-me-change-me-change-me"])
def test_a_poor_previous_secret_stops_the_start_and_is_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"^JWT_SECRET_PREVIOUS ") as refused:
        load(JWT_SECRET_PREVIOUS=secret)
    assert secret not in str(refused.value)


def test_a_previous_secret_that_is_the_current_one_counts_as_none() -> None:
    assert load(JWT_SECRET_PREVIOUS=SECRET).jwt_secret_previous == ""
    assert load(JWT_SECRET_PREVIOUS="y" * 32).jwt_secret_previous == "y" * 32


@pytest.mark.parametrize(
    ("name", "others"),
    [("JWT_SECRET", {}), ("WEBHOOK_SECRET", {"WEBHOOK_URL": "https://shop.example/"})],
)
def test_the_command_in_a_message_makes_a_good_secret(name: str, others: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**{name: "poor"}, **others)
    command = str(refused.value).partition("with: ")[2]
    assert command.startswith("python3 -c ")
    done = subprocess.run(  # noqa: S603 - the command that is under test
        shlex.split(command), check=True, capture_output=True, text=True
    )
    load(**{name: done.stdout.strip()}, **others)
