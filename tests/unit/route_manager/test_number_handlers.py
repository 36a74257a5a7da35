"""What `route_manager` answers, with a store in memory."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from evercall.contracts import route
from evercall.contracts.base import Page, Request
from evercall.contracts.route import (
    InboundRoute,
    InboundRouteFind,
    Number,
    NumberCreate,
    NumberDelete,
    NumberFind,
    NumberGet,
    NumberList,
    NumberUpdate,
)
from evercall.service.errors import Conflict, InvalidRequest, NotFound, Unavailable
from evercall.service.identity import new_id
from route_manager.rpc import NumberHandlers

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CUSTOMER = new_id()
FLOW = new_id()


class MemoryNumbers:
    """The store's rules, in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Number] = {}

    async def create(self, request: NumberCreate) -> tuple[Number | None, bool]:
        known = self.rows.get(request.id)
        if known is not None:
            return known, False
        if any(row.number == request.number for row in self.rows.values()):
            return None, False
        fields = msgspec.structs.asdict(request)
        self.rows[request.id] = Number(**fields, tm_create=NOW, tm_update=NOW)
        return self.rows[request.id], True

    async def update(self, request: NumberUpdate) -> Number | None:
        return self._change(request, name=request.name, call_flow_id=request.call_flow_id)

    async def delete(self, request: NumberDelete) -> Number | None:
        deleted = self._change(request, tm_delete=NOW)
        self.rows.pop(request.id, None)
        return deleted

    async def get(self, request: NumberGet) -> Number | None:
        return self._change(request)

    async def find(self, request: NumberFind) -> Number | None:
        rows = (row for row in self.rows.values() if row.number == request.number)
        return next((row for row in rows if row.customer_id == request.customer_id), None)

    async def list(self, request: NumberList) -> Page[Number]:
        mine = [row for row in self.rows.values() if row.customer_id == request.customer_id]
        return Page(result=mine[: request.page_size])

    async def route(self, called: str) -> InboundRoute | None:
        for row in self.rows.values():
            if row.number == called and row.call_flow_id is not None:
                return InboundRoute(
                    number_id=row.id, customer_id=row.customer_id, flow_id=row.call_flow_id
                )
        return None

    def _change(self, request: Any, **values: Any) -> Number | None:
        row = self.rows.get(request.id)
        if row is None or row.customer_id != request.customer_id:
            return None
        self.rows[row.id] = msgspec.structs.replace(row, **values)
        return self.rows[row.id]


