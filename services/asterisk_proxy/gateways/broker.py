"""Batches to the broker, in order for each shard, each message until it is confirmed.

While a batch is on its way the next one grows, so that under load there are few messages. A shard whose queue
confirms nothing (its leader hangs) must not keep the others waiting: after `PACE` the next batch is begun all
the same, and what is for that shard waits behind what it has. What is settled are whole batches, in their order.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from asterisk_proxy import metrics
from asterisk_proxy.domain.batch import Heard, Outgoing, Source, cut, messages
from asterisk_proxy.stream import MOST_CUTS, Stream
from evercall.bus.topology import shard_key
from evercall.contracts.asterisk import CommandsRefused, RefusedCommand
from evercall.contracts.base import Message
from evercall.contracts.ids import shard_of
from evercall.service.errors import Unavailable
from evercall.service.identity import new_id

SERVICE = "call_manager"
RETRY_DELAY = 0.1

PACE = 0.5
"""Seconds that a batch is waited for before the next one is begun beside it."""

MOST_BATCHES = MOST_CUTS - 1
"""On their way at once: a minute of them, if one shard confirms nothing. Then all wait for it."""


@dataclass(slots=True)
class _Batch:
    """A batch on its way: `waiting` messages are not confirmed yet."""

    end: int
    waiting: int


class Bus(Protocol):
    """What is needed of the bus."""

    async def publish(
        self, routing_key: str, message: Message, *, message_id: UUID | None = None
    ) -> None: ...


class Publisher:
    """Sends what was heard; settles the stream behind it."""

    def __init__(self, stream: Stream, bus: Bus, asterisk_id: str, shards: int) -> None:
        self._stream = stream
        self._bus = bus
        self._asterisk_id = asterisk_id
        self._shards = shards
        self._waiting: deque[Heard] = deque()
        self._refused: list[tuple[str, RefusedCommand]] = []
        self._begun = deque(stream.cuts)
        self._batches: deque[_Batch] = deque()
        self._queues: dict[int, deque[tuple[Outgoing, _Batch | None]]] = {}
        self._senders: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._cut_at = 0.0
        self._heard = stream.settled
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    def add(self, heard: Heard) -> None:
        """Something from the stream."""
        self._waiting.append(heard)

    def heard_until(self, offset: int) -> None:
        """Everything before `offset` was given to `add`, or needs no sending."""
        self._heard = offset
        self._settle_rest()
        if self._waiting:
            self._wake.set()

    def refuse(self, boot_id: str, refused: Iterable[RefusedCommand]) -> None:
        """Refusals that no word of Asterisk stands for, of commands for this life of it."""
        self._refused.extend((boot_id, refusal) for refusal in refused)
        self._wake.set()

    def boot_known(self) -> None:
        """`Stream.boot_id` is set: nothing is sent before."""
        self._wake.set()

    async def wait_idle(self) -> None:
        """Returns when everything heard so far is settled."""
        while self._waiting or self._batches:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Sends until it is cancelled."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience()):
                        await self._wake.wait()
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
                self._send_refusals()
                while self._may_begin():
                    self._begin()
        finally:
            for sender in self._senders:
                sender.cancel()

    # -- batches -------------------------------------------------------------------------------

    def _patience(self) -> float | None:
        """Seconds until the next batch need not wait for those before it."""
        if not self._waiting or not self._batches or len(self._batches) >= MOST_BATCHES:
            return None
        return max(0.0, self._cut_at + PACE - time.monotonic())

    def _may_begin(self) -> bool:
        if not self._waiting or not self._stream.boot_id:
            return False
        if not self._batches or self._begun:
            return True
        return len(self._batches) < MOST_BATCHES and time.monotonic() >= self._cut_at + PACE

    def _begin(self) -> None:
        stream = self._stream
        start = self._batches[-1].end if self._batches else stream.settled
        begun = self._begun.popleft() if self._begun else 0
        heard = [self._waiting.popleft() for _ in range(cut(self._waiting, begun))]
        end = heard[-1].end
        if end != begun:
            stream.cut_at(end)
        self._cut_at = time.monotonic()
        source = Source(self._asterisk_id, stream.boot_id, stream.nonce, self._shards)
        outgoing = list(messages(heard, source, start, end))
        batch = _Batch(end, len(outgoing))
        self._batches.append(batch)
        for message in outgoing:
            self._queue(message, batch)

    def _confirmed(self, batch: _Batch) -> None:
        """One message of a batch is safe. Batches are settled in their order."""
        batch.waiting -= 1
        while self._batches and not self._batches[0].waiting:
            self._stream.settle(self._batches.popleft().end)
            metrics.BATCHES.inc()
        self._settle_rest()
        if self._waiting:
            self._wake.set()

    def _settle_rest(self) -> None:
        """What was heard and needs no sending is settled once nothing before it waits."""
        if not self._waiting and not self._batches:
            self._stream.settle(self._heard)
            self._idle.set()

    # -- messages ------------------------------------------------------------------------------

    def _send_refusals(self) -> None:
        refused, self._refused = self._refused, []
        together: dict[tuple[int, str], list[RefusedCommand]] = defaultdict(list)
        for boot_id, refusal in refused:
            together[shard_of(refusal.actor, self._shards), boot_id].append(refusal)
        for (shard, boot_id), refusals in together.items():
            message = CommandsRefused(
                asterisk_id=self._asterisk_id, boot_id=boot_id, refused=refusals
            )
            self._queue(Outgoing(shard, new_id(), message), None)

    def _queue(self, message: Outgoing, batch: _Batch | None) -> None:
        queue = self._queues.get(message.shard)
        if queue is not None:
            queue.append((message, batch))
            return
        self._queues[message.shard] = deque([(message, batch)])
        sender = asyncio.create_task(self._send_queue(message.shard))
        self._senders.add(sender)
        sender.add_done_callback(self._sent)

    def _sent(self, sender: "asyncio.Task[None]") -> None:
        self._senders.discard(sender)
        if not sender.cancelled() and sender.exception() is not None:
            self._failure = sender.exception()
            self._wake.set()

    async def _send_queue(self, shard: int) -> None:
        """Sends what waits for a shard, in order, until nothing does."""
        queue = self._queues[shard]
        while queue:
            message, batch = queue[0]
            started = time.monotonic()
            await self._send(message)
            metrics.CONFIRM.observe(time.monotonic() - started)
            metrics.MESSAGES.inc()
            queue.popleft()
            if batch is not None:
                self._confirmed(batch)
        del self._queues[shard]

    async def _send(self, outgoing: Outgoing) -> None:
        """Until it is confirmed. A shard that nobody declared yet is waited for, too."""
        key = shard_key(SERVICE, outgoing.shard)
        while True:
            try:
                await self._bus.publish(key, outgoing.message, message_id=outgoing.id)
            except (Unavailable, TimeoutError):
                metrics.REPEATS.inc()
                await asyncio.sleep(RETRY_DELAY)
            else:
                return
