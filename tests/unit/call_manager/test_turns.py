"""Turns at what there is little of: fair between customers, and bounded."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from call_manager.gateways.turns import Rates, Turns
from evercall.service.errors import RateLimited

GREEDY, MODEST, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)


class Work:
    """Uses that last until they are told to end."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.begun: list[UUID] = []
        self.end = asyncio.Event()

    async def use(self, customer: UUID, each: int) -> None:
        async with self.turns.turn(customer, each):
            self.begun.append(customer)
            await self.end.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_customer_has_all_of_it() -> None:
    work = Work(Turns("speech_at_once", 4, 100, 5.0))
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(work.use(GREEDY, 100))
        await settle()
        assert work.begun == [GREEDY] * 3
        group.create_task(work.use(MODEST, 100))
        await settle()
        assert work.begun[-1] == MODEST
        work.end.set()
    assert work.begun.count(GREEDY) == 10


async def test_a_customer_has_its_own_part_at_most() -> None:
    work = Work(Turns("downloads_at_once", 32, 100, 5.0))
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(work.use(GREEDY, 4))
        await settle()
        assert len(work.begun) == 4
        work.end.set()


async def test_queues_take_turns() -> None:
    turns, served = Turns("x", 2, 100, 5.0), []

    async def use(customer: UUID) -> None:
        async with turns.turn(customer, 1):
            served.append(customer)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for customer in [GREEDY] * 6 + [MODEST] * 2 + [THIRD] * 2:
            group.create_task(use(customer))
    # However many the first has: the others are not behind all of them.
    assert set(served[:5]) == {GREEDY, MODEST, THIRD}
    assert served[-2:] == [GREEDY] * 2


async def test_who_waits_too_long_is_told_so_and_leaves_nothing() -> None:
    turns = Turns("downloads_at_once", 2, 100, 0.02)
    async with turns.turn(GREEDY, 1):
        with pytest.raises(RateLimited) as refused:
            async with turns.turn(GREEDY, 1):
                raise AssertionError("not its turn")
        assert refused.value.details["quota"] == "downloads_at_once"
        async with turns.turn(MODEST, 1):
            pass
    async with turns.turn(GREEDY, 1):
        pass
    assert (turns._in_use.total(), dict(turns._queues), turns._each) == (0, {}, {})


async def test_a_queue_has_an_end() -> None:
    work = Work(Turns("x", 2, 3, 5.0))
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(work.use(GREEDY, 1))
        await settle()
        with pytest.raises(RateLimited):
            await work.use(GREEDY, 1)
        work.end.set()


async def test_nothing_is_not_waited_for() -> None:
    turns = Turns("speech_at_once", 4, 3, 60.0)
    with pytest.raises(RateLimited):
        async with turns.turn(GREEDY, 0):
            raise AssertionError("it has none")
    assert dict(turns._queues) == {}


async def test_who_is_cancelled_gives_his_place_back() -> None:
    turns = Turns("x", 2, 10, 5.0)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn(GREEDY, 1))
        waiting = asyncio.create_task(Work(turns).use(GREEDY, 1))
        given = asyncio.create_task(Work(turns).use(MODEST, 1))
        await settle()
        waiting.cancel()
        given.cancel()
        await asyncio.gather(waiting, given, return_exceptions=True)
        async with turns.turn(MODEST, 1):
            pass
    assert turns._in_use.total() == 0


def test_so_much_a_minute() -> None:
    rates = Rates("downloads_per_minute")
    for _ in range(60):
        rates.spend(GREEDY, 1, 60, 100.0)
    with pytest.raises(RateLimited) as refused:
        rates.spend(GREEDY, 1, 60, 100.5)
    assert refused.value.details["quota"] == "downloads_per_minute"
    assert refused.value.details["retry_after"] == 0.5
    rates.spend(MODEST, 1, 60, 100.5)
    rates.spend(GREEDY, 1, 60, 101.0)


def test_what_is_larger_than_a_minutes_amount_comes_out_of_the_next_ones() -> None:
    rates = Rates("speech_characters_per_minute")
    rates.spend(GREEDY, 5000, 1000, 0.0)
    for second in (60.0, 239.0):
        with pytest.raises(RateLimited):
            rates.spend(GREEDY, 1000, 1000, second)
    rates.spend(GREEDY, 1000, 1000, 301.0)


def test_none_is_none() -> None:
    with pytest.raises(RateLimited):
        Rates("downloads_per_minute").spend(GREEDY, 1, 0, 0.0)
