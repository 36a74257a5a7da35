"""Which hosts customers' URLs may lead to: the internet, and what the operator allows, nothing else.

A URL of a customer makes this process send a request. It must not become a way to reach what only this
process can reach (the cloud's metadata service, the database, the broker's console). So the name is resolved
here, every address is judged, and the connection goes to the very address that was judged: resolving again
would let a name change its mind in between.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_GLOBAL_UNICAST = ip_network("2000::/3")
"""All of IPv6 that is given out (RFC 4291 section 2.4). Outside of it lie this host, private and link-local
addresses, fec0::/10, NAT64 (64:ff9b::, which carries an IPv4 address), SRv6's 5f00::/16 and multicast."""

_SPECIAL: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        # IANA's registry of special-purpose IPv4 addresses (RFC 6890), and 224.0.0.0/4.
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        # That of IPv6, as far as it lies within 2000::/3. 2001::/23 holds Teredo, 2002::/16 is 6to4 (RFC 3056):
        # who speaks IPv6 can reach us by its own address; through these it would reach what they carry.
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip
"""Written down here and not taken from `ipaddress`, whose lists change with Python's version."""


class HostRefused(ValueError):
    """Nobody connects there. The text says why."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class HostGuard:
    """Judges hosts."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve = resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve

    async def address_of(self, host: str, port: int) -> str:
        """The address to connect to.

        Raises:
            HostRefused: the host does not exist, or is none that customers may reach.
        """
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise HostRefused("the host of the URL is not known") from None
        # One address that is not allowed makes the name suspicious as a whole.
        if not addresses or not all(self._may_reach(address) for address in addresses):
            raise HostRefused("the host of the URL must not be reached")
        return addresses[0]

    def _may_reach(self, text: str) -> bool:
        address = plain_address(text)
        if any(address in network for network in self._allowed):
            return True
        return is_public(address)


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """The address that a text names, without a scope (`fe80::1%eth0`, only at link-local addresses); an IPv4
    address in IPv6's clothes is the IPv4 address."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of the internet, and not of a network of somebody's own."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _SPECIAL)
