"""What a call hears from Asterisk, stripped of Asterisk's vocabulary.

`subscriptions` makes these from ARI events. They never leave the process.
"""

from datetime import datetime, timedelta
from uuid import UUID

from evercall.contracts.base import Message


class StasisStarted(Message, frozen=True, kw_only=True):
    """A channel is in our hands: an incoming call, or an outgoing one that was answered.

    `arguments` are those of the dialplan (`asterisk/templates/extensions.conf.j2`), percent-decoded.
    """

    call_id: UUID
    asterisk_id: str
    boot_id: str
    channel_id: str
    caller_number: str
    caller_name: str
    arguments: dict[str, str]
    at: datetime


class ChannelRinging(Message, frozen=True, kw_only=True):
    """The far end of an outgoing call rings."""

    channel_id: str
    at: datetime


class ChannelUp(Message, frozen=True, kw_only=True):
    """The channel is answered."""

    channel_id: str
    at: datetime


class DigitReceived(Message, frozen=True, kw_only=True):
    """The far end pressed a key for so long, and released it. `digit` is personal data."""

    channel_id: str
    digit: str
    duration: timedelta
    at: datetime


class PlaybackFinished(Message, frozen=True, kw_only=True):
    """A playback is over. `failed`: it did not get to its end by itself."""

    playback_id: str
    failed: bool


class ChannelGone(Message, frozen=True, kw_only=True):
    """The channel was destroyed. `cause` is Q.850's."""

    channel_id: str
    cause: int
    at: datetime


class MediaLegUp(Message, frozen=True, kw_only=True):
    """A channel of a stream is in our hands. The RTP of the external one comes from, and goes to, this address;
    the snoop has none (port 0)."""

    stream_id: UUID
    asterisk_id: str
    boot_id: str
    channel_id: str
    rtp_address: str
    rtp_port: int


class MediaLegGone(Message, frozen=True, kw_only=True):
    """A channel of a stream (the external one, or the snoop) was destroyed."""

    stream_id: UUID
    channel_id: str


class CommandRefused(Message, frozen=True, kw_only=True):
    """The command `key`, for this life of this Asterisk, was refused: by Asterisk with this HTTP status, or
    (`NO_ANSWER`) by its proxy for this `ProxyReason`."""

    asterisk_id: str
    boot_id: str
    key: str
    status: int
    reason: str


class ChannelsSeen(Message, frozen=True, kw_only=True):
    """All channels that this call has on this Asterisk, by their state, after a gap in its events."""

    call_id: UUID
    asterisk_id: str
    boot_id: str
    channels: dict[str, str]
