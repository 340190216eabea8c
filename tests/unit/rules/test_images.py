"""Which URLs of pictures are taken."""

import pytest

from core.rules.images import ImageHosts

HOSTS = ImageHosts(("images.shop.example", "xn--bcher-kva.example"))
TAKEN = [
    "https://images.shop.example/",
    "https://images.shop.example/lamp.jpg",
    "https://images.shop.example/a/b-c_d~e/lamp%20(1).jpg?w=100&h=2@2x#x",
    "https://xn--bcher-kva.example/lamp.jpg",
]
REFUSED = [
    "",
    "lamp.jpg",
    "//images.shop.example/lamp.jpg",
    "http://images.shop.example/lamp.jpg",
    "HTTPS://images.shop.example/lamp.jpg",
    "https:images.shop.example/lamp.jpg",
    "https:///images.shop.example/lamp.jpg",
    "https:\\\\images.shop.example/lamp.jpg",
    "https://images.shop.example",
    "https://images.shop.example?lamp",
    "https://images.shop.example:443/lamp.jpg",
    "https://images.shop.example:/lamp.jpg",
    "https://images.shop.example./lamp.jpg",
    "https://Images.Shop.Example/lamp.jpg",
    "https://eve@images.shop.example/lamp.jpg",
    "https://images.shop.example@evil.example/lamp.jpg",
    "https://images.shop.example:x@evil.example/lamp.jpg",
    "https://images.shop.example\\@evil.example/lamp.jpg",
    "https://images.shop.example.evil.example/lamp.jpg",
    "https://evil.example/https://images.shop.example/lamp.jpg",
    "https://evil.example/?images.shop.example/",
    "https://evil.example#images.shop.example/",
    "https://other.images.shop.example/lamp.jpg",
    "https://shop.example/lamp.jpg",
    "https://images%2eshop%2eexample/lamp.jpg",
    "https://images\u3002shop\u3002example/lamp.jpg",
    "https://images.shop.ex\uff41mple/lamp.jpg",
    "https://im\u0430ges.shop.example/lamp.jpg",
    "https://images.shop.example\u200b/lamp.jpg",
    "https://images.shop.exam\u00adple/lamp.jpg",
    "https://bücher.example/lamp.jpg",
    "https://images.shop.example/größe.jpg",
    "https://images.shop.example/la mp.jpg",
    "https://images.shop.example/lamp.jpg\n",
    "https://images.shop.example/\tlamp.jpg",
    'https://images.shop.example/"onload="',
    "https://images.shop.example/<svg>",
    "https://images.shop.example/a\\b",
    " https://images.shop.example/lamp.jpg",
    "javascript:alert(1)//https://images.shop.example/",
    "data:image/png;base64,AAAA",
]


@pytest.mark.parametrize("url", TAKEN)
def test_a_plain_url_on_one_of_the_hosts_is_taken(url: str) -> None:
    assert HOSTS.allow(url)


@pytest.mark.parametrize("url", REFUSED)
def test_any_other_url_is_refused(url: str) -> None:
    assert not HOSTS.allow(url)


def test_without_hosts_every_url_is_refused() -> None:
    assert not any(ImageHosts().allow(url) for url in TAKEN)


def test_the_policy_names_the_hosts_as_https_origins() -> None:
    assert HOSTS.origins == ("https://images.shop.example", "https://xn--bcher-kva.example")
