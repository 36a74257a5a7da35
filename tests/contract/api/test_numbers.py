"""Numbers through API and route_manager: who wins one, where its calls go, who hears of changes."""

import asyncio

import msgspec
import pytest

from evercall.contracts.base import ResourceEvent
from evercall.contracts.route import InboundRoute, InboundRouteFind, Number, NumberCreate
from evercall.service.errors import NotFound
from evercall.service.identity import new_id
from tests.contract.api.world import Api, Tenant, any_number, make_flow


async def test_of_many_who_want_a_number_at_once_one_gets_it(
    tenant: Tenant, stranger: Tenant
) -> None:
    number = any_number()
    asked = [each.assign(number) for each in (tenant, stranger) for _ in range(8)]
    answers = await asyncio.gather(*asked)
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [409] * 15
    owned = await tenant.all("/v1.0/numbers") + await stranger.all("/v1.0/numbers")
    assert [row["number"] for row in owned] == [number]


async def test_one_id_makes_one_number_however_often_it_is_said(api: Api, tenant: Tenant) -> None:
    request = NumberCreate(id=new_id(), customer_id=tenant.id, number=any_number())
    made = await asyncio.gather(*(api.bus.ask("route_manager", request) for _ in range(10)))
    assert len({number.id for number in made}) == 1
    assert len(await tenant.all("/v1.0/numbers")) == 1


async def test_calls_to_a_number_go_where_it_says(api: Api, tenant: Tenant) -> None:
    number, flow_id = any_number(), await make_flow(tenant)
    find = InboundRouteFind(number=number)
    made = await tenant.number(number)
    with pytest.raises(NotFound, match="route_not_found"):
        await api.bus.ask("route_manager", find)
    path = f"/v1.0/numbers/{made['id']}"
    await tenant.client.put(path, json={"call_flow_id": flow_id})
    route = await api.bus.ask("route_manager", find)
    assert isinstance(route, InboundRoute)
    assert (str(route.number_id), str(route.flow_id)) == (made["id"], flow_id)
    assert route.customer_id == tenant.id
    await tenant.client.delete(path)
    with pytest.raises(NotFound, match="route_not_found"):
        await api.bus.ask("route_manager", find)


async def test_changes_are_told_to_who_listens(api: Api, tenant: Tenant) -> None:
    heard: asyncio.Queue[ResourceEvent] = asyncio.Queue()
    await api.bus.subscribe_events([f"{tenant.id}.number.*"], heard.put)
    made = await tenant.number(any_number())
    path = f"/v1.0/numbers/{made['id']}"
    await tenant.client.put(path, json={"name": "desk"})
    await tenant.client.delete(path)
    async with asyncio.timeout(5):
        events = [await heard.get() for _ in range(3)]
    assert [event.type for event in events] == [
        "number_created",
        "number_updated",
        "number_deleted",
    ]
    assert {(str(event.resource_id), event.customer_id) for event in events} == {
        (made["id"], tenant.id)
    }
    told = [msgspec.json.decode(event.resource, type=Number) for event in events]
    assert [number.name for number in told] == ["", "desk", "desk"]
    assert told[2].tm_delete is not None
