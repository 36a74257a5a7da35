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

# IPv6 addresses that carry an IPv4 address in them: NAT64 (RFC 6052) and 6to4 (RFC 3056). Who speaks IPv6
# can reach us by its own address; through these it would reach what the carried address names.
_CARRIERS = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("2002::/16"))


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
    if any(address in network for network in _CARRIERS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
