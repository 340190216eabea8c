"""Settings of e-mail and webhooks: what switches them on, and what stops the start."""

import pytest

from core.config import ConfigError
from tests.unit.config.test_settings import load

WEBHOOK_SECRET = "whsec_" + "c2VjcmV0" * 4
MAIL = {"SMTP_HOST": "mail.example", "SMTP_FROM": "The Shop <shop@shop.example>"}


def test_a_mail_server_switches_the_channel_on() -> None:
    mail = load(**MAIL, SMTP_USER="shop", SMTP_PASSWORD="hidden").mail
    assert mail
    assert (mail.host, mail.port, mail.tls) == ("mail.example", 587, "starttls")
    assert "hidden" not in repr(mail)


def test_a_mail_server_without_a_sender_stops_the_start() -> None:
    with pytest.raises(ConfigError, match=r"^SMTP_FROM must be "):
        load(SMTP_HOST="mail.example")


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("sales@shop.example", "", "sales@shop.example"),
        ("  <sales@shop.example> ", "", "sales@shop.example"),
        ('"Shop, Inc." <sales@shop.example>', "Shop, Inc.", "sales@shop.example"),
        ("Größe & Co <sales@shop.example>", "Größe & Co", "sales@shop.example"),
        ("sales@localhost", "", "sales@localhost"),
        ("sales@xn--bcher-kva.example", "", "sales@xn--bcher-kva.example"),
        ('"my shop"@shop.example', "", '"my shop"@shop.example'),
    ],
)
def test_a_sender_is_read_with_its_name(text: str, name: str, address: str) -> None:
    mail = load(SMTP_HOST="mail.example", SMTP_FROM=text).mail
    assert mail
    assert (mail.sender.display_name, mail.sender.addr_spec) == (name, address)


@pytest.mark.parametrize(
    "text",
    [
        "@",
        "<@>",
        "sales",
        "sales@",
        "@shop.example",
        "Shop, Inc. <sales@shop.example>",
        "Shop Inc. <sales@shop.example>",
        "Shop <sales@shop.example",
        "sales@shop.example>",
        "Shop <sales@shop.example> today",
        "sales@shop.example, help@shop.example",
        "sales@shop.example help@shop.example",
        "Sales: sales@shop.example;",
        "sales@shop@example",
        "sales team@shop.example",
        "sales@shop..example",
        "sales@shop.example.",
        "sales@-shop.example",
        "sales@shop_example",
        "sales@[127.0.0.1]",
        "sales@bücher.example",
        "größe@shop.example",
        "mailto:sales@shop.example",
        "sales@shop.example\r\nBcc: eve@shop.example",
        "Shop\n <sales@shop.example>",
        "Shop\x00 <sales@shop.example>",
        "Shop\u202e <sales@shop.example>",
        "=?utf-8?q?Shop=0Abcc?= <sales@shop.example>",
        "x" * 65 + "@shop.example",
        "sales@" + "x" * 64 + ".example",
        "sales@" + ".".join(["x" * 60] * 5),
    ],
)
def test_a_sender_that_no_mail_can_have_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^SMTP_FROM must be "):
        load(SMTP_HOST="mail.example", SMTP_FROM=text)


@pytest.mark.parametrize("host", ["mail.example", "mail", "192.0.2.1", "::1", "2001:db8::1"])
def test_a_mail_server_is_named_by_its_host_alone(host: str) -> None:
    mail = load(**{**MAIL, "SMTP_HOST": host}).mail
    assert mail
    assert mail.host == host


@pytest.mark.parametrize(
    "host",
    [
        "mail.example:587",
        "smtp://mail.example",
        "[::1]",
        "shop@mail.example",
        "mail example",
        "mail..example",
        "bücher.example",
        "x" * 64 + ".example",
        "mail.example\x00",
    ],
)
def test_a_mail_server_that_is_no_host_stops_the_start(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^SMTP_HOST must be "):
        load(**{**MAIL, "SMTP_HOST": host})


def test_a_mail_password_is_not_sent_in_clear() -> None:
    login = {**MAIL, "SMTP_USER": "shop", "SMTP_TLS": "none"}
    with pytest.raises(ConfigError, match=r"^SMTP_TLS must be "):
        load(**login)
    assert load(**{**login, "SMTP_HOST": "127.0.0.1"}).mail
    assert load(**{**login, "SMTP_USER": ""}).mail


@pytest.mark.parametrize(
    "url", ["https://shop.example/hook", "http://127.0.0.1:9/", "http://localhost", "http://[::1]/"]
)
def test_a_webhook_address_switches_the_channel_on(url: str) -> None:
    webhook = load(WEBHOOK_URL=url, WEBHOOK_SECRET=WEBHOOK_SECRET).webhook
    assert webhook
    assert (webhook.url, webhook.key) == (url, b"secret" * 4)
    assert url not in repr(webhook)
    assert "secret" not in repr(webhook)


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/hook",
        "ftp://shop.example",
        "shop.example",
        "https://",
        "https://user:hidden@shop.example/",
        "https://shop.example:port/",
        "https://shop.example/a b",
        "http://localhost.evil.example/",
    ],
)
def test_an_unsafe_webhook_address_stops_the_start_and_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^WEBHOOK_URL must be ") as refused:
        load(WEBHOOK_URL=url, WEBHOOK_SECRET=WEBHOOK_SECRET)
    assert url not in str(refused.value)


def test_plain_http_will_do_while_debug_is_on() -> None:
    assert load(DEBUG="true", WEBHOOK_URL="http://shop/", WEBHOOK_SECRET=WEBHOOK_SECRET).webhook


@pytest.mark.parametrize("secret", ["", "c2VjcmV0" * 4, "whsec_short", "whsec_" + "A" * 31 + "!"])
def test_a_poor_webhook_secret_stops_the_start_and_is_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"^WEBHOOK_SECRET must be ") as refused:
        load(WEBHOOK_URL="https://shop.example/", WEBHOOK_SECRET=secret)
    assert not secret or secret not in str(refused.value)


@pytest.mark.parametrize(
    ("listed", "debug", "networks"),
    [
        ("", "false", []),
        ("", "true", ["127.0.0.0/8", "::1/128"]),
        ("10.1.0.0/16, fd00::/8", "false", ["10.1.0.0/16", "fd00::/8"]),
        ("10.1.2.3", "true", ["10.1.2.3/32"]),
    ],
)
def test_endpoints_may_be_in_listed_networks(listed: str, debug: str, networks: list[str]) -> None:
    found = load(DEBUG=debug, WEBHOOK_ALLOWED_NETWORKS=listed).webhook_destinations.networks
    assert [str(network) for network in found] == networks


@pytest.mark.parametrize("listed", ["10.1.0.1/16", "shop.example", "10.1.0.0/33", "10.0.0.0/8;"])
def test_a_malformed_network_stops_the_start(listed: str) -> None:
    with pytest.raises(ConfigError, match=r"^WEBHOOK_ALLOWED_NETWORKS must be "):
        load(WEBHOOK_ALLOWED_NETWORKS=listed)
