"""What the engine holds in memory between batches. All of it can be dropped at any moment: the broker and the
database bring it again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from evercall.actor.model import Actor
from evercall.actor.store import OutboxRow
from evercall.actor.turn import Work
from evercall.bus.amqp import Channel
from evercall.bus.envelope import Incoming

BATCH = 512
"""Messages that are worked off together, at most."""

SEEN = 50_000
"""Ids of handled messages that a shard keeps in memory."""


@dataclass(slots=True)
class Shard:
    """A shard that this process owns, as far as it knows."""

    generation: int
    actors: dict[UUID, Actor[Any]] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)

    def see(self, identifiers: Iterable[str]) -> None:
        """Remembers handled messages; forgets the oldest."""
        for identifier in identifiers:
            self.seen[identifier] = None
        while len(self.seen) > SEEN:
            del self.seen[next(iter(self.seen))]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message from the broker and the channel to ack it on."""

    shard: int
    incoming: Incoming
    channel: Channel


@dataclass(frozen=True, slots=True)
class Inner:
    """A message of this process to itself: a timer, or a port's answer."""

    shard: int
    work: Work


Item = Delivered | Inner


@dataclass(slots=True)
class Held:
    """What was decided on and is not committed yet."""

    items: list[Item] = field(default_factory=list)
    generations: dict[int, int] = field(default_factory=dict)
    message_ids: dict[int, list[str]] = field(default_factory=dict)
    changed: dict[UUID, Actor[Any]] = field(default_factory=dict)
    outbox: list[OutboxRow] = field(default_factory=list)
    until: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether it has waited long enough."""
        return self.until is not None and (now >= self.until or len(self.items) >= BATCH)


def last_delivered(items: Iterable[Item], channel: Channel | None) -> Delivered | None:
    """The last message of this channel: acking it acks all before it."""
    delivered = [item for item in items if isinstance(item, Delivered) and item.channel is channel]
    return delivered[-1] if delivered else None
