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

Only this loop changes what is in memory; others set a flag for it. Whatever goes wrong outside `decide` (broker
lost, database lost or refusing, shard lost), the way out is one and the same: discard what is in memory, put back
what was taken and not committed (`Inbox`), claim the shards, load them again. What was asked and not answered is
then sent again. The database is asked again, with back-off, for as long as it takes: no message is given up for
an error that is not its own.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Union
from uuid import UUID

import asyncpg
import msgspec
from prometheus_client import Counter, Gauge, Histogram

from evercall.actor.dead_letter import REPLAY, dead_letter
from evercall.actor.memory import BATCH, Delivered, Held, Inbox, Inner, Item, Shard, last_delivered
from evercall.actor.model import Actor, ActorKind
from evercall.actor.outbox import Outbox
from evercall.actor.schedule import Schedule
from evercall.actor.sending import Sender
from evercall.actor.store import Batch, Claim, Fenced, Loaded, OutboxRow
from evercall.actor.turn import (
    Due,
    LiveActors,
    Outgoing,
    Port,
    RawAnswer,
    Receive,
    Retry,
    Turn,
    Work,
    World,
    check_route,
)
from evercall.bus import topology
from evercall.bus.amqp import Channel, Delivery
from evercall.bus.bus import Bus
from evercall.bus.connection import BROKER_ERRORS, Session
from evercall.bus.envelope import ANSWER, ERROR, Incoming, error_body, properties
from evercall.contracts.base import Message, Request
from evercall.contracts.ids import shard_of
from evercall.service.errors import InvalidRequest, PlatformError, Unavailable
from evercall.service.identity import new_id
from evercall.service.lifecycle import Tasks
from evercall.service.logging import get_logger
from evercall.service.process import Process
from evercall.store.database import STORE_ERRORS

log = get_logger(__name__)

HOLD = 0.05
"""Seconds that changes wait for company when no command, question or reply came of them."""
PREFETCH = 256
PROBE = "probe"
PROBE_INTERVAL = 2.0
PURGE_INTERVAL = 30.0
RETRY_DELAY = 0.25
LONGEST_RETRY_DELAY = 2.0
FULL_PAUSE = 0.05
"""Seconds between two looks at whether the broker takes messages again."""

BATCHES = Counter("evercall_actor_batches_total", "Batches committed", ["service"])
MESSAGES = Counter("evercall_actor_messages_total", "Messages decided on", ["service", "type"])
FENCED = Counter("evercall_actor_fenced_total", "Batches refused to a former owner", ["service"])
FAILURES = Counter(
    "evercall_actor_store_failures_total",
    "Batches that the database did not take and that were tried again",
    ["service"],
)
DEAD = Counter("evercall_actor_dead_letters_total", "Messages given up", ["service"])
DEAD_NOW = Gauge("evercall_actor_dead_letters_waiting", "Dead letters in the table", ["service"])
UNREADABLE = Gauge(
    "evercall_actor_unreadable", "Live actors whose rows cannot be read", ["service"]
)
WAITING = Gauge("evercall_actor_inbox", "Messages that have arrived and wait", ["service"])
UNPUBLISHED = Gauge("evercall_actor_outbox", "Committed messages not yet confirmed", ["service"])
RELOADS = Counter("evercall_actor_reloads_total", "Times that all memory was dropped", ["service"])
OWNED = Gauge("evercall_actor_shards", "Shards owned by this replica", ["service"])
COMMIT = Histogram(
    "evercall_actor_commit_seconds",
    "Time of a batch's transaction",
    ["service"],
    buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 5),
)


class Store(Protocol):
    """What the engine needs of its store; `ActorStore` is the one on PostgreSQL."""

    async def claim(self, shard: int, owner: str) -> Claim: ...
    async def check(self, generations: dict[int, int]) -> None: ...
    async def load(self, identifiers: Sequence[UUID]) -> Loaded: ...
    async def commit(self, batch: Batch) -> None: ...
    async def forget_published(self, identifiers: Sequence[UUID]) -> None: ...
    async def purge(self, shards: Sequence[int]) -> None: ...
    async def dead_letters(self) -> int: ...


