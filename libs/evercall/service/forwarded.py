"""The address that a request really comes from, behind proxies that we trust."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The nearest address that is not one of our proxies.

    `X-Forwarded-For` grows to the right: each proxy appends whom it heard from. So it is read from the
    right, and only as long as the one who wrote an entry is trusted; anything further left may be
    invented by the client.

    Args:
        peer: the address at the other end of the connection.
        forwarded_for: the header's value, "" when there is none.
        trusted: the networks of our proxies.
    """
    address = peer
    for entry in reversed(forwarded_for.split(",")):
        if not is_trusted(address, trusted):
            break
        candidate = entry.strip()
        if not _is_address(candidate):
            break
        address = candidate
    return address


def limited_as(address: str) -> str:
    """Who counts as one for limits: an IPv4 address, or the /64 that an IPv6 host chooses its own from
    (RFC 4291 section 2.5.1)."""
    if ":" not in address or not _is_address(address):
        return address
    network = int(ipaddress.IPv6Address(address.partition("%")[0])) >> 64
    return f"{network:x}::/64"


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether this is a proxy of ours."""
    if not trusted or not _is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
