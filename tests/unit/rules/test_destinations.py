"""Which addresses messages may go to."""

from ipaddress import ip_network

import pytest

from core.rules.destinations import Destinations

PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
OTHERS = [
    "0.0.0.0",  # noqa: S104 - never bound
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "fc00::1",
    "fe80::1%2",
    "fec0::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed_if_encrypted(address: str) -> None:
    assert Destinations().allow(address, is_encrypted=True)
    assert not Destinations().allow(address, is_encrypted=False)


@pytest.mark.parametrize("address", OTHERS)
def test_no_other_address_is_allowed(address: str) -> None:
    assert not Destinations().allow(address, is_encrypted=True)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_listed_network_is_allowed_however_it_is_reached(address: str) -> None:
    listed = Destinations((ip_network("10.1.0.0/16"),))
    assert listed.allow(address, is_encrypted=False)
    assert not listed.allow("10.2.0.1", is_encrypted=True)
