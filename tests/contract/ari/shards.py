"""What call_manager would hear: the shard queues, with repeats known by their message ids."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from evercall.bus import topology
from evercall.bus.amqp import Delivery
from evercall.bus.bus import Bus
from evercall.bus.connection import Session
from evercall.contracts.asterisk import AsteriskEvents, AsteriskSnapshot, CommandsRefused
from tests.contract.ari.rig import SHARDS

Heard = AsteriskEvents | AsteriskSnapshot | CommandsRefused
_decode = msgspec.json.Decoder(Heard).decode


@dataclass(frozen=True, slots=True)
class Event:
    """An event as its actor hears it."""

    type: str
    boot_id: str
    body: dict[str, Any]

    @property
    def channel_id(self) -> str:
        return str(self.body.get("channel", {}).get("id", ""))


@dataclass
class Shards:
    """Consumes all shards."""

    events: dict[UUID, list[Event]] = field(default_factory=lambda: defaultdict(list))
    snapshots: list[tuple[int, AsteriskSnapshot]] = field(default_factory=list)
    refused: list[CommandsRefused] = field(default_factory=list)
    messages: int = 0
    repeats: int = 0
    _seen: set[str] = field(default_factory=set)
    _hearing: set[asyncio.Future[None]] = field(default_factory=set)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def attach(self, bus: Bus) -> None:
        """Declares and consumes the queues as the engine does."""
        await bus.attach(self._setup)

    async def _setup(self, session: Session) -> None:
        channel = await session.channel()
        for shard in range(SHARDS):
            key = topology.shard_key("call_manager", shard)
            await topology.declare_queue(channel, key, topology.SHARD_ARGUMENTS)
            await channel.consume(key, partial(self._begin_to_hear, shard), no_ack=True)

    def _begin_to_hear(self, shard: int, message: Delivery) -> None:
        task = asyncio.ensure_future(self._hear(shard, message))
        self._hearing.add(task)
        task.add_done_callback(self._hearing.discard)

    async def _hear(self, shard: int, message: Delivery) -> None:
        identifier = message.properties.message_id
        self.messages += 1
        if identifier in self._seen:
            self.repeats += 1
            return
        self._seen.add(identifier)
        content = _decode(message.body)
        match content:
            case AsteriskEvents():
                for owned in content.events:
                    body = msgspec.json.decode(owned.event)
                    self.events[owned.actor].append(Event(body["type"], content.boot_id, body))
            case AsteriskSnapshot():
                self.snapshots.append((shard, content))
            case CommandsRefused():
                self.refused.append(content)
        async with self._news:
            self._news.notify_all()

    @property
    def boot_id(self) -> str:
        """Asterisk's life, as it was told last; empty before."""
        return self.snapshots[-1][1].boot_id if self.snapshots else ""

    async def wait(self, condition: Any, seconds: float = 15.0) -> None:
        """Until `condition()` holds."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            kinds = {str(actor): [e.type for e in heard] for actor, heard in self.events.items()}
            raise AssertionError(f"never came; heard: {kinds}, {self.refused}") from None

    def types(self, actor: UUID) -> list[str]:
        """The types of an actor's events, in order."""
        return [event.type for event in self.events[actor]]

    def digits(self, actor: UUID) -> str:
        """The digits that an actor heard, in order."""
        events = self.events[actor]
        return "".join(e.body["digit"] for e in events if e.type == "ChannelDtmfReceived")

    def started(self, number: str) -> UUID | None:
        """The actor of the call to this number."""
        for actor, events in self.events.items():
            for event in events:
                if event.type != "StasisStart":
                    continue
                if event.body["channel"]["dialplan"]["exten"] == number:
                    return actor
        return None
