"""The engine: takes what has arrived, lets actors decide, commits, sends, acks.

One loop per process works off all shards that the process owns:

    take all that has arrived (at most 512 messages, no waiting for more)
    claim shards that are new here, load actors that are not in memory
    decide on each message in order                         (`turn`)
    where nobody waits for what came of it, hold it for a moment: the next batch takes it along
    write all changes in one statement                      (`store`)
    send commands, requests and replies, grouped; publish the outbox
    ack the batch with one frame

Holding costs nothing but the moment: what is held is not acked, so a crash brings it again.

Which replica owns a shard is the broker's choice: each shard is a quorum queue with a single active
consumer, and each replica consumes all of them with the priority `hash(replica, shard)`. A `probe` message
every few seconds lets the owner know that it is one, so that timers go on after a move. The database has the
last word: see `store`.

Whatever goes wrong outside `decide` (broker lost, database lost, shard lost), the way out is one and the same:
forget what is in memory and load it again. What was asked and not answered is then sent again.
"""

import asyncio
import hashlib
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Union
from uuid import UUID

import asyncpg
import msgspec
from prometheus_client import Counter, Gauge, Histogram

from evercall.actor.memory import BATCH, Delivered, Held, Inner, Item, Shard, last_delivered
from evercall.actor.model import Actor, ActorKind
from evercall.actor.sending import Sender, unread_letter
from evercall.actor.store import ActorStore, Batch, Fenced, OutboxRow
from evercall.actor.turn import (
    Due,
    LiveActors,
    Outgoing,
    Port,
    RawAnswer,
    Receive,
    Turn,
    Work,
    World,
)
from evercall.bus import topology
from evercall.bus.amqp import Channel, Delivery
from evercall.bus.bus import Bus
from evercall.bus.connection import BROKER_ERRORS, Session
from evercall.bus.envelope import ANSWER, ERROR, Incoming, properties
from evercall.contracts.base import Message, Request
from evercall.contracts.ids import shard_of
from evercall.service.errors import PlatformError, Unavailable
from evercall.service.identity import new_id
from evercall.service.lifecycle import Tasks
from evercall.service.logging import get_logger
from evercall.service.process import Process
from evercall.store.database import Database, is_unavailable

log = get_logger(__name__)

HOLD = 0.05
"""Seconds that changes wait for company when no command, question or reply came of them."""
PREFETCH = 256
PROBE = "probe"
PROBE_INTERVAL = 2.0
PURGE_INTERVAL = 30.0
RETRY_DELAY = 0.25

BATCHES = Counter("evercall_actor_batches_total", "Batches committed", ["service"])
MESSAGES = Counter("evercall_actor_messages_total", "Messages decided on", ["service", "type"])
FENCED = Counter("evercall_actor_fenced_total", "Batches refused to a former owner", ["service"])
RELOADS = Counter("evercall_actor_reloads_total", "Times that all memory was dropped", ["service"])
OWNED = Gauge("evercall_actor_shards", "Shards owned by this replica", ["service"])
COMMIT = Histogram(
    "evercall_actor_commit_seconds",
    "Time of a batch's transaction",
    ["service"],
    buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 5),
)


