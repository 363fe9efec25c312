"""Which addresses are public, in every disguise they have."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.utils.public_address import Reach, is_public

PRIVATE_4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
]
PRIVATE_6 = [
    "::/128",
    "::1/128",
    "::/96",  # IPv4-compatible
    "64:ff9b:1::/48",  # translators' local use
    "100::/64",  # discard
    "2001::/32",  # Teredo
    "2001:2::/48",  # benchmarks
    "2001:10::/28",  # ORCHID
    "2001:db8::/32",
    "2002::/16",  # 6to4
    "3fff::/20",
    "5f00::/16",  # segments
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
METADATA = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255"]
PUBLIC_6 = ["2606:4700:4700::1111", "2001:200::1", "2001:4860:4860::8888", "2a00:1450::1", "2003::", "3ffe:ffff::1"]
# What sockets and libraries may take for 127.0.0.1 or 10.0.0.1, and what is no address at all.
ODD = [
    *("2130706433", "0x7f.1", "0x7f000001", "127.1", "127.0.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "0"),
    *(" 127.0.0.1", "127.0.0.1 ", "127.0.0.1\n", "127.0.0.1%lo", "127.0.0.01", "[::1]", "::1/128", "127.0.0.1:80"),
    *("::1%lo", "fe80::1%eth0", "::ffff:127.1", "8.8.8.8.8", "8.8.8", "134744072", "\uff11.1.1.1", "localhost", ""),
    "example.com",
]

addresses_4 = st.integers(0, 2**32 - 1).map(IPv4Address)
addresses_6 = st.integers(0, 2**128 - 1).map(IPv6Address)


def _in(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    first, last = int(network[0]), int(network[-1])
    return st.one_of(st.sampled_from([first, last]), st.integers(first, last)).map(type(network[0]))


private_4 = st.sampled_from([IPv4Network(network) for network in PRIVATE_4]).flatmap(_in)
private_6 = st.sampled_from([IPv6Network(network) for network in PRIVATE_6]).flatmap(_in)


@given(st.one_of(private_4, private_6))
def test_no_private_network_is_reached(address: IPv4Address | IPv6Address) -> None:
    """Neither the first nor the last address of any, nor one between."""
    assert not is_public(address)
    assert not Reach().admits(str(address))


@given(private_4)
def test_no_private_address_is_reached_by_way_of_ipv6(address: IPv4Address | IPv6Address) -> None:
    """Mapped, compatible, translated, in 6to4 (with any host behind it), and as either end of a Teredo tunnel."""
    number = int(address)
    for disguised in (
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x64FF9B0001 << 80 | number),
        IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
        IPv6Address(0x20010000 << 96 | number << 64),
        IPv6Address(0x20010000 << 96 | number ^ 0xFFFF_FFFF),
    ):
        assert not is_public(disguised), disguised
        assert not Reach().admits(str(disguised)), disguised


@given(st.one_of(addresses_4, addresses_6, private_6))
def test_whatever_python_calls_private_is_not_reached(address: IPv4Address | IPv6Address) -> None:
    """The standard library's tables have nothing that ours lack, whatever its version."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert not is_public(address)


@pytest.mark.parametrize("address", METADATA)
def test_no_metadata_service_is_reached(address: str) -> None:
    """Of AWS, Google, Azure, Alibaba, Oracle and the containers of AWS."""
    assert not Reach().admits(address)


@pytest.mark.parametrize("address", [*PUBLIC, *PUBLIC_6])
def test_public_addresses_are_reached(address: str) -> None:
    """Also those right beside private networks."""
    assert is_public(ip_address(address))
    assert Reach().admits(address)


@pytest.mark.parametrize("prefix", ["::ffff:", "64:ff9b::"])
def test_public_addresses_are_reached_by_way_of_ipv6(prefix: str) -> None:
    """A network without IPv4 reaches it through a translator."""
    assert Reach().admits(f"{prefix}8.8.8.8")


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_address_in_its_usual_form_is_not_reached(text: str) -> None:
    """A socket would resolve it, after the check, to whatever it is then."""
    assert not Reach().admits(text)


@pytest.mark.parametrize(
    ("allowed", "address", "is_reached"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "::ffff:10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("10.0.0.0/8", "64:ff9b::10.0.0.1", False),  # RFC 6052: no translator's prefix stands for private addresses
        ("10.0.0.0/8", "2002:a00:1::", False),
        ("127.0.0.1/32,::1/128", "::1", True),
        ("127.0.0.1, ::1", "127.0.0.1", True),
        (",127.0.0.1,,", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "fc00::1", False),
        ("::/0", "127.0.0.1", False),
        ("::/0", "::ffff:127.0.0.1", False),
        ("0.0.0.0/0", "::1", False),
        ("0.0.0.0/0", "127.0.0.1", True),
        ("", "127.0.0.1", False),
        (" ", "127.0.0.1", False),
    ],
)
def test_networks_are_added(allowed: str, address: str, *, is_reached: bool) -> None:
    """As HTTP_ALLOW_PRIVATE has them: each by itself, IPv4 and IPv6 apart."""
    assert Reach.parse(allowed).admits(address) == is_reached


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' has bits beyond its prefix: write 10.0.0.0/8"),
        ("127.0.0.0/8,fd00::1/8", "'fd00::1/8' has bits beyond its prefix: write fd00::/8"),
        ("10.0.0.0/33", "'10.0.0.0/33' is no network"),
        ("10.0.0.0 127.0.0.1", "'10.0.0.0 127.0.0.1' is no network"),
        ("localhost", "'localhost' is no network"),
        ("*", "'*' is no network"),
        ("10", "'10' is no network"),
        ("true", "'true' is no network"),
        ("fe80::1%eth0", "'fe80::1%eth0' is no network"),
        ("::ffff:10.0.0.0/104", "'::ffff:10.0.0.0/104' is to be written as IPv4"),
    ],
)
def test_what_is_no_network_is_named(text: str, message: str) -> None:
    """With what it should have been."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Reach.parse(text)


@given(st.lists(st.tuples(addresses_4, st.integers(0, 32)), max_size=5))
def test_every_list_of_networks_is_taken(pairs: list[tuple[IPv4Address, int]]) -> None:
    """And admits the networks' addresses."""
    networks = [ip_network((address, length), strict=False) for address, length in pairs]
    reach = Reach.parse(",".join(map(str, networks)))
    assert all(reach.admits(str(network[0])) and reach.admits(str(network[-1])) for network in networks)
