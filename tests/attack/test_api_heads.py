"""Heads of requests that are meant to cost the API its time, sent by somebody without credentials."""

import asyncio
import time

import httpx

from deploy.lab.lab import Lab
from deploy.lab.network import HTTP_PORT
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
