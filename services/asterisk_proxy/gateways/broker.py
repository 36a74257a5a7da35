"""Batches to the broker: one after the other, each until it is confirmed.

While one batch is on its way the next one grows. So order needs no thought, a batch that must be repeated
is repeated whole, and under load there are few messages.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import islice
from typing import Protocol
from uuid import UUID

from asterisk_proxy import metrics
from asterisk_proxy.domain.batch import Heard, Outgoing, Source, cut, messages
from asterisk_proxy.stream import Stream
from evercall.bus.topology import shard_key
from evercall.contracts.asterisk import CommandsRefused, RefusedCommand
from evercall.contracts.base import Message
from evercall.contracts.ids import shard_of
from evercall.service.errors import Unavailable
from evercall.service.identity import new_id

SERVICE = "call_manager"
RETRY_DELAY = 0.1


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
        self._begun = stream.sending
        self._heard = stream.settled
        self._busy = False
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
        while self._waiting or self._busy:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Sends until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._refused or (self._waiting and self._stream.boot_id):
                await self._send_next()

    async def _send_next(self) -> None:
        stream = self._stream
        batch: list[Heard] = []
        if stream.boot_id:
            batch = list(islice(self._waiting, cut(self._waiting, self._begun)))
            self._begun = 0
        refused, self._refused = self._refused, []
        source = Source(self._asterisk_id, stream.boot_id, stream.nonce, self._shards)
        outgoing = [*self._refusals(refused)]
        end = stream.settled
        if batch:
            end = batch[-1].end
            outgoing += messages(batch, source, stream.settled, end)
            stream.send_until(end)
        started = time.monotonic()
        self._busy = True
        await self._send_all(outgoing)
        self._busy = False
        metrics.CONFIRM.observe(time.monotonic() - started)
        metrics.BATCHES.inc()
        for _ in batch:
            self._waiting.popleft()
        stream.settle(end)
        self._settle_rest()

    def _settle_rest(self) -> None:
        """What was heard and needs no sending is settled once nothing before it waits."""
        if not self._waiting and not self._busy:
            self._stream.settle(self._heard)
            self._idle.set()

    def _refusals(self, refused: Iterable[tuple[str, RefusedCommand]]) -> Iterable[Outgoing]:
        together: dict[tuple[int, str], list[RefusedCommand]] = defaultdict(list)
        for boot_id, refusal in refused:
            together[shard_of(refusal.actor, self._shards), boot_id].append(refusal)
        for (shard, boot_id), refusals in together.items():
            message = CommandsRefused(
                asterisk_id=self._asterisk_id, boot_id=boot_id, refused=refusals
            )
            yield Outgoing(shard, new_id(), message)

    async def _send_all(self, outgoing: Iterable[Outgoing]) -> None:
        by_shard: dict[int, list[Outgoing]] = defaultdict(list)
        for message in outgoing:
            by_shard[message.shard].append(message)
        shards = list(by_shard.values())
        if len(shards) == 1:
            await self._send_in_order(shards[0])
            return
        await asyncio.gather(*(self._send_in_order(shard) for shard in shards))

    async def _send_in_order(self, outgoing: Iterable[Outgoing]) -> None:
        for message in outgoing:
            await self._send(message)
            metrics.MESSAGES.inc()

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