class ActorRuntime:
    """Runs the actors of one service in this process."""

    def __init__(
        self,
        process: Process[Any],
        bus: Bus,
        store: Store,
        service: str,
        kinds: Sequence[ActorKind[Any]],
        accepts: tuple[type[Message], ...],
        receive: Receive,
        ports: Mapping[str, Port] | None = None,
        peers: Sequence[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`peers` are the services whose actors are asked or told: their queues are declared here
        too, so that what is said before their first start waits for them."""
        shards = process.settings.shards
        self._instance = process.settings.instance
        self._tasks: Tasks = process.tasks
        self._bus = bus
        self._store = store
        self._now = clock
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
        tags = (str(kind.__struct_config__.tag) for kind in accepts)
        self._heard = {
            kind: MESSAGES.labels(service, kind) for kind in (*tags, ANSWER, ERROR, "unknown")
        }
        self._decode = msgspec.json.Decoder(Union[accepts]).decode  # noqa: UP007
        self._shards: dict[int, Shard] = {}
        self._inbox = Inbox()
        self._wake = asyncio.Event()
        self._held = Held()
        self._schedule = Schedule()
        self._published: list[UUID] = []
        self._stopping = False
        self._session_lost = False
        self._failures = 0
        self._most = BATCH
        self._claimed: list[Outgoing] = []
        self._idle = asyncio.Event()
        self._channel: Channel | None = None
        self._sender = Sender(bus, self._tasks, service, shards, self._world.ports, self._answered)
        self._outbox = Outbox(service, self._sender.publish, self._on_published)
        WAITING.labels(service).set_function(lambda: len(self._inbox))
        UNPUBLISHED.labels(service).set_function(lambda: len(self._outbox))
        bus.on_lost(self._on_session_lost)
        process.on_stop(self.stop)
        process.readiness.add("actors", lambda: self._failures == 0)

    async def start(self) -> None:
        """Starts consuming and working."""
        await self._bus.attach(self._consume)
        self._tasks.start("actors", self._run())
        self._tasks.start("actor-outbox", self._outbox.run())
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
        # A session whose set-up failed has ended without a word, but may have brought messages.
        self._session_lost = self._session_lost or self._channel is not None
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
                self._inbox.add(Delivered(shard, Incoming.of(message), channel))
                self._wake.set()

        return consume

    def _on_session_lost(self) -> None:
        """What came over the session comes again over the next; the loop discards it."""
        self._channel = None
        self._session_lost = True
        self._wake.set()

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
        dead = DEAD_NOW.labels(self._world.service)
        while True:
            connected_to = self._channel
            await asyncio.sleep(PURGE_INTERVAL)
            if self._channel is not connected_to or not self._bus.connected or not self._shards:
                continue
            try:
                await self._store.purge(list(self._shards))
                dead.set(await self._store.dead_letters())
            except (PlatformError, asyncpg.PostgresError, *STORE_ERRORS):
                log.debug("actor_purge_failed", exc_info=True)

    # -- the loop ------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._cycle()
            except Fenced:
                # Who holds a delivery that it has not acked is the broker's choice for that shard, so it
                # claims the shard again. To give the messages back would lose their order: others
                # are on their way here already.
                FENCED.labels(self._world.service).inc()
                log.info("actor_fenced")
                self._discard()
            except Exception as error:
                # The outermost loop. `decide` and the encoding of what it changed are guarded in `turn`, so
                # this is the database: nothing is acked, and all of it is tried again.
                self._discard()
                await self._back_off(error)
        self._idle.set()

    async def _cycle(self) -> None:
        if self._session_lost:
            self._session_lost = False
            self._discard()
            self._inbox.keep_only(self._channel)
        items = await self._take()
        if not items and not self._held.is_due(self._now()):
            await self._look_again()
            return
        await self._claim_missing(items)
        await self._work(items)

    async def _back_off(self, error: Exception) -> None:
        self._failures += 1
        FAILURES.labels(self._world.service).inc()
        # What is too much for the database at once is tried in smaller parts.
        self._most = max(1, self._most // 2)
        log.warning("actor_store_failed", error=repr(error), failures=self._failures)
        delay = min(LONGEST_RETRY_DELAY, RETRY_DELAY * 2 ** min(self._failures - 1, 8))
        await asyncio.sleep(delay)

    async def _look_again(self) -> None:
        """A replica whose shards another one took over meanwhile has nothing to write by which it would see
        that the database is back."""
        if self._failures and not self._inbox.taken:
            await self._store.check({})
            self._failures = 0

    async def _take(self) -> list[Item]:
        # The first messages arrive while the session is still being set up: what came of them could
        # not be sent yet.
        if not self._bus.connected and not await self._bus.wait_connected(RETRY_DELAY):
            return []
        if self._is_full:
            await asyncio.sleep(FULL_PAUSE)
            return []
        self._take_due()
        if not self._inbox:
            await self._sleep()
            self._take_due()
        self._wake.clear()
        if self._is_full:
            return []
        return self._inbox.take(self._most - len(self._inbox.taken))

    @property
    def _is_full(self) -> bool:
        """Whether what would come of more messages could not leave."""
        return self._outbox.is_full or self._bus.blocked

    async def _sleep(self) -> None:
        """Waits for a message, the next timer, or the moment to tidy up the outbox."""
        delay = 1.0 if self._published or self._failures else 60.0
        for at in (self._schedule.next, self._held.until):
            if at is not None:
                delay = min(delay, (at - self._now()).total_seconds())
        try:
            async with asyncio.timeout(max(0.0, delay)):
                await self._wake.wait()
        except TimeoutError:
            if not self._inbox.taken:
                await self._tidy_outbox()

    async def _tidy_outbox(self) -> None:
        if not self._published:
            return
        published = list(self._published)
        await self._store.forget_published(published)
        del self._published[: len(published)]

    def _take_due(self) -> None:
        self._schedule.compact(self._is_current)
        for work in self._schedule.due(self._now()):
            shard = shard_of(work.actor, self._world.shards)
            owned = self._shards.get(shard)
            if owned is not None and work.actor in owned.actors:
                self._inbox.add(Inner(shard, work))

    def _is_current(self, work: Work) -> bool:
        owned = self._shards.get(shard_of(work.actor, self._world.shards))
        actor = owned.actors.get(work.actor) if owned is not None else None
        if actor is None:
            return False
        match work.body:
            case Due(name, at):
                return actor.timers.get(name) == at
            case Retry(key, at):
                return actor.retry_at.get(key) == at
        return False

    async def _work(self, items: list[Item]) -> None:
        held = self._held
        turn = Turn(self._world, self._now(), {})
        await self._decide_all(items, held, turn)
        self._hold(held, turn, items)
        due = held.is_due(self._now()) or len(self._inbox.taken) >= self._most
        if turn.outgoing.is_awaited or due:
            await self._finish(held, turn.outgoing)

    async def _decide_all(self, items: Iterable[Item], held: Held, turn: Turn) -> None:
        works: list[Work] = []
        for item in items:
            shard = self._shards.get(item.shard)
            if shard is None:
                continue
            if isinstance(item, Inner):
                works.append(item.work)
                continue
            live = LiveActors(shard.actors)
            found = self._open(item, shard, live, held, turn)
            if live.asked and (works or turn.changed):
                # Whom it concerns depends on what was said before it.
                await self._decide(turn, works)
                works, found = [], self._read_again(item, shard, turn)
            works.extend(found)
        await self._decide(turn, works)

    def _hold(self, held: Held, turn: Turn, items: Iterable[Item]) -> None:
        held.changed.update(turn.changed)
        held.rows.update(turn.rows)
        held.outbox.extend(turn.outgoing.outbox)
        held.dead.extend(turn.dead)
        written = {shard_of(actor, self._world.shards) for actor in turn.changed}
        written.update(row.shard for row in turn.outgoing.outbox)
        # What an actor of one shard said to another of ours is written under that one's fence too.
        for shard in written.union(item.shard for item in items):
            if shard in self._shards:
                held.generations[shard] = self._shards[shard].generation
        self._remember(turn)
        if held.until is None:
            held.until = self._now() + timedelta(seconds=HOLD)

    async def _finish(self, held: Held, outgoing: Outgoing) -> None:
        """Commits what is held, then sends and acks."""
        if held.rows or held.outbox or held.dead:
            await self._commit(held)
        else:
            await self._store.check(held.generations)
        self._failures = 0
        self._most = min(BATCH, 2 * self._most)
        self._held = Held()
        claimed, self._claimed = self._claimed, []
        for pending in claimed:
            await self._sender.send(pending)
        await self._sender.send(outgoing)
        self._outbox.add(held.outbox)
        self._ack(self._inbox.settle())

    async def _commit(self, held: Held) -> None:
        published = list(self._published)
        batch = Batch(
            generations=dict(sorted(held.generations.items())),
            message_ids=held.message_ids,
            rows=list(held.rows.values()),
            outbox=held.outbox,
            dead=held.dead,
            published=published,
        )
        with self._commit_time.time():
            await self._store.commit(batch)
        del self._published[: len(published)]
        self._batches.inc()
        if held.dead:
            DEAD.labels(self._world.service).inc(len(held.dead))

    async def _decide(self, turn: Turn, works: list[Work]) -> None:
        while works:
            await self._load(works, turn)
            turn.run(works)
            for work, error in turn.failed:
                log.error("decide_failed", actor=str(work.actor), kind=work.kind, exc_info=error)
            turn.failed.clear()
            works, turn.unloaded = turn.unloaded, []

    async def _load(self, works: Iterable[Work], turn: Turn) -> None:
        missing: dict[UUID, str] = {}
        for work in works:
            if work.actor in turn.actors or work.actor in turn.unreadable:
                continue
            shard = self._shards.get(shard_of(work.actor, self._world.shards))
            known = self._held.changed.get(work.actor)
            if known is None and shard is not None:
                known = shard.actors.get(work.actor)
            if known is not None:
                turn.actors[work.actor] = known
            elif shard is not None and work.actor in shard.unreadable:
                turn.unreadable.add(work.actor)
            else:
                missing[work.actor] = work.kind
        if not missing:
            return
        loaded = await self._store.load(list(missing))
        self._set_aside(loaded)
        turn.unreadable.update(row.id for row in loaded.unreadable)
        for actor in loaded.actors:
            turn.actors[actor.id] = actor
        for identifier, kind in missing.items():
            if identifier not in turn.actors and identifier not in turn.unreadable:
                turn.actors[identifier] = Actor(identifier, self._world.kinds[kind], None)

    def _set_aside(self, loaded: Loaded) -> None:
        for row in loaded.unreadable:
            log.error("actor_unreadable", actor=str(row.id), kind=row.kind, reason=row.reason)

    def _open(
        self, item: Delivered, shard: Shard, live: LiveActors, held: Held, turn: Turn
    ) -> list[Work]:
        """A message from the broker as work for actors; remembers that it was handled."""
        incoming = item.incoming
        if incoming.type == PROBE:
            return []
        identifier = _storable_id(incoming.message_id)
        repeated = identifier in shard.seen
        if identifier and not repeated:
            shard.see([identifier])
            held.message_ids.setdefault(item.shard, []).append(identifier)
        try:
            return self._read(incoming, item.shard, live, repeated=repeated)
        except Exception as error:
            self._refuse_unread(item, error, turn)
            return []

    def _read_again(self, item: Delivered, shard: Shard, turn: Turn) -> list[Work]:
        """The same for a message that looks at all live actors, after what came before it was decided."""
        live = dict(shard.actors)
        for actor in turn.changed.values():
            if shard_of(actor.id, self._world.shards) != item.shard:
                continue
            if actor.kind.index(actor.state).live:
                live[actor.id] = actor
            else:
                live.pop(actor.id, None)
        # It was read before, so it can be read.
        return self._read(item.incoming, item.shard, LiveActors(live), repeated=False)

    def _read(
        self, incoming: Incoming, number: int, live: LiveActors, *, repeated: bool
    ) -> list[Work]:
        """A message from the broker as work for actors. What was handled before is dropped, except
        requests: who repeats a request still waits for its answer."""
        self._heard.get(incoming.type, self._heard["unknown"]).inc()
        if incoming.type in (ANSWER, ERROR):
            if repeated:
                return []
            kind, actor, key = (incoming.correlation_id or "").split("/", 2)
            answer = RawAnswer(key, incoming.body, incoming.type == ERROR)
            works = [Work(kind, UUID(actor), answer, incoming=incoming)]
        else:
            body = self._decode(incoming.body)
            if repeated and (not isinstance(body, Request) or _is_replay(incoming)):
                return []
            heard = self._world.receive(body, live)
            works = [
                Work(one.kind, one.actor, one.body, incoming.origin, incoming=incoming)
                for one in _for_replay(heard, incoming)
            ]
        for work in works:
            check_route(work, number, self._world)
        return works

    def _refuse_unread(self, item: Delivered, error: Exception, turn: Turn) -> None:
        """A message that cannot be read is a dead letter, and whoever asked hears of it."""
        incoming = item.incoming
        log.error("message_unreadable", type=incoming.type, exc_info=error)
        turn.dead.append(dead_letter(new_id(), incoming, item.shard, error))
        if incoming.origin is not None and incoming.type not in (ANSWER, ERROR):
            fault = InvalidRequest("request_unreadable", "The request could not be read")
            turn.outgoing.replies.append((incoming.origin, error_body(fault), True))

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
        for kind, identifier, body in turn.scheduled:
            self._schedule.add(kind, identifier, body)

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
        live = claim.live
        self._set_aside(live)
        owned = Shard(
            claim.generation,
            {actor.id: actor for actor in live.actors},
            unreadable=frozenset(row.id for row in live.unreadable),
        )
        owned.see(claim.message_ids)
        self._shards[shard] = owned
        self._count_owned()
        log.info("shard_claimed", shard=shard, generation=claim.generation, live=len(live.actors))
        turn = Turn(self._world, self._now(), owned.actors)
        for actor in live.actors:
            turn.resend(actor)
            for name, at in actor.timers.items():
                self._schedule.add(actor.kind.name, actor.id, Due(name, at))
        self._remember(turn)
        # Sent once the database has taken something: claims that succeed while commits fail must not send
        # all of it again and again.
        self._claimed.append(turn.outgoing)
        self._outbox.add(claim.outbox)

    def _count_owned(self) -> None:
        OWNED.labels(self._world.service).set(len(self._shards))
        unreadable = sum(len(shard.unreadable) for shard in self._shards.values())
        UNREADABLE.labels(self._world.service).set(unreadable)

    def _discard(self) -> None:
        """Back to an empty memory. What was taken and not committed waits again, in its order."""
        self._inbox.put_back()
        self._held = Held()
        self._claimed.clear()
        self._shards.clear()
        self._schedule.clear()
        self._outbox.clear()
        self._count_owned()
        RELOADS.labels(self._world.service).inc()

    # -- after the commit ------------------------------------------------------------------------

    def _on_published(self, rows: Sequence[OutboxRow]) -> None:
        self._published.extend(row.id for row in rows)

    def _answered(self, work: Work) -> None:
        self._inbox.add(Inner(shard_of(work.actor, self._world.shards), work))
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


def _storable_id(message_id: str) -> str:
    """The id by which a repetition is known; a stranger's may be what the store cannot keep."""
    return message_id if message_id.isprintable() and "," not in message_id else ""


def _is_replay(incoming: Incoming) -> bool:
    return (incoming.correlation_id or "").startswith(REPLAY)


def _for_replay(heard: Iterable[Any], incoming: Incoming) -> Iterable[Any]:
    """A dead letter that is replayed is only for the actor that had failed on it."""
    if not _is_replay(incoming):
        return heard
    only = str(incoming.correlation_id).removeprefix(REPLAY)
    return [one for one in heard if str(one.actor) == only]


def priority(instance: str, shard: int) -> int:
    """The consumer priority of a replica for a shard: rendezvous hashing, done by the broker."""
    digest = hashlib.blake2b(f"{instance}/{shard}".encode(), digest_size=3).digest()
    return int.from_bytes(digest, "big")
