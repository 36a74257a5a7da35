"""The engine's surroundings as they fail in the field, for tests without servers: a broker, a store and a bus that
delay, nack, refuse, block, fence, lose an outcome, or hand back what cannot be read.

Everything is in memory and in one event loop. With `VirtualTimeLoop` time passes only when nothing else is left
to do, so that minutes of back-off take milliseconds.

    world = FakeWorld(shards=2)
    replica = world.start("one", [KIND], (Add,), receive)
    world.broker.publish(...)
    world.loop.run_until_complete(asyncio.sleep(5))
"""

import asyncio
import selectors
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from evercall.actor.dead_letter import DeadLetter
from evercall.actor.model import ActorKind
from evercall.actor.runtime import ActorRuntime
from evercall.actor.store import (
    ActorRow,
    ActorStore,
    Batch,
    Claim,
    Fenced,
    Loaded,
    OutboxRow,
)
from evercall.actor.turn import Port, Receive
from evercall.bus import topology
from evercall.bus.amqp import Delivery
from evercall.bus.bus import Bus, Letter
from evercall.bus.connection import Session
from evercall.bus.envelope import Origin, encode, tag_of
from evercall.bus.wire import Properties
from evercall.contracts.base import Message
from evercall.contracts.ids import shard_of
from evercall.service.errors import Unavailable
from evercall.service.lifecycle import Readiness, Tasks
from evercall.service.process import Process
from evercall.store.database import Database

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        super().__init__(_NoWaiting(self))
        self.now = 0.0

    def time(self) -> float:
        """Seconds since the loop was made, in its own time."""
        return self.now

    def clock(self) -> datetime:
        """The loop's time as a date."""
        return EPOCH + timedelta(seconds=self.now)


