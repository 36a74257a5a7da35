"""What others learn of customers, and how a frozen customer's calls end."""

import asyncio
from uuid import UUID

import httpx
import pytest

from api_manager import tenancy
from api_manager.tenancy import TenancyHandlers, keep_frozen
from evercall.contracts.base import Empty
from evercall.contracts.call import CustomersCallsEnd, CustomerUse, CustomerUseFind
from evercall.contracts.tenant import Quotas, TenancyFind
from evercall.service.errors import Unavailable
from evercall.service.identity import new_id
from tests.unit.api_manager.world import FakeBus, World


async def test_what_others_learn(world: World, admin: httpx.AsyncClient) -> None:
    handlers = TenancyHandlers(world.customers)  # type: ignore[arg-type]
    find = TenancyFind(customer_id=world.customer_id)
    path = f"/v1.0/customers/{world.customer_id}"
    assert (await handlers.find(find)).quotas == Quotas()
    await admin.put(f"{path}/quotas", json={"media_streams": 3})
    assert (await handlers.find(find)).quotas.media_streams == 3
    await admin.post(f"{path}/freeze")
    assert (await handlers.find(find)).frozen
    await admin.post(f"{path}/recover")
    assert not (await handlers.find(find)).frozen
    assert (await handlers.find(TenancyFind(customer_id=new_id()))).frozen
    told = [(resource, event) for resource, event, _ in world.bus.published]
    assert told == [("customer", "updated"), ("customer", "frozen"), ("customer", "recovered")]


async def test_freezing_ends_calls_and_survives_call_manager_being_away(
    world: World, admin: httpx.AsyncClient
) -> None:
    answer = await admin.post(f"/v1.0/customers/{world.customer_id}/freeze")
    assert answer.status_code == 200
    (request,) = world.bus.requests(CustomersCallsEnd)
    assert request.customer_ids == [world.customer_id]


async def test_a_customer_sees_itself_with_what_it_uses(
    world: World, client: httpx.AsyncClient
) -> None:
    path = f"/v1.0/customers/{world.customer_id}"
    unknown = await client.get(path)
    assert (unknown.status_code, unknown.json()["use"]) == (200, None)
    world.bus.answers[CustomerUseFind] = lambda _: CustomerUse(concurrent_calls=3, media_streams=1)
    shown = (await client.get(path)).json()
    assert shown["use"] == {"concurrent_calls": 3, "media_streams": 1}
    assert shown["quotas"]["concurrent_calls"] == 500
    assert (await client.get(f"/v1.0/customers/{new_id()}")).status_code == 403


class Frozen:
    """Customers that are frozen; once, nobody can say which."""

    def __init__(self, *customers: UUID) -> None:
        self.customers = list(customers)
        self.asked = 0

    async def get(self, identifier: UUID) -> None:
        raise AssertionError(identifier)

    async def frozen(self) -> list[UUID]:
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("store_unavailable", "away")
        return self.customers


async def test_it_is_said_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenancy, "SWEEP_INTERVAL", 0.001)
    bus, frozen = FakeBus(), Frozen(new_id(), new_id())
    monkeypatch.setattr(tenancy, "AT_ONCE", 1)
    task = asyncio.create_task(keep_frozen(frozen, bus))
    async with asyncio.timeout(5):
        while len(bus.asked) < 3:  # refused: the rest waits for the next time
            await asyncio.sleep(0.001)
        bus.answers[CustomersCallsEnd] = lambda _: Empty()
        while bus.requests(CustomersCallsEnd)[-1].customer_ids != frozen.customers[1:]:
            await asyncio.sleep(0.001)
    task.cancel()
