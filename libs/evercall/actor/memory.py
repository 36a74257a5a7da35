"""What the engine holds in memory between batches. All of it can be dropped at any moment: the broker and the
database bring it again.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from evercall.actor.dead_letter import DeadLetter
from evercall.actor.model import Actor
from evercall.actor.store import ActorRow, OutboxRow
from evercall.actor.turn import Work
from evercall.bus.amqp import Channel
from evercall.bus.envelope import Incoming

BATCH = 512
"""Messages that are worked off together, at most."""

LONGEST_HOLD = timedelta(seconds=1)

SEEN = 100_000
"""Ids of handled messages that a shard keeps in memory."""


@dataclass(slots=True)
class Shard:
    """A shard that this process owns, as far as it knows. `unreadable` are live actors whose rows could not
    be decoded: they are set aside, and never overwritten."""

    generation: int
    actors: dict[UUID, Actor[Any]] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    unreadable: frozenset[UUID] = frozenset()

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
    """A message of this process to itself: a timer, a retry, or a port's answer."""

    shard: int
    work: Work


Item = Delivered | Inner


class Inbox:
    """All that has arrived and is not settled, in order: the one place that knows what is unacked.

    What was taken and could not be committed is put back in front. So an ack of everything up to the last
    taken message never covers a message that is not in the state.
    """

    def __init__(self) -> None:
        self._waiting: deque[Item] = deque()
        self.taken: list[Item] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item) -> None:
        """Something has arrived."""
        self._waiting.append(item)

    def take(self, most: int) -> list[Item]:
        """Takes the next items; they count as unsettled until `settle` or `put_back`."""
        items = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self.taken.extend(items)
        return items

    def put_back(self) -> None:
        """What was taken waits again, before everything that came later. Words of this process to itself are
        dropped: whoever claims the shards schedules timers and asks ports again."""
        everything = (*self.taken, *self._waiting)
        self._waiting = deque(one for one in everything if isinstance(one, Delivered))
        self.taken = []

    def settle(self) -> list[Item]:
        """All that was taken is in the database. Returns it, for the ack."""
        items, self.taken = self.taken, []
        return items

    def keep_only(self, channel: Channel | None) -> None:
        """Drops what another session brought: the broker brings it again."""
        self.put_back()
        self._waiting = deque(
            one for one in self._waiting if isinstance(one, Delivered) and one.channel is channel
        )


@dataclass(slots=True)
class Held:
    """What was decided on and is not committed yet."""

    generations: dict[int, int] = field(default_factory=dict)
    message_ids: dict[int, list[str]] = field(default_factory=dict)
    changed: dict[UUID, Actor[Any]] = field(default_factory=dict)
    rows: dict[UUID, ActorRow] = field(default_factory=dict)
    outbox: list[OutboxRow] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    until: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether it has waited long enough, also by a clock that was set back meanwhile."""
        if self.until is None:
            return False
        return now >= self.until or self.until - now > LONGEST_HOLD


def last_delivered(items: Iterable[Item], channel: Channel | None) -> Delivered | None:
    """The last message of this channel: acking it acks all before it."""
    delivered = [item for item in items if isinstance(item, Delivered) and item.channel is channel]
    return delivered[-1] if delivered else None
