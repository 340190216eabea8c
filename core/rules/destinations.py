"""Addresses that messages to systems outside may be sent to, judged when connecting.

Names, odd spellings such as 0x7f000001 and redirects need no rules of their own: the address
that the connection would go to is judged, whatever it was spelled like.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = ip_network("64:ff9b::/96")
_LOW_32_BITS = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Destinations:
    """Public addresses over https, and these networks, over http as well."""

    networks: tuple[Network, ...] = ()

    def allow(self, text: str, *, is_encrypted: bool) -> bool:
        """Whether to connect to this address."""
        address = _reached(ip_address(text))
        if any(address in network for network in self.networks):
            return True
        return is_encrypted and is_public(address)


def is_public(address: Address) -> bool:
    """Whether it belongs to one host of the internet."""
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return isinstance(address, IPv4Address) or not address.is_site_local


def _reached(address: Address) -> Address:
    """The IPv4 address that is reached by an IPv6 one: mapped, by NAT64 or by 6to4."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & _LOW_32_BITS)
    return address.ipv4_mapped or address.sixtofour or address
