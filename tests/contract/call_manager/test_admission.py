"""Calls are admitted by counting what is stored: never more than the quota, whoever asks at the same time."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from call_manager.gateways.admission import AdmissionStore, Verdict
from deploy.lab.lab import Lab
from evercall.service.identity import new_id
from evercall.store.database import Database

FAST, BURST = 1000, 1000

_ACTOR = """INSERT INTO call_manager.actor
(id, kind, shard, customer_id, created_at, live, hidden, record)
VALUES ($1, 'call', 9999, $2, $3, $4, true, '{}')"""


@pytest.fixture
async def database(lab: Lab) -> AsyncIterator[Database]:
    environment = dict(lab.farm.of_module("call_manager")[0].environment)
    database = Database(environment["EVERCALL_DATABASE_URL"], size=8)
    run = asyncio.create_task(database.run())
    async with asyncio.timeout(10):
        while not database.available:
            await asyncio.sleep(0.02)
    yield database
    await database.close()
    await run


class Customer:
    """A customer's calls, as the engine would store them."""

    def __init__(self, database: Database) -> None:
        self.id = new_id()
        self.store = AdmissionStore(database)
        self._pool = database.pool

    async def admit(self, *calls: UUID, most: int = 3, rate: int = 0, burst: int = 1) -> Verdict:
        return await self.store.admit(self.id, calls, most, rate, burst)

    async def begin(self, call: UUID, *, live: bool = True) -> None:
        await self._pool.execute(_ACTOR, call, self.id, datetime.now(UTC), live)

    async def end(self, call: UUID) -> None:
        await self._pool.execute("UPDATE call_manager.actor SET live = false WHERE id = $1", call)

    async def lapse(self) -> None:
        query = "UPDATE call_manager.call_slot SET until = now() WHERE customer_id = $1"
        await self._pool.execute(query, self.id)

    async def leave(self) -> None:
        for table in ("actor", "call_slot", "call_rate"):
            query = f"DELETE FROM call_manager.{table} WHERE customer_id = $1"
            await self._pool.execute(query, self.id)


@pytest.fixture
async def customer(database: Database) -> AsyncIterator[Customer]:
    made = Customer(database)
    yield made
    await made.leave()


async def test_of_many_at_once_as_many_are_admitted_as_there_is_room_for(
    customer: Customer,
) -> None:
    verdicts = await asyncio.gather(*(customer.admit(new_id(), most=7) for _ in range(40)))
    assert sorted(verdict.refused for verdict in verdicts) == [""] * 7 + ["concurrent_calls"] * 33


async def test_a_request_is_admitted_whole_or_not_at_all(customer: Customer) -> None:
    assert (await customer.admit(*(new_id() for _ in range(4)))).refused == "concurrent_calls"
    assert (await customer.admit(*(new_id() for _ in range(3)))).refused == ""
    assert (await customer.admit(new_id())).refused == "concurrent_calls"


async def test_said_again_it_is_the_same_calls(customer: Customer) -> None:
    calls = [new_id() for _ in range(3)]
    for _ in range(3):
        assert (await customer.admit(*calls)).refused == ""
    await customer.begin(calls[0])
    await customer.lapse()
    assert (await customer.admit(*calls)).refused == ""


async def test_a_stored_call_counts_once_and_as_long_as_it_lives(customer: Customer) -> None:
    calls = [new_id() for _ in range(3)]
    await customer.admit(*calls)
    for call in calls:
        await customer.begin(call)
    verdict = await customer.admit(new_id())
    assert (verdict.refused, verdict.used) == ("concurrent_calls", 3)
    await customer.lapse()  # the slots have done their work
    assert (await customer.admit(new_id())).refused == "concurrent_calls"
    await customer.end(calls[0])
    assert (await customer.admit(new_id())).refused == ""
    assert (await customer.admit(new_id())).refused == "concurrent_calls"


async def test_what_was_admitted_and_never_came_to_be_counts_no_longer_than_its_slot(
    customer: Customer,
) -> None:
    await customer.admit(*(new_id() for _ in range(3)))
    assert (await customer.admit(new_id())).refused == "concurrent_calls"
    await customer.lapse()
    assert (await customer.admit(new_id())).refused == ""
    await customer.store.forget_expired()
    assert (await customer.admit(new_id())).refused == ""


async def test_a_call_that_ended_before_it_was_anybodys_frees_its_slot(
    customer: Customer, database: Database
) -> None:
    call = new_id()
    assert (await customer.admit(call, most=1)).refused == ""
    nobody = UUID(int=0)
    await database.pool.execute(_ACTOR, call, nobody, datetime.now(UTC), True)
    assert (await customer.admit(new_id(), most=1)).refused == "concurrent_calls"
    await customer.end(call)
    assert (await customer.admit(new_id(), most=1)).refused == ""
    await database.pool.execute("DELETE FROM call_manager.actor WHERE id = $1", call)


async def test_calls_per_second(customer: Customer) -> None:
    placed = [await customer.admit(new_id(), most=100, rate=5, burst=10) for _ in range(14)]
    assert [verdict.refused for verdict in placed[:10]] == [""] * 10
    refused = [verdict for verdict in placed if verdict.refused]
    assert {verdict.refused for verdict in refused} == {"calls_per_second"}
    assert 0 < refused[0].wait <= 0.2
    # Incoming calls take none of it, and another customer has its own.
    assert (await customer.admit(new_id(), most=100)).refused == ""
    async with asyncio.timeout(5):
        while (await customer.admit(new_id(), most=100, rate=5, burst=10)).refused:
            await asyncio.sleep(0.05)


async def test_what_an_admission_costs(customer: Customer, database: Database) -> None:
    """Bounded here far above what is measured (docs/decisions/0080): 500 calls up, one connection."""
    rows = [(new_id(), customer.id, datetime.now(UTC), True) for _ in range(500)]
    await database.pool.executemany(_ACTOR, rows)
    seconds = []
    for _ in range(50):
        begun = time.perf_counter()
        verdict = await customer.admit(new_id(), most=10_000, rate=FAST, burst=BURST)
        seconds.append(time.perf_counter() - begun)
        assert verdict.refused == ""
    median = sorted(seconds)[25]
    assert median < 0.1, f"{median * 1000:.2f} ms"


async def test_incoming_calls_leave_the_rate_of_outgoing_ones_as_it_is(customer: Customer) -> None:
    """Calls that come in count for the calls at once only, before the first outgoing call and after it."""
    assert (await customer.admit(new_id(), most=100)).refused == ""
    for _ in range(5):
        assert (await customer.admit(new_id(), most=100, rate=1, burst=20)).refused == ""
        assert (await customer.admit(new_id(), most=100)).refused == ""
    calls = [new_id() for _ in range(15)]
    assert (await customer.admit(*calls, most=100, rate=1, burst=20)).refused == ""
    verdict = await customer.admit(*(new_id() for _ in range(15)), most=100, rate=1, burst=20)
    assert verdict.refused == "calls_per_second"
