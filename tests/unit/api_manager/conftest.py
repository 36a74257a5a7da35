"""The application of a test, and clients of it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.api_manager.world import ADMIN_KEY, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client


@pytest.fixture
async def admin(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client(ADMIN_KEY) as client:
        yield client
