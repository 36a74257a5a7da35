"""Batches: what has arrived together, as messages for the shards.

A batch is a stretch of the stream. Its messages are named by that stretch, so whoever sends it a second
time (after a lost confirm, after a kill) sends the same messages under the same ids, and the shards
count them once.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from evercall.ari.events import ChannelInList, channel_owner
from evercall.contracts.asterisk import (
    AsteriskEvents,
    AsteriskSnapshot,
    CommandsRefused,
    LiveChannel,
    OwnedEvent,
    RefusedCommand,
)
from evercall.contracts.base import Message
from evercall.contracts.ids import shard_of

MOST_FRAMES = 1024
"""In one batch. More would only make the messages longer than a shard likes to work off at once."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Something from Asterisk that the bus must hear, and where in the stream it ends."""

    end: int
    content: OwnedEvent | RefusedCommand | Sequence[ChannelInList]

    @property
    def is_snapshot(self) -> bool:
        return not isinstance(self.content, OwnedEvent | RefusedCommand)


@dataclass(frozen=True, slots=True)
class Source:
    """Whose batches these are."""

    asterisk_id: str
    boot_id: str
    nonce: int
    shards: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for a shard. Those of one shard must be sent in their order."""

    shard: int
    id: UUID
    message: Message


def cut(waiting: Sequence[Heard], begun: int) -> int:
    """How many of `waiting` make the next batch.

    Args:
        waiting: what has arrived, in order.
        begun: the end of a batch that was being sent when a former proxy died; it is cut there again.

    A snapshot ends its batch, so that events before it are heard before it.
    """
    count = 0
    for heard in waiting:
        if heard.end <= begun:
            count += 1
            continue
        if begun and count:
            return count
        count += 1
        begun = 0
        if heard.is_snapshot or count == MOST_FRAMES:
            return count
    return count


def messages(batch: Iterable[Heard], source: Source, start: int, end: int) -> Iterator[Outgoing]:
    """The messages of a batch, for each shard first events, then refusals, then the snapshot."""
    events: dict[int, list[OwnedEvent]] = defaultdict(list)
    refused: dict[int, list[RefusedCommand]] = defaultdict(list)
    snapshot: Sequence[ChannelInList] | None = None
    for heard in batch:
        content = heard.content
        if isinstance(content, OwnedEvent):
            events[shard_of(content.actor, source.shards)].append(content)
        elif isinstance(content, RefusedCommand):
            refused[shard_of(content.actor, source.shards)].append(content)
        else:
            snapshot = content
    for shard, owned in events.items():
        yield Outgoing(
            shard,
            message_id(source.nonce, start, end, shard, "events"),
            AsteriskEvents(asterisk_id=source.asterisk_id, boot_id=source.boot_id, events=owned),
        )
    for shard, refusals in refused.items():
        yield Outgoing(
            shard,
            message_id(source.nonce, start, end, shard, "refused"),
            CommandsRefused(
                asterisk_id=source.asterisk_id, boot_id=source.boot_id, refused=refusals
            ),
        )
    if snapshot is not None:
        yield from _snapshot(snapshot, source, start, end)


def message_id(nonce: int, start: int, end: int, shard: int, kind: str) -> UUID:
    """The same for the same part of the same stretch of the same stream."""
    name = f"{nonce}/{start}/{end}/{shard}/{kind}"
    return UUID(bytes=hashlib.blake2b(name.encode(), digest_size=16).digest())


def _snapshot(
    channels: Sequence[ChannelInList], source: Source, start: int, end: int
) -> Iterator[Outgoing]:
    live: dict[int, list[LiveChannel]] = defaultdict(list)
    for channel in channels:
        actor = channel_owner(channel.id, channel.channelvars)
        if actor is not None:
            seen = LiveChannel(actor=actor, channel_id=channel.id, state=channel.state)
            live[shard_of(actor, source.shards)].append(seen)
    # Every shard hears one: that none of its channels is there is news too.
    for shard in range(source.shards):
        yield Outgoing(
            shard,
            message_id(source.nonce, start, end, shard, "snapshot"),
            AsteriskSnapshot(
                asterisk_id=source.asterisk_id,
                boot_id=source.boot_id,
                channels=live[shard],
            ),
        )