class _NoWaiting(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self._loop.now += timeout
        return super().select(0)


# -- the store ---------------------------------------------------------------------------------


@dataclass
class Tables:
    """What a PostgreSQL would hold for one service, shared by all replicas."""

    generations: dict[int, int] = field(default_factory=dict)
    rows: dict[UUID, ActorRow] = field(default_factory=dict)
    seen: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    outbox: dict[UUID, OutboxRow] = field(default_factory=dict)
    dead: dict[UUID, DeadLetter] = field(default_factory=dict)


@dataclass
class StoreFaults:
    """What goes wrong next: each error is raised once, by the next operation of its kind.

    Attributes:
        claims, loads, commits: raised instead of doing the operation.
        lost_outcomes: raised by a commit after it was written: its outcome is unknown.
        unreadable: actors whose rows cannot be decoded.
        delay: seconds that every operation takes.
    """

    claims: deque[Exception] = field(default_factory=deque)
    loads: deque[Exception] = field(default_factory=deque)
    commits: deque[Exception] = field(default_factory=deque)
    lost_outcomes: deque[Exception] = field(default_factory=deque)
    unreadable: set[UUID] = field(default_factory=set)
    delay: float = 0.0


class FakeStore:
    """A store in memory that keeps PostgreSQL's promises: a commit is whole or nothing, and is refused to whom
    another owner has fenced. Rows are encoded and decoded as the real store does it."""

    def __init__(
        self, tables: Tables, kinds: Sequence[ActorKind[Any]], shards: int, faults: StoreFaults
    ) -> None:
        self._tables = tables
        self._faults = faults
        self._shards = shards
        self._codec = ActorStore(cast("Database", None), "fake", kinds, shards)

    async def claim(self, shard: int, owner: str) -> Claim:
        """Raises the generation and gives what the shard holds."""
        del owner
        await self._io(self._faults.claims)
        tables = self._tables
        tables.generations[shard] = tables.generations.get(shard, 0) + 1
        rows = [row for row in tables.rows.values() if row[2] == shard and row[5]]
        return Claim(
            tables.generations[shard],
            self._read(rows),
            list(tables.seen[shard]),
            [row for row in tables.outbox.values() if row.shard == shard],
        )

    async def check(self, generations: dict[int, int]) -> None:
        """Raises `Fenced` where another owner claimed a shard."""
        await self._io(self._faults.loads)
        self._check(generations)

    async def load(self, identifiers: Sequence[UUID]) -> Loaded:
        """Actors by id."""
        await self._io(self._faults.loads)
        rows = self._tables.rows
        return self._read([rows[one] for one in identifiers if one in rows])

    async def commit(self, batch: Batch) -> None:
        """Writes all of it or nothing."""
        await self._io(self._faults.commits)
        self._check(batch.generations)
        tables = self._tables
        for row in batch.rows:
            if row[0] in self._faults.unreadable:
                raise AssertionError("an actor that cannot be read was overwritten")
            if row[2] not in batch.generations:
                raise AssertionError("an actor was written without its shard's fence")
        tables.rows.update({row[0]: row for row in batch.rows})
        for shard, identifiers in batch.message_ids.items():
            tables.seen[shard].extend(identifiers)
        tables.outbox.update({row.id: row for row in batch.outbox})
        tables.dead.update({letter.id: letter for letter in batch.dead})
        for identifier in batch.published:
            tables.outbox.pop(identifier, None)
        if self._faults.lost_outcomes:
            raise self._faults.lost_outcomes.popleft()

    async def forget_published(self, identifiers: Sequence[UUID]) -> None:
        """Removes confirmed rows."""
        for identifier in identifiers:
            self._tables.outbox.pop(identifier, None)

    async def purge(self, shards: Sequence[int]) -> None:
        """Tests do not live long enough for that."""

    async def dead_letters(self) -> int:
        """How many there are."""
        return len(self._tables.dead)

    async def _io(self, faults: "deque[Exception]") -> None:
        await asyncio.sleep(self._faults.delay)
        if faults:
            raise faults.popleft()

    def _check(self, generations: Mapping[int, int]) -> None:
        present = self._tables.generations
        if any(present.get(shard) != mine for shard, mine in generations.items()):
            raise Fenced

    def _read(self, rows: Iterable[ActorRow]) -> Loaded:
        records = [
            {
                "id": row[0],
                "kind": row[1],
                "record": "{}" if row[0] in self._faults.unreadable else row[7],
            }
            for row in rows
        ]
        return self._codec.read(records)


# -- the broker --------------------------------------------------------------------------------


class FakeChannel:
    """A consumer's channel: what it got and did not ack goes back when it ends."""

    def __init__(self, broker: "FakeBroker") -> None:
        self._broker = broker
        self.consumers: dict[str, Callable[[Delivery], None]] = {}
        self.unacked: dict[int, tuple[str, Properties, bytes]] = {}
        self.tag = 0
        self.ended = False

    async def prefetch(self, count: int) -> None:
        """Everything that waits is delivered at once."""

    async def declare_queue(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Declares a queue."""
        del arguments
        self._broker.queues[name]

    async def bind(self, queue: str, exchange: str, routing_key: str = "") -> None:
        """Queues are bound under their own names."""

    async def consume(self, queue: str, consumer: Callable[[Delivery], None], **_: object) -> None:
        """Registers a consumer; the broker decides whether it is the active one."""
        self.consumers[queue] = consumer
        self._broker.consumers[queue].append(self)
        self._broker.deliver(queue)

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Settles one delivery, or all up to it."""
        if self.ended:
            raise ConnectionResetError("the channel is over")
        tags = [
            tag for tag in self.unacked if tag == delivery_tag or (multiple and tag < delivery_tag)
        ]
        for tag in tags:
            queue, properties, body = self.unacked.pop(tag)
            self._broker.acked(queue, properties, body)


class FakeBroker:
    """Queues with a single active consumer each, which is the one that was there first until it is moved."""

    def __init__(self) -> None:
        self.queues: dict[str, deque[tuple[Properties, bytes]]] = defaultdict(deque)
        self.consumers: dict[str, list[FakeChannel]] = defaultdict(list)
        self.published: list[Letter] = []
        self.on_ack: list[Callable[[str, Properties, bytes], None]] = []

    def put(self, queue: str, properties: Properties, body: bytes) -> None:
        """A message arrives in a queue."""
        self.queues[queue].append((properties, body))
        self.deliver(queue)

    def deliver(self, queue: str) -> None:
        """Gives what waits to the active consumer."""
        waiting, consumers = self.queues[queue], self.consumers[queue]
        while waiting and consumers:
            channel = consumers[0]
            properties, body = waiting.popleft()
            channel.tag += 1
            channel.unacked[channel.tag] = (queue, properties, body)
            channel.consumers[queue](
                Delivery(cast("Any", channel), channel.tag, queue, properties, body)
            )

    def acked(self, queue: str, properties: Properties, body: bytes) -> None:
        """A message was settled for good."""
        for hear in self.on_ack:
            hear(queue, properties, body)

    def end(self, channel: FakeChannel) -> None:
        """The channel is gone: its messages go back in front, in their order."""
        channel.ended = True
        for consumers in self.consumers.values():
            if channel in consumers:
                consumers.remove(channel)
        for queue, properties, body in reversed(channel.unacked.values()):
            self.queues[queue].appendleft((properties, body))
        channel.unacked.clear()
        for queue in channel.consumers:
            self.deliver(queue)

    def move(self, queue: str) -> None:
        """The next consumer becomes the active one, once the present one has acked all it has: as RabbitMQ
        does when a consumer of higher priority comes."""
        consumers = self.consumers[queue]
        if len(consumers) > 1 and not any(
            held == queue for held, _, _ in consumers[0].unacked.values()
        ):
            consumers.append(consumers.pop(0))


@dataclass
class BusFaults:
    """What goes wrong when this replica publishes.

    Attributes:
        refused: so many publishes of the outbox are not confirmed and not kept.
        unconfirmed: so many are kept by the broker, but their confirm never comes.
        lost: so many messages that need no confirm vanish on the way.
        confirm_delay: seconds until a publish counts as confirmed or not.
        blocked: the broker has raised an alarm.
    """

    refused: int = 0
    unconfirmed: int = 0
    lost: int = 0
    confirm_delay: float = 0.0
    blocked: bool = False


class FakeBus:
    """One replica's connection to the broker."""

    def __init__(self, broker: FakeBroker, faults: BusFaults) -> None:
        self._broker = broker
        self.faults = faults
        self.connected = True
        self._ready = asyncio.Event()
        self._ready.set()
        self._setups: list[Callable[[Session], Awaitable[None]]] = []
        self._lost: list[Callable[[], None]] = []
        self._channels: list[FakeChannel] = []

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no messages for now."""
        return self.faults.blocked

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Registers what is to be known when a session ends."""
        self._lost.append(callback)

    async def attach(self, setup: Callable[[Session], Awaitable[None]]) -> None:
        """Registers a part of every session."""
        self._setups.append(setup)
        if self.connected:
            await setup(cast("Session", self))

    async def channel(self) -> FakeChannel:
        """Opens a channel."""
        channel = FakeChannel(self._broker)
        self._channels.append(channel)
        return channel

    async def wait_connected(self, seconds: float) -> bool:
        """Waits for a session."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    def cut(self) -> None:
        """The connection is lost."""
        self.connected = False
        self._ready.clear()
        for channel in self._channels:
            self._broker.end(channel)
        self._channels.clear()
        for callback in self._lost:
            callback()

    async def connect(self) -> None:
        """A new session."""
        if self.connected:
            return
        for setup in self._setups:
            await setup(cast("Session", self))
        self.connected = True
        self._ready.set()

    async def send(self, exchange: str, key: str, body: bytes, headers: Properties) -> None:
        """Publishes without a confirm."""
        if not self.connected or self.faults.blocked:
            raise Unavailable("broker_unavailable", "The broker is away")
        if self.faults.lost:
            self.faults.lost -= 1
            return
        self._broker.published.append(Letter(exchange, key, headers, body))
        if exchange in ("", topology.RPC):
            self._broker.put(key, headers, body)

    async def reply(self, origin: Origin, body: bytes, *, error: bool = False) -> None:
        """Answers a request."""
        kind = "error" if error else "answer"
        headers = Properties(type=kind, correlation_id=origin.correlation_id)
        await self.send("", origin.reply_to, body, headers)

    async def publish_all(self, letters: Sequence[Letter]) -> bool:
        """Publishes with confirms; returns whether all were confirmed."""
        if not self.connected or self.faults.blocked:
            return False
        if self.faults.refused:
            self.faults.refused -= 1
            await asyncio.sleep(self.faults.confirm_delay)
            return False
        for letter in letters:
            self._broker.published.append(letter)
            if letter.exchange == topology.RPC:
                self._broker.put(letter.routing_key, letter.properties, letter.body)
        await asyncio.sleep(self.faults.confirm_delay)
        if self.faults.unconfirmed:
            self.faults.unconfirmed -= 1
            return False
        return self.connected


# -- all of it ---------------------------------------------------------------------------------


class Replica:
    """One process of a service, on the fakes."""

    def __init__(self, world: "FakeWorld", name: str) -> None:
        self.name = name
        self.stopping = asyncio.Event()
        self.tasks = Tasks(self.stopping)
        self.readiness = Readiness()
        self.store_faults = StoreFaults()
        self.bus = FakeBus(world.broker, BusFaults())
        process = SimpleNamespace(
            settings=SimpleNamespace(shards=world.shards, instance=name),
            tasks=self.tasks,
            readiness=self.readiness,
            on_stop=lambda _: None,
        )
        self.runtime = ActorRuntime(
            cast("Process[Any]", process),
            cast("Bus", self.bus),
            FakeStore(world.tables, world.kinds, world.shards, self.store_faults),
            world.service,
            world.kinds,
            world.accepts,
            world.receive,
            world.ports,
            clock=world.loop.clock,
        )

    async def kill(self) -> None:
        """As kill -9: nothing is finished, the broker notices."""
        await self.tasks.cancel_all()
        self.bus.cut()


@dataclass
class FakeWorld:
    """A broker, a database and the replicas of one service."""

    loop: VirtualTimeLoop
    service: str
    shards: int
    kinds: Sequence[ActorKind[Any]]
    accepts: tuple[type[Message], ...]
    receive: Receive
    ports: Mapping[str, Port] = field(default_factory=dict)
    tables: Tables = field(default_factory=Tables)
    broker: FakeBroker = field(default_factory=FakeBroker)
    replicas: dict[str, Replica] = field(default_factory=dict)

    async def start(self, name: str) -> Replica:
        """Starts a replica."""
        replica = self.replicas[name] = Replica(self, name)
        await replica.runtime.start()
        return replica

    async def kill(self, name: str) -> None:
        """Kills a replica."""
        await self.replicas.pop(name).kill()

    def tell(
        self, actor: UUID, message: Message, message_id: str, origin: Origin | None = None
    ) -> None:
        """Somebody sends a message to an actor of the service."""
        properties = Properties(
            type=tag_of(message),
            message_id=message_id,
            reply_to=origin.reply_to if origin else None,
            correlation_id=origin.correlation_id if origin else None,
        )
        self.broker.put(self.queue_of(actor), properties, encode(message))

    def queue_of(self, actor: UUID) -> str:
        """The queue of the actor's shard."""
        return topology.shard_key(self.service, shard_of(actor, self.shards))

    def run(self, seconds: float) -> None:
        """Lets time pass."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
