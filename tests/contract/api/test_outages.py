"""While something is away: 503 with Retry-After, at once, and everything works again afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from api_manager.app import build_app
from api_manager.main import build_components
from api_manager.settings import Settings
from evercall.bus.bus import Bus
from evercall.store.database import Database
from tests.contract.api.world import Api, Tenant, make_flow

NOWHERE = "127.0.0.1:1"


def refusal(answer: httpx.Response) -> tuple[int, str, str, str | None]:
    error = answer.json()["error"]
    retry = answer.headers.get("retry-after")
    return answer.status_code, error["status"], error["reason"], retry


@pytest.fixture
async def without_broker(api: Api) -> AsyncIterator[Api]:
    bus = Bus(f"amqp://nobody:nothing@{NOWHERE}/none", "test", 8)
    running = asyncio.create_task(bus.run())
    components = build_components(api.settings, bus, api.database)
    app = build_app(api.settings, components, "0.0.0")
    yield Api(app, api.settings, components, bus, api.database)
    await bus.close()
    await running


@pytest.fixture
async def without_database(api: Api) -> AsyncIterator[Api]:
    database = Database(f"postgresql://nobody:nothing@{NOWHERE}/none")
    components = build_components(api.settings, api.bus, database)
    app = build_app(api.settings, components, "0.0.0")
    yield Api(app, api.settings, components, api.bus, database)
    await database.close()


async def test_without_the_broker(tenant: Tenant, without_broker: Api) -> None:
    async with without_broker.client(tenant.key) as client:
        began = time.monotonic()
        answer = await client.get("/v1.0/calls")
        assert refusal(answer) == (503, "UNAVAILABLE", "BROKER_UNAVAILABLE", "1")
        assert time.monotonic() - began < 1.0
        assert (await client.get("/v1.0/accesskeys")).status_code == 200


async def test_a_post_that_failed_for_the_broker_is_done_when_it_is_back(
    tenant: Tenant, without_broker: Api
) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"actions": [{"type": "answer"}]}
    async with without_broker.client(tenant.key) as client:
        failed = await client.post("/v1.0/flows", json=body, headers=key)
        assert failed.status_code == 503
    await tenant.post("/v1.0/flows", body, headers=key)
    assert len(await tenant.all("/v1.0/flows")) == 1


async def test_without_the_database(tenant: Tenant, without_database: Api) -> None:
    async with without_database.client(tenant.key) as client:
        answer = await client.get("/v1.0/calls")
        assert refusal(answer) == (503, "UNAVAILABLE", "STORE_UNAVAILABLE", "1")
    async with without_database.admin() as client:
        assert refusal(await client.get("/v1.0/customers"))[2] == "STORE_UNAVAILABLE"
        # The administrator's key needs no database; what needs none works.
        assert (await client.get("/v1.0/flows")).status_code == 200


async def test_a_service_that_nobody_runs(api: Api, settings: Settings, tenant: Tenant) -> None:
    class Deaf(Bus):
        async def ask(self, service, *arguments, **options):  # type: ignore[no-untyped-def]
            return await super().ask(f"no_{service}", *arguments, **options)

    bus = Deaf(settings.amqp_url.get_secret_value(), "test", settings.shards)
    running = asyncio.create_task(bus.run())
    async with asyncio.timeout(10):
        while not bus.connected:
            await asyncio.sleep(0.02)
    components = build_components(settings, bus, api.database)
    deaf = Api(build_app(settings, components, "0"), settings, components, bus, api.database)
    async with deaf.client(tenant.key) as client:
        answer = await client.get("/v1.0/calls")
        assert refusal(answer) == (503, "UNAVAILABLE", "SERVICE_UNAVAILABLE", "1")
        assert "call_manager" not in answer.text
    await bus.close()
    await running


async def test_lost_database_connections_are_no_internal_errors(api: Api, tenant: Tenant) -> None:
    async def pid() -> int:
        async with api.database.engine.connect() as connection:
            return int((await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one())

    for _ in range(3):
        pids = set(await asyncio.gather(*(pid() for _ in range(8))))
        kill = sa.text("SELECT pg_terminate_backend(pid) FROM unnest(:pids ::int[]) AS pid")
        # The connection that says so is one of them.
        with pytest.raises(DBAPIError):
            async with api.database.engine.connect() as connection:
                await connection.execute(kill, {"pids": list(pids)})
        statuses: list[int] = []
        async with asyncio.timeout(10):
            while statuses[-5:] != [200] * 5:
                statuses.append((await tenant.client.get("/v1.0/accesskeys")).status_code)
        assert set(statuses) <= {200, 503}
    await make_flow(tenant)
