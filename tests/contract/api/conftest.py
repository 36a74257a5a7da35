"""Stands the API up in the test's process, on what runs in the lab."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api_manager.app import build_app
from api_manager.main import build_components
from api_manager.settings import Settings
from deploy.lab.lab import Lab
from evercall.bus.bus import Bus
from evercall.store.database import Database
from tests.contract.api.world import Api, Tenant

SERVICES = ("route_manager-1", "flow_manager-1", "call_manager-1")


@pytest.fixture(scope="session")
def ready_lab(lab: Lab) -> Lab:
    """The lab with the services that the API asks."""
    lab.wait_ready(SERVICES, seconds=30.0)
    return lab


@pytest.fixture
def settings(ready_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the lab's own api_manager is set to."""
    for name, value in ready_lab.farm.of_module("api_manager")[0].environment:
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVERCALL_DESTINATIONS_ALLOW", "127.0.0.0/8")
    return Settings()


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    bus = Bus(settings.amqp_url.get_secret_value(), "test", settings.shards)
    database = Database(settings.database_url.get_secret_value(), size=8)
    runs = [asyncio.create_task(bus.run()), asyncio.create_task(database.run())]
    async with asyncio.timeout(10):
        while not (bus.connected and database.available):
            await asyncio.sleep(0.02)
    components = build_components(settings, bus, database)
    app = build_app(settings, components, "0.0.0")
    yield Api(app, settings, components, bus, database)
    await bus.close()
    await database.close()
    await asyncio.gather(*runs)


@pytest.fixture
async def tenant(api: Api) -> AsyncIterator[Tenant]:
    async with api.tenant("tenant") as tenant:
        yield tenant


@pytest.fixture
async def stranger(api: Api) -> AsyncIterator[Tenant]:
    """Another customer, who must see nothing of the first."""
    async with api.tenant("stranger") as tenant:
        yield tenant