class Events:
    """Published events; `lost` makes the broker go away."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, UUID, UUID]] = []
        self.lost = False

    async def publish(self, resource: str, event: str, customer: UUID, body: Any) -> None:
        if self.lost:
            raise Unavailable("broker_unavailable", "away")
        self.published.append((resource, event, customer, body.id))


class World:
    def __init__(self) -> None:
        self.events = Events()
        self.numbers = MemoryNumbers()
        self.handlers = NumberHandlers(self.numbers, self.events.publish)

    async def ask(self, request: Request[Any]) -> Any:
        return await self.handlers.handlers[type(request)](request)


@pytest.fixture
def world() -> World:
    return World()


def create(number: str = "+4930123456", **changes: Any) -> NumberCreate:
    values: dict[str, Any] = {"id": new_id(), "customer_id": CUSTOMER, "call_flow_id": FLOW}
    return NumberCreate(number=number, **(values | changes))


def test_every_request_of_the_contract_is_handled(world: World) -> None:
    requests = {
        member
        for member in vars(route).values()
        if isinstance(member, type) and issubclass(member, Request) and member is not Request
    }
    assert set(world.handlers.handlers) == requests


async def test_a_number_is_created_told_and_found(world: World) -> None:
    request = create()
    made = await world.ask(request)
    assert (made.number, made.customer_id, made.call_flow_id) == (
        "+4930123456",
        CUSTOMER,
        FLOW,
    )
    assert world.events.published == [("number", "created", CUSTOMER, request.id)]
    found = await world.ask(InboundRouteFind(number="+4930123456"))
    assert found == InboundRoute(number_id=request.id, customer_id=CUSTOMER, flow_id=FLOW)


async def test_create_said_twice_makes_one_number_and_one_event(world: World) -> None:
    request = create()
    assert await world.ask(request) == await world.ask(request)
    assert len(world.events.published) == 1


async def test_a_number_that_somebody_has_is_refused(world: World) -> None:
    await world.ask(create())
    with pytest.raises(Conflict) as refused:
        await world.ask(create(customer_id=new_id()))
    assert refused.value.code == "number_already_exists"
    assert refused.value.details == {"field": "number"}


@pytest.mark.parametrize(
    "number",
    [
        "4930123456", "004930123456", "+123456", "+1234567890123456", "+49 30 123456",
        "+49301234ab", "", "+", "+4930123456\n", " +4930123456", "+٤٩٣٠١٢٣٤٥",
    ],
)  # fmt: skip
async def test_what_is_not_e164_is_refused_and_has_no_route(world: World, number: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await world.ask(create(number))
    assert (refused.value.code, refused.value.details["field"]) == ("invalid_argument", "number")
    with pytest.raises(NotFound) as unknown:
        await world.ask(InboundRouteFind(number=number))
    assert unknown.value.code == "route_not_found"


@pytest.mark.parametrize("number", ["+1234567", "+123456789012345"])
async def test_the_shortest_and_the_longest_number_are_taken(world: World, number: str) -> None:
    assert (await world.ask(create(number))).number == number


async def test_a_number_without_a_flow_has_no_route(world: World) -> None:
    await world.ask(create(call_flow_id=None))
    with pytest.raises(NotFound):
        await world.ask(InboundRouteFind(number="+4930123456"))


async def test_a_list_is_the_customers_own(world: World) -> None:
    made = await world.ask(create())
    await world.ask(create("+4930999999", customer_id=new_id()))
    assert await world.ask(NumberList(customer_id=CUSTOMER, page_size=10)) == Page(result=[made])


async def test_changes_are_told(world: World) -> None:
    made = await world.ask(create())
    changed = await world.ask(
        NumberUpdate(id=made.id, customer_id=CUSTOMER, name="desk", detail="", call_flow_id=None)
    )
    assert (changed.name, changed.call_flow_id) == ("desk", None)
    deleted = await world.ask(NumberDelete(id=made.id, customer_id=CUSTOMER))
    assert deleted.tm_delete == NOW
    assert [event for _, event, _, _ in world.events.published] == [
        "created",
        "updated",
        "deleted",
    ]


async def test_a_lost_event_does_not_fail_a_change_that_has_happened(world: World) -> None:
    world.events.lost = True
    made = await world.ask(create())
    assert await world.ask(NumberGet(id=made.id, customer_id=CUSTOMER)) == made


@pytest.mark.parametrize("kind", [NumberGet, NumberDelete, NumberUpdate])
async def test_a_number_of_somebody_else_is_not_there(
    world: World, kind: type[Request[Any]]
) -> None:
    made = await world.ask(create())
    more = {"name": "mine", "detail": ""} if kind is NumberUpdate else {}
    with pytest.raises(NotFound) as unknown:
        await world.ask(kind(id=made.id, customer_id=new_id(), **more))
    assert unknown.value.code == "number_not_found"
    assert world.events.published == [("number", "created", CUSTOMER, made.id)]


async def test_a_number_is_found_by_whom_it_belongs_to(world: World) -> None:
    made = await world.ask(create())
    assert await world.ask(NumberFind(customer_id=CUSTOMER, number=made.number)) == made
    for customer_id, number in ((new_id(), made.number), (CUSTOMER, "+4930999999")):
        with pytest.raises(NotFound, match="number_not_found"):
            await world.ask(NumberFind(customer_id=customer_id, number=number))
