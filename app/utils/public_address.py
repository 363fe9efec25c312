"""Which IP addresses are public, and which others a list of networks adds.

The tables are our own: what `ipaddress.is_global` says differs between versions of Python, and 3.11 takes addresses for
global that lead to private ones (`64:ff9b::a00:1`, `2002:a00:1::`, `::10.0.0.1`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# https://www.iana.org/assignments/iana-ipv4-special-registry
_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a carrier's NAT; some clouds' metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's own service to its machines, on an address that is otherwise public
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays into 6to4, which are no more
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)

# Unicast is given out of this one alone; loopback, unique local, link-local, site-local, multicast, IPv4-compatible and
# the translators' 64:ff9b:1::/48 lie outside of it. https://www.iana.org/assignments/ipv6-address-space
_UNICAST_6 = IPv6Network("2000::/3")
# https://www.iana.org/assignments/iana-ipv6-special-registry
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols; Teredo, which has an IPv4 address inside
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which has an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)
# How a network without IPv4 reaches all of IPv4: the last 32 bits are the address behind the translator (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Reach:
    """The addresses that may be reached: public ones, and those in `networks`."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """From networks or addresses, separated by commas. Raises ValueError, which names the one that is wrong."""
        return cls(tuple(_network(part) for part in map(str.strip, text.split(",")) if part))

    def admits(self, literal: str) -> bool:
        """Whether this address, as text, may be reached.

        What is no address in its usual form is not admitted: a socket might resolve it, after this check, to anything.
        """
        try:
            address = _unmapped(ip_address(literal))
        except ValueError:
            return False
        return is_public(address) or _is_in(address, self.networks)


def is_public(address: Address) -> bool:
    """Whether it is a unicast address of the Internet, which also does not stand for an IPv4 address that is not."""
    address = _unmapped(address)
    if isinstance(address, IPv4Address):
        return not _is_in(address, _NOT_PUBLIC_4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _UNICAST_6 and not _is_in(address, _NOT_PUBLIC_6)


def _unmapped(address: Address) -> Address:
    """To the kernel `::ffff:10.0.0.1` is 10.0.0.1."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "%" in text:  # a zone, as in fe80::1%eth0
        raise ValueError(f"{text!r} is no network as in 10.0.0.0/8 or fd00::/8")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError(f"{text!r} is to be written as IPv4")
    if network.network_address != ip_address(text.partition("/")[0]):
        raise ValueError(f"{text!r} has bits beyond its prefix: write {network}")
    return network
