"""What an admin sees of the configuration: what is in effect, and no secret, host or path."""

import platform
import re
from collections.abc import Iterator
from dataclasses import replace
from email.headerregistry import Address

import pytest

from core.bootstrap import Services, bootstrap
from core.config import PROJECT_ROOT, Settings
from core.config.channels import MailSettings, Tls, WebhookSettings
from core.operations.configuration import VERSION, Configurations
from core.operations.server_checks import check_redis
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop

PATH = "/api/admin/settings"
REDIS = "appendonly", "appendfsync", "maxmemory-policy"


def test_versions_are_those_that_run(admin: CheckedClient, shop: Shop) -> None:
    versions = admin.get(PATH).json["versions"]
    assert (versions["flashbid"], versions["python"]) == (VERSION, platform.python_version())
    [(postgresql,)] = shop.rows("SHOW server_version")
    assert postgresql.startswith(versions["postgresql"])
    assert versions["redis"] == shop.services.redis.info("server")["redis_version"]


@pytest.fixture
def restored(services: Services) -> Iterator[None]:
    before = {name: services.redis.config_get(name)[name] for name in REDIS}
    yield
    for name, value in before.items():
        services.redis.config_set(name, value)


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_how_redis_keeps_bids_is_as_redis_says_it(
    admin: CheckedClient, services: Services, restored: None, fsync: str
) -> None:
    services.redis.config_set("appendonly", "yes", "appendfsync", fsync)
    services.redis.config_set("maxmemory-policy", "allkeys-lru")
    shown = admin.get(PATH).json
    [node] = shown["redis"]
    assert (node["appendonly"], node["appendfsync"]) == (True, fsync)
    assert (node["maxmemory_policy"], node["can_append"]) == ("allkeys-lru", True)
    assert shown["findings"] == [finding.sentence for finding in check_redis(services.redis)]
    assert len(shown["findings"]) == (1 if fsync == "always" else 2)
    services.redis.config_set("appendonly", "no")
    assert admin.get(PATH).json["redis"][0]["appendonly"] is False


def test_channels_are_on_with_their_settings(services: Services, clean: None) -> None:
    def channels(settings: Settings) -> dict[str, bool]:
        made = bootstrap(settings)
        try:
            return dict(made.configurations.read().channels)
        finally:
            made.redis.close()
            made.engine.dispose()

    off = replace(services.settings, mail=None, webhook=None)
    assert channels(off) == {"email": False, "webhook": False}
    mail = MailSettings("127.0.0.1", 25, "", "", Address("", "shop", "shop.example"), Tls.NONE)
    webhook = WebhookSettings(
        "https://shop.example/hook", "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert channels(replace(off, mail=mail, webhook=webhook)) == {"email": True, "webhook": True}


def test_settings_go_by_the_names_of_the_documentation(
    admin: CheckedClient, settings: Settings
) -> None:
    shown = admin.get(PATH).json["settings"]
    page = (PROJECT_ROOT / "docs" / "reference" / "settings.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert set(shown) <= documented
    assert shown["CURRENCY"] == settings.currency
    assert shown["LOGINS_PER_MINUTE"] == settings.limits.logins_per_minute
    assert shown["PASSWORD_MIN_LENGTH"] == settings.passwords.min_length


def test_no_secret_no_host_and_no_path_is_shown(services: Services) -> None:
    marked = replace(
        services.settings,
        **dict.fromkeys(("jwt_secret", "jwt_secret_previous", "metrics_token"), "hidden-secret"),
        **dict.fromkeys(("host", "exports_folder", "metrics_folder", "broker_url"), "hidden-place"),
        **dict.fromkeys(("postgres_host", "postgres_user", "postgres_db"), "hidden-place"),
        **dict.fromkeys(("redis_host", "postgres_password", "redis_password"), "hidden-secret"),
        limits=replace(services.settings.limits, storage_url="redis://hidden-place"),
    )
    made = services
    read = Configurations(marked, made.database, made.redis, made.mailer, made.webhooks).read()
    assert "hidden" not in repr(read)
    assert all(isinstance(value, bool | int | float | str) for value in read.settings.values())


def test_members_see_none_of_it(member: CheckedClient) -> None:
    assert member.get(PATH).json["code"] == "admin_required"
