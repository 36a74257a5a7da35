"""Heads of requests that are meant to cost the API its time, sent by somebody without credentials."""

import asyncio
import time

import httpx

from deploy.lab.lab import Lab
from deploy.lab.network import AUDIO_PORT, HEALTH_PORT, HTTP_PORT
from tests.attack.conftest import Bystander
from tests.support.rest import Api

AT_ONCE = 40
NOTICED = 1.5
"""Seconds that somebody else's request may take meanwhile; the attack used to hold everything up for 4.5."""

COSTLY = {
    "quotes within the limit": 'a="' + '\\"' * 2020,
    "quotes": 'a="' + '\\"' * 4000,
    "backslashes": "\\" * 7900,
    "separators": ";" * 7900,
    "pairs": "a=1;" * 1900,
}


async def legitimate(admin: Api, until: asyncio.Event) -> float:
    """Asks for a page and for a resource, again and again; returns the longest that one took."""
    slowest = 0.0
    async with httpx.AsyncClient(base_url=admin.url, timeout=30.0) as client:
        while not until.is_set():
            began = time.monotonic()
            assert (await client.get("/docs")).status_code == 200
            await admin.get("/v1.0/customers", page_size=1)
            slowest = max(slowest, (time.monotonic() - began) / 2)
    return slowest


async def test_cookies_hold_nobody_up(platform: Lab, admin: Api, bystander: Bystander) -> None:
    # Past the load balancer too, which bounds heads: the API must stand without it.
    straight = f"http://{platform.farm.of_module('api_manager')[0].address}:{HTTP_PORT}"
    over = asyncio.Event()
    async with bystander.unharmed():
        watching = asyncio.create_task(legitimate(admin, over))
        for name, cookie in COSTLY.items():
            for url in (admin.url, straight):
                assert await statuses(url, cookie) <= {400, 401}, name
        over.set()
        assert await watching < NOTICED


async def statuses(url: str, cookie: str) -> set[int]:
    """What a stranger is answered who sends so many requests at once."""
    async with httpx.AsyncClient(base_url=url, timeout=30.0) as stranger:
        asked = [stranger.get("/v1.0/calls", headers={"Cookie": cookie}) for _ in range(AT_ONCE)]
        return {answer.status_code for answer in await asyncio.gather(*asked)}


ENOUGH = 20_000_000
"""Bytes of a head that an attacker sends, if they are taken."""

PATIENCE = 15.0


async def test_no_door_keeps_an_endless_head_or_half_a_one(
    platform: Lab, admin: Api, bystander: Bystander
) -> None:
    """Every HTTP port of ours, past the load balancer: the API's, and those for health and for prompts."""
    doors = [
        (process.address, endpoint)
        for process in platform.farm.processes
        if process.module
        for endpoint in (HTTP_PORT, HEALTH_PORT, AUDIO_PORT)
        if any(each.port == endpoint for each in process.endpoints)
    ]
    assert len(doors) > 5
    over = asyncio.Event()
    async with bystander.unharmed():
        watching = asyncio.create_task(legitimate(admin, over))
        endless = await asyncio.gather(*(endless_head(*door) for door in doors))
        halves = await asyncio.gather(*(half_a_head(*door) for door in doors))
        over.set()
        assert await watching < NOTICED
    assert max(endless) < ENOUGH / 2, dict(zip(doors, endless, strict=True))
    assert max(halves) < PATIENCE, dict(zip(doors, halves, strict=True))


async def endless_head(host: str, port: int) -> int:
    """Sends headers until the connection ends; returns how many bytes were taken."""
    _, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    sent = 0
    try:
        while sent < ENOUGH:
            writer.write(b"X-Pad: " + b"x" * 8000 + b"\r\n")
            await writer.drain()
            sent += 8000
    except ConnectionError:
        pass
    finally:
        writer.close()
    return sent


async def half_a_head(host: str, port: int) -> float:
    """Sends no more than half a head; returns the seconds that it is waited for."""
    reader, writer = await asyncio.open_connection(host, port)
    began = time.monotonic()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: ")
    try:
        async with asyncio.timeout(PATIENCE):
            while await reader.read(4096):
                pass
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return time.monotonic() - began
