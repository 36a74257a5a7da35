"""Memory and disk alarms of a real RabbitMQ under load: nothing grows, acks flow, all goes on when it is over."""

import asyncio
import time
from collections.abc import Callable

import msgspec
import pytest

from evercall.bus import topology
from evercall.bus.amqp import MOST_UNSENT
from evercall.bus.bus import Bus, Letter
from evercall.bus.wire import Properties
from evercall.contracts.base import Message, Request
from evercall.service.errors import Unavailable
from evercall.service.identity import new_id
from tests.support.brokers import Brokers

ALARMS = [
    pytest.param(("set_vm_memory_high_watermark", "absolute", "1MB"),
                 ("set_vm_memory_high_watermark", "absolute", "1GB"), id="memory"),
    pytest.param(("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "50MB"), id="disk"),
]  # fmt: skip
COUNT = 300


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    number: int


class Ask(Request[Answer], frozen=True, kw_only=True):
    number: int


class Note(Message, frozen=True, kw_only=True):
    number: int
    padding: str = ""


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Waits; returns how long."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize(("raised", "lifted"), ALARMS)
async def test_an_alarm_stops_publishers_and_nobody_else(
    raised: tuple[str, ...], lifted: tuple[str, ...], broker: Brokers, bus: Bus
) -> None:
    """One bus publishes and consumes, as every service does."""
    node, key = broker.nodes[0], f"notes.{new_id().hex[-12:]}"
    heard: list[int] = []
    may_work = asyncio.Event()

    async def work(notes: list[Note]) -> None:
        await may_work.wait()
        heard.extend(note.number for note in notes)

    await bus.consume(key, (Note,), work, prefetch=16)
    for number in range(COUNT):
        await bus.publish(key, Note(number=number, padding="x" * 1000))
    session = bus._connection.session
    assert session is not None

    await asyncio.to_thread(broker.control, node, *raised)
    try:
        # Nobody publishes anything: the probe notices.
        await until(lambda: bus.blocked)
        may_work.set()
        await until(lambda: len(heard) == COUNT)
        await until_empty(broker, key)

        letter = Letter(topology.RPC, key, Properties(message_id="late"), b"x" * 100_000)
        for _ in range(1000):
            assert not await bus.publish_all([letter])
        with pytest.raises(Unavailable, match="broker_blocked"):
            await bus.publish(key, Note(number=-1))
        with pytest.raises(Unavailable, match="broker_blocked"):
            await bus.send(topology.RPC, key, b"{}", Properties())
        assert session.publishing._unsent() < MOST_UNSENT / 100
        assert bus.connected
    finally:
        await asyncio.to_thread(broker.control, node, *lifted)

    await until(lambda: not bus.blocked)
    await bus.publish(key, Note(number=COUNT))
    await until(lambda: heard[-1] == COUNT)
    assert heard == list(range(COUNT + 1))
    assert bus._connection.session is session


async def until_empty(broker: Brokers, queue: str) -> None:
    """The broker has heard every ack."""
    node, asked = broker.nodes[0], ("list_queues", "-p", "evercall", "name", "messages")
    async with asyncio.timeout(20.0):
        while f"{queue}\t0" not in await asyncio.to_thread(broker.control, node, *asked):
            await asyncio.sleep(0.1)


async def test_an_answer_waits_for_the_end_of_the_alarm(broker: Brokers, bus: Bus) -> None:
    """A request that was taken before the alarm is answered after it: it is not left unacked for ever."""
    node = broker.nodes[0]
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_: Ask) -> Answer:
        asked.set()
        await answer.wait()
        return Answer(number=2)

    name = f"slow.{new_id().hex[-12:]}"
    await bus.serve(name, {Ask: slow})
    waiting = asyncio.ensure_future(bus.ask(name, Ask(number=1), timeout=60.0))
    await asked.wait()
    await asyncio.to_thread(broker.control, node, "set_disk_free_limit", "900000GB")
    try:
        await until(lambda: bus.blocked)
        answer.set()
        await asyncio.sleep(0.5)
        assert not waiting.done()
    finally:
        await asyncio.to_thread(broker.control, node, "set_disk_free_limit", "50MB")
    assert await waiting == Answer(number=2)
    await until_empty(broker, name)