class ActorRuntime:
    """Runs the actors of one service in this process."""

    def __init__(
        self,
        process: Process[Any],
        bus: Bus,
        database: Database,
        service: str,
        kinds: Sequence[ActorKind[Any]],
        accepts: tuple[type[Message], ...],
        receive: Receive,
        ports: Mapping[str, Port] | None = None,
        peers: Sequence[str] = (),
    ) -> None:
        """`peers` are the services whose actors are asked or told: their queues are declared here
        too, so that what is said before their first start waits for them."""
        shards = process.settings.shards
        self._instance = process.settings.instance
        self._tasks: Tasks = process.tasks
        self._bus = bus
        self._store = ActorStore(database, service, kinds, shards)
        self._world = World(
            service=service,
            kinds={kind.name: kind for kind in kinds},
            receive=receive,
            ports=ports or {},
            shards=shards,
            new_id=new_id,
        )
        self._services = (service, *peers)
        self._commit_time = COMMIT.labels(service)
        self._batches = BATCHES.labels(service)
        self._heard: dict[str, Counter] = {}
        self._decode = msgspec.json.Decoder(Union[accepts]).decode  # noqa: UP007
        self._shards: dict[int, Shard] = {}
        self._arrived: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._held = Held()
        self._heap: list[tuple[datetime, UUID, str]] = []
        self._published: list[UUID] = []
        self._stopping = False
        self._idle = asyncio.Event()
        self._channel: Channel | None = None
        self._sender = Sender(bus, self._tasks, service, shards, self._world.ports, self._answered)
        bus.on_lost(self._forget_everything)
        process.on_stop(self.stop)

    async def start(self) -> None:
        """Starts consuming and working."""
        await self._bus.attach(self._consume)
        self._tasks.start("actors", self._run())
        self._tasks.start("actor-probes", self._probe())
        self._tasks.start("actor-purge", self._purge())

    async def stop(self) -> None:
        """Finishes the batch that is under way; what was not begun goes back to the broker."""
        self._stopping = True
        self._wake.set()
        await self._idle.wait()

    # -- consuming -----------------------------------------------------------------------------

    async def _consume(self, session: Session) -> None:
        channel = await session.channel()
        self._channel = channel
        await channel.prefetch(PREFETCH)
        for service in self._services:
            for shard in range(self._world.shards):
                key = topology.shard_key(service, shard)
                await topology.declare_queue(channel, key, topology.SHARD_ARGUMENTS)
        for shard in range(self._world.shards):
            key = topology.shard_key(self._world.service, shard)
            arguments: dict[str, Any] = {"x-priority": priority(self._instance, shard)}
            await channel.consume(key, self._consumer(shard, channel), arguments=arguments)

    def _consumer(self, shard: int, channel: Channel) -> Callable[[Delivery], None]:
        def consume(message: Delivery) -> None:
            if self._channel is channel:
                self._arrived.append(Delivered(shard, Incoming.of(message), channel))
                self._wake.set()

        return consume

    async def _probe(self) -> None:
        while True:
            try:
                for shard in range(self._world.shards):
                    await self._send_probe(shard)
            except Unavailable:
                await asyncio.sleep(RETRY_DELAY)
                continue
            await asyncio.sleep(PROBE_INTERVAL)

    async def _send_probe(self, shard: int) -> None:
        expires = timedelta(seconds=2 * PROBE_INTERVAL)
        headers = properties(PROBE, message_id=PROBE, persistent=False, expires=expires)
        key = topology.shard_key(self._world.service, shard)
        await self._bus.send(topology.RPC, key, b"{}", headers)

    async def _purge(self) -> None:
        """Drops what can't come again, but only while the broker has been there for long enough that
        everything it holds of old would have come."""
        while True:
            connected_to = self._channel
            await asyncio.sleep(PURGE_INTERVAL)
            if self._channel is not connected_to or not self._bus.connected or not self._shards:
                continue
            try:
                await self._store.purge(list(self._shards))
            except (PlatformError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                log.debug("actor_purge_failed", exc_info=True)

    # -- the loop ------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            items = await self._take()
            if items or self._held.is_due(_now()):
                await self._handle(items)
        self._idle.set()

    async def _take(self) -> list[Item]:
        # The first messages arrive while the session is still being set up: what came of them could
        # not be sent yet.
        if not self._bus.connected and not await self._bus.wait_connected(RETRY_DELAY):
            return []
        self._take_due()
        if not self._arrived:
            await self._sleep()
            self._take_due()
        self._wake.clear()
        count = min(BATCH, len(self._arrived))
        return [self._arrived.popleft() for _ in range(count)]

    async def _sleep(self) -> None:
        """Waits for a message, the next timer, or the moment to tidy up the outbox."""
        delay = 1.0 if self._published else 60.0
        for at in (self._heap[0][0] if self._heap else None, self._held.until):
            if at is not None:
                delay = min(delay, (at - _now()).total_seconds())
        try:
            async with asyncio.timeout(max(0.0, delay)):
                await self._wake.wait()
        except TimeoutError:
            if not self._held.items:
                await self._tidy_outbox()

    async def _tidy_outbox(self) -> None:
        published, self._published = self._published, []
        if not published:
            return
        try:
            await self._store.forget_published(published)
        except (PlatformError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._published.extend(published)
            await asyncio.sleep(RETRY_DELAY)

    def _take_due(self) -> None:
        now = _now()
        while self._heap and self._heap[0][0] <= now:
            at, actor, name = heapq.heappop(self._heap)
            shard = shard_of(actor, self._world.shards)
            owned = self._shards.get(shard)
            if owned is not None and actor in owned.actors:
                work = Work(owned.actors[actor].kind.name, actor, Due(name, at))
                self._arrived.append(Inner(shard, work))

    async def _handle(self, items: list[Item], *, alone: bool = False) -> None:
        """Works a batch off, whatever it takes: the messages are kept until they are handled.

        Args:
            items: what has arrived; may be empty when what is held is due.
            alone: hold nothing, so that a failure is this batch's own.
        """
        while not self._stopping:
            try:
                await self._claim_missing(items)
                await self._work(items, alone=alone)
                return
            except Fenced:
                # Who holds a delivery that it has not acked is the broker's choice for that shard, so it
                # claims the shard again. To give the messages back would lose their order: others
                # are on their way here already.
                items = self._held.items
                FENCED.labels(self._world.service).inc()
                log.info("actor_fenced")
                self._forget_everything(keep_arrived=True)
            except Exception as error:
                items = self._held.items or items
                if not _waits_for_database(error):
                    await self._handle_refused(items, error)
                    return
                log.warning("actor_store_unavailable", error=repr(error))
                self._forget_everything(keep_arrived=True)
                await asyncio.sleep(RETRY_DELAY)

    async def _handle_refused(self, items: list[Item], error: Exception) -> None:
        """The batch can't be written: find the message that does it and bury it."""
        self._forget_everything(keep_arrived=True)
        if len(items) > 1:
            for item in items:
                await self._handle([item], alone=True)
            return
        log.error("actor_write_refused", exc_info=error)
        for item in items:
            await self._bury(item, error)
        self._ack(items)

    async def _work(self, items: list[Item], *, alone: bool) -> None:
        held = self._held
        held.items.extend(items)
        for item in items:
            shard = self._shards.get(item.shard)
            if shard is not None:
                # Noted now: the memory may be dropped while this batch waits for the database.
                held.generations[item.shard] = shard.generation
        turn = Turn(self._world, _now(), {}, self._shards)
        works = self._works(items, held.message_ids, turn)
        await self._decide(turn, works)
        held.changed.update(turn.changed)
        held.outbox.extend(turn.outgoing.outbox)
        self._remember(turn)
        if held.until is None:
            held.until = _now() + timedelta(seconds=HOLD)
        if alone or turn.outgoing.is_awaited or held.is_due(_now()):
            await self._finish(held, turn.outgoing)

    async def _finish(self, held: Held, outgoing: Outgoing) -> None:
        """Commits what is held, then sends and acks."""
        published, self._published = self._published, []
        if held.changed or held.outbox:
            await self._commit(held, published)
        else:
            self._published.extend(published)
            await self._store.check(held.generations)
        if self._held is held:
            self._held = Held()
        await self._sender.send(outgoing)
        self._put_out(held.outbox)
        self._ack(held.items)

    async def _commit(self, held: Held, published: list[UUID]) -> None:
        batch = Batch(
            generations=dict(sorted(held.generations.items())),
            message_ids=held.message_ids,
            changed=list(held.changed.values()),
            outbox=held.outbox,
            published=published,
        )
        started = time.perf_counter()
        await self._store.commit(batch)
        self._commit_time.observe(time.perf_counter() - started)
        self._batches.inc()

    async def _decide(self, turn: Turn, works: list[Work]) -> None:
        while works:
            await self._load(works, turn.actors)
            turn.run(works)
            if turn.failed:
                self._log_failures(turn)
            turn.run_failed_again()
            works, turn.unloaded = turn.unloaded, []

    def _log_failures(self, turn: Turn) -> None:
        for work, error in turn.failed:
            log.error("decide_failed", actor=str(work.actor), kind=work.kind, exc_info=error)

    async def _load(self, works: Iterable[Work], actors: dict[UUID, Actor[Any]]) -> None:
        missing: dict[UUID, str] = {}
        for work in works:
            if work.actor in actors:
                continue
            shard = self._shards.get(shard_of(work.actor, self._world.shards))
            known = self._held.changed.get(work.actor)
            if known is None and shard is not None:
                known = shard.actors.get(work.actor)
            if known is not None:
                actors[work.actor] = known
            else:
                missing[work.actor] = work.kind
        if not missing:
            return
        for actor in await self._store.load(list(missing)):
            actors[actor.id] = actor
        for identifier, kind in missing.items():
            if identifier not in actors:
                actors[identifier] = Actor(identifier, self._world.kinds[kind], None)

    def _works(
        self, items: Iterable[Item], message_ids: dict[int, list[str]], turn: Turn
    ) -> list[Work]:
        works: list[Work] = []
        for item in items:
            shard = self._shards.get(item.shard)
            if isinstance(item, Inner):
                if shard is not None:
                    works.append(item.work)
                continue
            incoming = item.incoming
            if shard is None or incoming.type == PROBE:
                continue
            repeated = incoming.message_id in shard.seen
            try:
                works.extend(self._read(incoming, shard, repeated=repeated))
            except Exception as error:
                log.error("message_not_understood", type=incoming.type, exc_info=error)
                turn.outgoing.outbox.append(self._letter(item, error))
            if incoming.message_id and not repeated:
                shard.see([incoming.message_id])
                message_ids.setdefault(item.shard, []).append(incoming.message_id)
        return works

    def _read(self, incoming: Incoming, shard: Shard, *, repeated: bool) -> list[Work]:
        """A message from the broker as work for actors. What was handled before is dropped, except
        requests: who repeats a request still waits for its answer."""
        self._count(incoming.type)
        if incoming.type in (ANSWER, ERROR):
            kind, actor, key = (incoming.correlation_id or "").split("/", 2)
            answer = RawAnswer(key, incoming.body, incoming.type == ERROR)
            return [Work(kind, UUID(actor), answer)]
        body = self._decode(incoming.body)
        if repeated and not isinstance(body, Request):
            return []
        heard = self._world.receive(body, LiveActors(shard.actors))
        return [Work(one.kind, one.actor, one.body, incoming.origin) for one in heard]

    def _count(self, kind: str) -> None:
        counter = self._heard.get(kind)
        if counter is None:
            counter = self._heard[kind] = MESSAGES.labels(self._world.service, kind)
        counter.inc()

    def _remember(self, turn: Turn) -> None:
        """Keeps live actors in memory. Should the commit fail, all memory is dropped."""
        for actor in turn.changed.values():
            owned = self._shards.get(shard_of(actor.id, self._world.shards))
            if owned is None:
                continue
            if actor.kind.index(actor.state).live:
                owned.actors[actor.id] = actor
            else:
                owned.actors.pop(actor.id, None)
        for timer in turn.timers:
            heapq.heappush(self._heap, timer)

    # -- owning --------------------------------------------------------------------------------

    async def _claim_missing(self, items: Iterable[Item]) -> None:
        missing = {
            item.shard
            for item in items
            if isinstance(item, Delivered)
            and item.shard not in self._shards
            and item.channel is self._channel
        }
        for shard in sorted(missing):
            await self._claim(shard)

    async def _claim(self, shard: int) -> None:
        claim = await self._store.claim(shard, self._instance)
        owned = Shard(claim.generation, {actor.id: actor for actor in claim.actors})
        owned.see(claim.message_ids)
        self._shards[shard] = owned
        OWNED.labels(self._world.service).set(len(self._shards))
        log.info("shard_claimed", shard=shard, generation=claim.generation, live=len(claim.actors))
        turn = Turn(self._world, _now(), owned.actors, self._shards)
        for actor in claim.actors:
            turn.resend(actor)
            for name, at in actor.timers.items():
                heapq.heappush(self._heap, (at, actor.id, name))
        await self._sender.send(turn.outgoing)
        self._put_out(claim.outbox)

    def _forget_everything(self, *, keep_arrived: bool = False) -> None:
        """Back to an empty memory. What arrived on a lost connection comes again."""
        if not keep_arrived:
            self._arrived.clear()
        self._held = Held()
        self._shards.clear()
        self._heap.clear()
        self._published.clear()
        RELOADS.labels(self._world.service).inc()
        OWNED.labels(self._world.service).set(0)

    # -- after the commit ------------------------------------------------------------------------

    def _put_out(self, rows: Sequence[OutboxRow]) -> None:
        if rows:
            self._tasks.start("outbox", self._publish(rows))

    async def _publish(self, rows: Sequence[OutboxRow]) -> None:
        if await self._sender.publish(rows):
            self._published.extend(row.id for row in rows)
        elif self._bus.connected:
            # A session that is gone has dropped the memory already; one that only fails to confirm must
            # not keep the messages for itself.
            self._forget_everything(keep_arrived=True)

    def _answered(self, work: Work) -> None:
        self._arrived.append(Inner(shard_of(work.actor, self._world.shards), work))
        self._wake.set()

    def _ack(self, items: Iterable[Item]) -> None:
        last = last_delivered(items, self._channel)
        if last is None:
            return
        try:
            last.channel.ack(last.incoming.delivery_tag, multiple=True)
        except BROKER_ERRORS:
            # A channel that is gone needs no ack: the broker delivers again.
            log.debug("ack_not_sent")

    async def _bury(self, item: Item, error: Exception) -> None:
        if isinstance(item, Delivered):
            await self._sender.publish([self._letter(item, error)])

    def _letter(self, item: Delivered, error: Exception) -> OutboxRow:
        return unread_letter(self._world.service, item.incoming, item.shard, error)


def priority(instance: str, shard: int) -> int:
    """The consumer priority of a replica for a shard: rendezvous hashing, done by the broker."""
    digest = hashlib.blake2b(f"{instance}/{shard}".encode(), digest_size=3).digest()
    return int.from_bytes(digest, "big")


_PASSING = (
    Unavailable,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,
)


def _waits_for_database(error: Exception) -> bool:
    return is_unavailable(error) or isinstance(error, _PASSING)


def _now() -> datetime:
    return datetime.now(UTC)
