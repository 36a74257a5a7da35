"""Connections without end, and bodies: who holds many keeps nobody else from calling or asking."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager

from deploy.lab.lab import Lab
from deploy.lab.network import HTTP_PORT, SIP_PORT
from tests.attack.conftest import Bystander, Outsider
from tests.e2e.edge.peer import Address, TcpPeer
from tests.support.rest import Customer

# What nginx gives a client for its head, and between two pieces of its body.
_PATIENCE_SECONDS = 10.0
_CARRIER = 151


def _hold(
    outsider: Outsider, to: Address, count: int, beginning: bytes, stack: ExitStack
) -> list[socket.socket]:
    links = [stack.enter_context(outsider.connect(to)) for _ in range(count)]
    for link in links:
        link.sendall(beginning)
    return links


def _still_open(links: Sequence[socket.socket]) -> int:
    """How many the other side has neither answered nor closed."""
    count = 0
    for link in links:
        link.setblocking(False)
        try:
            link.recv(65_536)
        except BlockingIOError:
            count += 1
        except ConnectionError:
            continue
    return count


async def _until(condition: Callable[[], bool], within: float) -> None:
    limit = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < limit, f"not within {within} s"
        await asyncio.sleep(0.2)


@asynccontextmanager
async def _api_answers(customer: Customer) -> AsyncIterator[None]:
    """While the block runs the API answers everybody else, at once."""

    async def ask() -> None:
        while True:
            async with asyncio.timeout(3.0):
                await customer.api.get("/v1.0/flows")
            await asyncio.sleep(0.3)

    asking = asyncio.create_task(ask())
    try:
        yield
        assert not asking.done(), asking.exception()
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def _head(lab: Lab, length: int) -> bytes:
    return (
        f"POST /v1.0/flows HTTP/1.1\r\nHost: {lab.farm.network.api}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def test_slow_clients_of_the_api(
    platform: Lab, customer: Customer, bystander: Bystander, outsider: Outsider
) -> None:
    """Heads and bodies that never come to an end, and connections that say nothing."""
    api = platform.farm.network.api, HTTP_PORT
    half_head = _head(platform, 10)[:-2]
    with ExitStack() as stack:
        async with bystander.unharmed(), _api_answers(customer):
            held = [
                *await asyncio.to_thread(_hold, outsider, api, 400, half_head, stack),
                *await asyncio.to_thread(
                    _hold, outsider, api, 400, _head(platform, 1_900_000) + b"{", stack
                ),
            ]
            await asyncio.to_thread(_hold, outsider, api, 400, b"", stack)
            # Those with a body are counted by address, and so some of them are refused at once.
            await _until(lambda: _still_open(held) < 800, 3.0)
            await _until(lambda: _still_open(held) == 0, _PATIENCE_SECONDS + 5.0)


async def test_huge_bodies(
    platform: Lab, customer: Customer, bystander: Bystander, outsider: Outsider
) -> None:
    """One that is too large is refused by its length; many that are not must not use up the memory."""
    api = platform.farm.network.api, HTTP_PORT
    nearly = _head(platform, 1_990_000) + b" " * 1_900_000
    with ExitStack() as stack:
        async with bystander.unharmed(), _api_answers(customer):
            (huge,) = await asyncio.to_thread(
                _hold, outsider, api, 1, _head(platform, 10_000_000), stack
            )
            huge.settimeout(3.0)
            answer = await asyncio.to_thread(huge.recv, 65_536)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"REQUEST_TOO_LARGE" in answer
            # 304 MB, where the tmpfs has 256.
            await asyncio.to_thread(_hold_what_is_taken, outsider, api, 160, nearly, stack)


def _hold_what_is_taken(
    outsider: Outsider, to: Address, count: int, beginning: bytes, stack: ExitStack
) -> None:
    for _ in range(count):
        link = stack.enter_context(outsider.connect(to))
        try:
            link.sendall(beginning)
        except OSError:
            continue  # there is no room for it


async def test_connections_to_kamailio(
    platform: Lab, bystander: Bystander, outsider: Outsider
) -> None:
    """By the balancer and past it, one address has only so many; others get theirs."""
    network = platform.farm.network
    with ExitStack() as stack:
        async with bystander.unharmed():
            for host in (network.external_sip, network.kamailio_external(1)):
                links = await asyncio.to_thread(
                    _hold, outsider, (host, SIP_PORT), 200, b"OPTIONS ", stack
                )
                await _until(lambda held=links: _still_open(held) <= 64, 5.0)  # type: ignore[misc]
                carrier = await asyncio.to_thread(
                    TcpPeer, network.address(9, _CARRIER), (host, SIP_PORT)
                )
                with carrier:
                    text = carrier.request("OPTIONS", f"sip:{network.external_sip}")
                    assert (await asyncio.to_thread(carrier.ask, text)).status == 200
