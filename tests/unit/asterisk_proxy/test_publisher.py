"""The publisher: in order, until confirmed, and not before Asterisk's life is known."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import pytest

from asterisk_proxy.domain.batch import Heard
from asterisk_proxy.gateways import broker
from asterisk_proxy.gateways.broker import Publisher
from asterisk_proxy.stream import Stream
from evercall.contracts.asterisk import (
    AsteriskEvents,
    AsteriskSnapshot,
    CommandsRefused,
    OwnedEvent,
    RefusedCommand,
)
from evercall.contracts.base import Message
from evercall.service.errors import Unavailable

SHARDS = 2
A = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e20000")
B = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e20001")


@dataclass
class FakeBus:
    """Confirms, or fails as it is told."""

    failures: list[Exception] = field(default_factory=list)
    tried: list[tuple[str, UUID | None]] = field(default_factory=list)
    confirmed: list[tuple[str, Message]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    stuck: set[str] = field(default_factory=set)

    async def publish(
        self, routing_key: str, message: Message, *, message_id: UUID | None = None
    ) -> None:
        self.tried.append((routing_key, message_id))
        await self.gate.wait()
        while routing_key in self.stuck:
            await asyncio.sleep(0.001)
        if self.failures:
            raise self.failures.pop(0)
        self.confirmed.append((routing_key, message))


@dataclass
class Stage:
    stream: Stream
    bus: FakeBus
    publisher: Publisher

    def hear(self, *heard: Heard) -> None:
        """As the connection does when so many bytes have arrived."""
        end = heard[-1].end
        self.stream.cut(end)
        for one in heard:
            self.publisher.add(one)
        self.publisher.heard_until(end)


def event(end: int, actor: UUID = A) -> Heard:
    return Heard(end, OwnedEvent(actor=actor, event=msgspec.Raw(b'{"n":%d}' % end)))


def ends(message: Message) -> list[int]:
    assert isinstance(message, AsteriskEvents)
    return [msgspec.json.decode(owned.event)["n"] for owned in message.events]


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(broker, "RETRY_DELAY", 0.0)
    stream = Stream.create()
    stream.boot_id = "boot"
    bus = FakeBus()
    bus.gate.set()
    publisher = Publisher(stream, bus, "call-1", SHARDS)
    running = asyncio.create_task(publisher.run())
    yield Stage(stream, bus, publisher)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    os.close(stream.descriptor)


async def test_what_was_heard_is_sent_and_settled(stage: Stage) -> None:
    stage.hear(event(10), event(20, B), event(30))
    await stage.publisher.wait_idle()
    found = {key: ends(message) for key, message in stage.bus.confirmed}
    assert found == {"call_manager.shard.0": [10, 30], "call_manager.shard.1": [20]}
    assert stage.stream.settled == 30


async def test_what_needs_no_sending_is_settled_at_once(stage: Stage) -> None:
    stage.stream.cut(50)
    stage.publisher.heard_until(50)
    assert stage.stream.is_settled
    assert stage.bus.tried == []


async def test_while_one_batch_is_on_its_way_the_next_one_grows(stage: Stage) -> None:
    stage.bus.gate.clear()
    stage.hear(event(10))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (stage.stream.settled, stage.stream.cuts) == (0, [10])
    stage.hear(event(20))
    stage.hear(event(30))
    stage.publisher.heard_until(40)
    assert stage.stream.settled == 0
    stage.bus.gate.set()
    await stage.publisher.wait_idle()
    assert [ends(message) for _, message in stage.bus.confirmed] == [[10], [20, 30]]
    assert stage.stream.settled == 40


async def test_it_repeats_under_the_same_id_until_it_is_confirmed(stage: Stage) -> None:
    stage.bus.failures = [
        Unavailable("broker_unavailable", "away"),
        TimeoutError(),
        Unavailable("service_unavailable", "nobody"),
    ]
    stage.hear(event(10))
    stage.hear(event(20))
    await stage.publisher.wait_idle()
    tried = [message_id for _, message_id in stage.bus.tried]
    assert len(tried[:4]) == 4
    assert len(set(tried[:4])) == 1
    sent = [number for _, message in stage.bus.confirmed for number in ends(message)]
    assert sent == [10, 20]


async def test_a_snapshot_reaches_every_shard_after_the_events_before_it(stage: Stage) -> None:
    stage.hear(event(10), Heard(20, ()), event(30))
    await stage.publisher.wait_idle()
    first = [type(message) for key, message in stage.bus.confirmed if key.endswith("0")]
    other = [type(message) for key, message in stage.bus.confirmed if key.endswith("1")]
    assert first == [AsteriskEvents, AsteriskSnapshot, AsteriskEvents]
    assert other == [AsteriskSnapshot]


async def test_nothing_is_sent_before_asterisk_s_life_is_known(stage: Stage) -> None:
    stage.stream.boot_id = ""
    stage.hear(event(10))
    for _ in range(5):
        await asyncio.sleep(0)
    assert stage.bus.tried == []
    stage.stream.boot_id = "another"
    stage.publisher.boot_known()
    await stage.publisher.wait_idle()
    ((_, message),) = stage.bus.confirmed
    assert isinstance(message, AsteriskEvents)
    assert message.boot_id == "another"


async def test_refusals_that_no_answer_stands_for(stage: Stage) -> None:
    refused = [RefusedCommand(actor=a, key="k", status=0, reason="r") for a in (A, B, A)]
    stage.stream.boot_id = ""
    stage.publisher.refuse("former", refused)
    stage.publisher.refuse("former", [])
    stage.publisher.refuse("this", refused[:1])
    while len(stage.bus.confirmed) < 3:
        await asyncio.sleep(0)
    found = {
        (key, message.boot_id): len(message.refused)
        for key, message in stage.bus.confirmed
        if isinstance(message, CommandsRefused)
    }
    assert found == {
        ("call_manager.shard.0", "former"): 2,
        ("call_manager.shard.1", "former"): 1,
        ("call_manager.shard.0", "this"): 1,
    }


async def test_the_next_process_cuts_the_batch_that_was_on_its_way_at_the_same_place(
    stage: Stage,
) -> None:
    stage.bus.gate.clear()
    stage.hear(event(10), event(20))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (lost,) = stage.bus.tried
    # Here the process dies. The next one hears more before it sends anything.
    bus = FakeBus()
    bus.gate.set()
    after = Publisher(Stream(stage.stream.descriptor), bus, "call-1", SHARDS)
    running = asyncio.create_task(after.run())
    for one in (event(10), event(20), event(30)):
        after.add(one)
    after.heard_until(30)
    await after.wait_idle()
    running.cancel()
    assert bus.tried[0] == lost
    assert [ends(message) for _, message in bus.confirmed] == [[10, 20], [30]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_shard_that_confirms_nothing_does_not_keep_the_others_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "PACE", 0.01)
    stuck, other = "call_manager.shard.0", "call_manager.shard.1"
    stage.bus.stuck = {stuck}
    for end in range(10, 110, 10):
        stage.hear(event(end, A if end % 20 else B))
    await until(lambda: [key for key, _ in stage.bus.confirmed] == [other] * 1)
    stage.hear(event(110, B), event(120, A))
    stage.hear(event(130, B))
    await until(
        lambda: [n for _, message in stage.bus.confirmed for n in ends(message)][-2:] == [110, 130]
    )
    assert stage.stream.settled == 0
    assert len(stage.stream.cuts) >= 2
    stage.bus.stuck.clear()
    await stage.publisher.wait_idle()
    late = [n for key, m in stage.bus.confirmed if key == stuck for n in ends(m)]
    assert late == [10, 30, 50, 70, 90, 120]
    assert stage.stream.settled == 130


async def test_there_is_an_end_to_how_much_waits_for_one_shard(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "PACE", 0.0)
    monkeypatch.setattr(broker, "MOST_BATCHES", 5)
    stage.bus.stuck = {"call_manager.shard.0"}
    for end in range(10, 210, 10):
        stage.hear(event(end, A))
        await asyncio.sleep(0.002)
    assert len(stage.stream.cuts) == 5
    stage.bus.stuck.clear()
    await stage.publisher.wait_idle()
    assert [n for _, m in stage.bus.confirmed for n in ends(m)] == list(range(10, 210, 10))


async def test_the_next_process_cuts_all_batches_that_were_on_their_way_at_the_same_places(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "PACE", 0.0)
    stage.bus.stuck = {"call_manager.shard.0"}
    stage.hear(event(10), event(20, B))
    await until(lambda: len(stage.stream.cuts) == 1)
    stage.hear(event(30, B), event(40))
    await until(lambda: len(stage.stream.cuts) == 2)
    await until(lambda: len(stage.bus.confirmed) == 2)
    # Here the process dies. The next one hears more before it sends anything.
    bus = FakeBus()
    bus.gate.set()
    after = Publisher(Stream(stage.stream.descriptor), bus, "call-1", SHARDS)
    running = asyncio.create_task(after.run())
    for one in (event(10), event(20, B), event(30, B), event(40), event(50), event(60, B)):
        after.add(one)
    after.heard_until(60)
    await after.wait_idle()
    running.cancel()
    before = dict(stage.bus.tried)
    told = {key: [i for k, i in bus.tried if k == key] for key in dict(bus.tried)}
    assert told["call_manager.shard.0"][0] == before["call_manager.shard.0"]
    of_other = [i for key, i in stage.bus.tried if key == "call_manager.shard.1"]
    assert told["call_manager.shard.1"][:2] == of_other
    sent = [ends(m) for key, m in bus.confirmed if key == "call_manager.shard.0"]
    assert [n for numbers in sent for n in numbers] == [10, 40, 50]


async def test_what_goes_wrong_while_sending_ends_the_publisher(stage: Stage) -> None:
    stage.bus.failures = [RuntimeError("a defect")]
    publisher = Publisher(stage.stream, stage.bus, "call-1", SHARDS)
    publisher.refuse("boot", [RefusedCommand(actor=A, key="k", status=0, reason="r")])
    with pytest.raises(RuntimeError, match="a defect"):
        await publisher.run()
