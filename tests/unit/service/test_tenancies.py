"""What is remembered of customers, and what counts while nobody answers."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest

from evercall.contracts.base import ResourceEvent
from evercall.contracts.tenant import Quotas, Tenancy, TenancyFind
from evercall.service.errors import PlatformError, Unavailable
from evercall.service.identity import new_id
from evercall.service.tenancies import KEPT, KEPT_WITHOUT_ANSWER, Tenancies
from tests.unit.api_manager.world import NOW

CUSTOMER = new_id()
AWAY = Unavailable("service_unavailable", "away")
SMALL = Tenancy(customer_id=CUSTOMER, quotas=Quotas(flows=1))
FROZEN = Tenancy(customer_id=CUSTOMER, frozen=True)


class World:
    """A bus that answers what it is told to, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answer: Tenancy | PlatformError = SMALL
        self.asked = 0
        self.during: Callable[[], Awaitable[None]] | None = None
        self.hear: Callable[[ResourceEvent], Awaitable[None]] | None = None
        self.reconnect: Callable[[], Awaitable[None]] | None = None
        self.tenancies = Tenancies(self, lambda: self.now)

    async def ask(self, service: str, request: Any, **_: Any) -> Any:
        assert (service, request) == ("api_manager", TenancyFind(customer_id=CUSTOMER))
        self.asked += 1
        answer = self.answer
        if self.during is not None:
            await self.during()
        if isinstance(answer, PlatformError):
            raise answer
        return answer

    async def subscribe_events(self, patterns: list[str], handler: Any) -> None:
        assert patterns == ["*.customer.*"]
        self.hear = handler

    async def on_connected(self, callback: Any) -> None:
        self.reconnect = callback

    async def change(self, customer_id: UUID = CUSTOMER) -> None:
        assert self.hear is not None
        await self.hear(
            ResourceEvent(
                id=new_id(),
                type="customer_frozen",
                customer_id=customer_id,
                resource_id=customer_id,
                at=NOW,
                resource=msgspec.Raw(b"{}"),
            )
        )

    async def get(self) -> Tenancy:
        return await self.tenancies.of(CUSTOMER)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.tenancies.start()
    return world


async def test_an_answer_is_kept_for_a_while(world: World) -> None:
    assert world.tenancies.known(CUSTOMER) is None
    assert await world.get() == SMALL
    world.now = KEPT - 0.1
    assert world.tenancies.known(CUSTOMER) == SMALL
    world.answer, world.now = FROZEN, KEPT
    assert await world.get() == FROZEN
    assert world.asked == 2


async def test_a_change_is_heard_of(world: World) -> None:
    await world.get()
    await world.change(new_id())
    assert world.tenancies.known(CUSTOMER) == SMALL
    world.answer = FROZEN
    await world.change()
    assert await world.get() == FROZEN


async def test_a_change_while_the_question_is_out(world: World) -> None:
    world.during = world.change
    assert await world.get() == SMALL
    world.during, world.answer = None, FROZEN
    assert await world.get() == FROZEN


async def test_a_new_connection_asks_anew(world: World) -> None:
    await world.get()
    world.answer = FROZEN
    assert world.reconnect is not None
    await world.reconnect()
    assert await world.get() == FROZEN


async def test_while_nobody_answers_what_was_known_counts(world: World) -> None:
    world.answer = FROZEN
    await world.get()
    world.now, world.answer = KEPT, AWAY
    assert await world.get() == FROZEN
    assert await world.get() == FROZEN
    assert world.asked == 2  # not once for each call
    world.now, world.answer = KEPT + KEPT_WITHOUT_ANSWER, SMALL
    assert await world.get() == SMALL


async def test_a_customer_that_was_never_asked_about_has_the_defaults_meanwhile(
    world: World,
) -> None:
    world.answer = AWAY
    assert await world.get() == Tenancy(customer_id=CUSTOMER)
