"""Heads of requests that are meant to cost the API its time, sent by somebody without credentials."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.lab.lab import Lab
from deploy.lab.network import HTTP_PORT
from tests.support.rest import Api, admin_api

AT_ONCE = 40
NOTICED = 1.5
"""Seconds that somebody else's request may take meanwhile; the attack used to hold everything up for 4.5."""

COSTLY = [
    pytest.param('a="' + '\\"' * 2020, id="quotes within the limit"),
    pytest.param('a="' + '\\"' * 4000, id="quotes"),
    pytest.param("\\" * 7900, id="backslashes"),
    pytest.param(";" * 7900, id="separators"),
    pytest.param("a=1;" * 1900, id="pairs"),
]


@pytest.fixture
async def admin(lab: Lab) -> AsyncIterator[Api]:
    lab.wait_ready(["api_manager-1"], seconds=30.0)
    api = admin_api(lab)
    yield api
    await api.close()


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


@pytest.mark.parametrize("cookie", COSTLY)
async def test_cookies_hold_nobody_up(lab: Lab, admin: Api, cookie: str) -> None:
    over = asyncio.Event()
    watching = asyncio.create_task(legitimate(admin, over))
    # Past the load balancer too, which bounds heads: the API must stand without it.
    straight = f"http://{lab.farm.of_module('api_manager')[0].address}:{HTTP_PORT}"
    for url in (admin.url, straight):
        async with httpx.AsyncClient(base_url=url, timeout=30.0) as stranger:
            asked = [
                stranger.get("/v1.0/calls", headers={"Cookie": cookie}) for _ in range(AT_ONCE)
            ]
            answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} <= {400, 401}
    over.set()
    assert await watching < NOTICED
