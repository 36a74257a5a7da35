"""Whose address counts behind proxies."""

import ipaddress

import pytest

from evercall.service.forwarded import client_address, limited_as

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.9, 10.0.0.2", "198.51.100.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9,", "10.0.0.1"),
        ("2001:db8::1", "2001:db9::9", "2001:db9::9"),
        ("", "198.51.100.9", ""),
    ],
)
def test_the_nearest_address_that_is_not_a_proxy(peer: str, forwarded: str, client: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == client


def test_without_trusted_proxies_the_header_counts_for_nothing() -> None:
    assert client_address("10.0.0.1", "198.51.100.9", ()) == "10.0.0.1"


@pytest.mark.parametrize("address", ["192.0.2.1", "", "nonsense", "a:b"])
def test_an_address_counts_as_itself(address: str) -> None:
    assert limited_as(address) == address


def test_the_addresses_of_one_ipv6_network_count_as_one() -> None:
    one = limited_as("2001:db8:1:2::1")
    assert one == limited_as("2001:db8:1:2:ffff::9%eth0") == "20010db800010002::/64"
    assert one != limited_as("2001:db8:1:3::1")
