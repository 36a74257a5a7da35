"""Channels that no live call owns, and channels that a call should own but Asterisk does not have."""

from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from call_manager.domain.call import Leg
from call_manager.domain.messages import ChannelsSeen
from evercall.actor.model import Command, Effect, Settle
from evercall.ari import commands
from evercall.ari.commands import Cause
from evercall.contracts.asterisk import AriCommand

YOUNG = timedelta(seconds=10)
"""A channel of a call that is not older may still have its StasisStart on the way to us."""


class Channel(Protocol):
    """What it takes to name a channel of the farm."""

    @property
    def asterisk_id(self) -> str: ...
    @property
    def boot_id(self) -> str: ...
    @property
    def channel_id(self) -> str: ...


def hang_up_stray(
    call_id: UUID, channel: Channel, cause: Cause = Cause.NORMAL_CLEARING
) -> tuple[Effect, ...]:
    """Hangs up a channel that belongs to no live call. Nobody waits for the outcome."""
    command = commands.hangup(call_id, "stray", channel.channel_id, cause)
    return Command(channel.asterisk_id, channel.boot_id, command), Settle("stray")


def hang_up_all(message: ChannelsSeen) -> tuple[Effect, ...]:
    """Hangs up all channels that a call without life still has."""
    return tuple(
        effect
        for channel_id in message.channels
        for effect in hang_up_stray(
            message.call_id,
            Leg(asterisk_id=message.asterisk_id, boot_id=message.boot_id, channel_id=channel_id),
        )
    )


def is_young(call_id: UUID, now: datetime) -> bool:
    """Whether a call with this id (UUIDv7: its first 48 bits are the time) was just made."""
    made = datetime.fromtimestamp((call_id.int >> 80) / 1000, UTC)
    return now - made < YOUNG


def look_for(call_id: UUID, leg: Leg) -> AriCommand:
    """Asks for a channel that a snapshot lacks. Only a refusal is heard of: 404 proves that it is gone.

    The snapshot alone does not. It was taken a moment before it was sent, so events that came before it may
    tell of channels that are younger.
    """
    return commands.look_for(call_id, "look", leg.channel_id)
