"""What comes in for calls: mapping only. Who decides is `domain.decide`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from prometheus_client import Counter

from call_manager import ari_events
from call_manager.domain import messages
from call_manager.domain.call import CallState
from call_manager.domain.media import is_media_channel, is_orphaned
from evercall.actor.turn import Delivery, LiveActors, Unreadable
from evercall.contracts.asterisk import (
    AsteriskEvents,
    AsteriskLost,
    AsteriskSnapshot,
    CommandsRefused,
    OwnedEvent,
)
from evercall.contracts.base import Message
from evercall.contracts.call import CallCreate, CallDelete, CallFlowStopped, CallHangup
from evercall.contracts.media import (
    ExternalMediaOwnerGone,
    ExternalMediaStart,
    ExternalMediaStop,
)

KIND = "call"
"""The kind of a call's actor."""

ACCEPTS: tuple[type[Message], ...] = (
    AsteriskEvents,
    AsteriskSnapshot,
    CommandsRefused,
    AsteriskLost,
    CallCreate,
    CallHangup,
    CallDelete,
    CallFlowStopped,
    ExternalMediaStart,
    ExternalMediaStop,
    ExternalMediaOwnerGone,
)

UNUSED = Counter(
    "evercall_call_manager_unused_events_total",
    "ARI events that mean nothing to a call",
)


def receive(message: Message, live: LiveActors) -> Iterable[Delivery]:
    """The calls that a message from the bus is for, each with what it is to hear."""
    match message:
        case AsteriskEvents():
            return list(_from_events(message))
        case CommandsRefused():
            return [
                Delivery(
                    KIND,
                    refusal.actor,
                    messages.CommandRefused(
                        asterisk_id=message.asterisk_id,
                        boot_id=message.boot_id,
                        key=refusal.key,
                        status=refusal.status,
                        reason=refusal.reason,
                    ),
                )
                for refusal in message.refused
            ]
        case AsteriskSnapshot():
            return list(_from_snapshot(message, live))
        case AsteriskLost():
            return [
                Delivery(KIND, actor.id, message)
                for actor in live.of(KIND)
                if _is_on(actor.state, message.asterisk_id)
            ]
        case ExternalMediaStart() | ExternalMediaStop():
            return [Delivery(KIND, message.call_id, message)]
        case ExternalMediaOwnerGone():
            return [
                Delivery(KIND, actor.id, message)
                for actor in live.of(KIND)
                if _has_orphans(actor.state, message)
            ]
        case CallCreate() | CallHangup() | CallDelete() | CallFlowStopped():
            return [Delivery(KIND, message.id, message)]
    raise TypeError(f"nobody here expects {type(message).__name__}")


def _from_events(message: AsteriskEvents) -> Iterator[Delivery]:
    for owned in message.events:
        heard = _heard(message, owned)
        if heard is None:
            UNUSED.inc()
        else:
            yield Delivery(KIND, owned.actor, heard)


def _heard(message: AsteriskEvents, owned: OwnedEvent) -> Message | None:
    """What a call is to hear of one event. An event that cannot be read must not take those of other calls,
    which came in the same message, with it."""
    try:
        event = ari_events.decode(owned.event)
        return None if event is None else _MAPPERS[type(event)](message, owned.actor, event)
    except (ValueError, LookupError) as error:
        return Unreadable(reason=f"{type(error).__name__}: {error}")


def _from_snapshot(message: AsteriskSnapshot, live: LiveActors) -> Iterator[Delivery]:
    """Every live call of this Asterisk hears which of its channels are there, and so does every call
    that has a channel there without being known to be live."""
    channels: dict[UUID, dict[str, str]] = defaultdict(dict)
    for channel in message.channels:
        channels[channel.actor][channel.channel_id] = channel.state
    for actor in live.of(KIND):
        if _is_on(actor.state, message.asterisk_id):
            channels.setdefault(actor.id, {})
    for call_id, seen in channels.items():
        body = messages.ChannelsSeen(
            call_id=call_id,
            asterisk_id=message.asterisk_id,
            boot_id=message.boot_id,
            channels=seen,
        )
        yield Delivery(KIND, call_id, body)


def _has_orphans(state: object, message: ExternalMediaOwnerGone) -> bool:
    if not isinstance(state, CallState):
        return False
    return any(is_orphaned(stream, message) for stream in state.media.values())


def _is_on(state: object, asterisk_id: str) -> bool:
    if not isinstance(state, CallState) or state.leg is None:
        return False
    return state.leg.asterisk_id == asterisk_id


def _stasis_start(
    envelope: AsteriskEvents, call_id: UUID, event: ari_events.StasisStart
) -> Message | None:
    if is_media_channel(event.channel.id):
        return _media_leg(envelope, event.channel)
    return messages.StasisStarted(
        call_id=call_id,
        asterisk_id=envelope.asterisk_id,
        boot_id=envelope.boot_id,
        channel_id=event.channel.id,
        caller_number=event.channel.caller.number,
        caller_name=event.channel.caller.name,
        arguments=_arguments(event.args),
        at=ari_events.time_of(event.timestamp),
    )


def _media_leg(envelope: AsteriskEvents, channel: ari_events.Channel) -> Message:
    variables = channel.channelvars
    return messages.MediaLegUp(
        stream_id=_stream_of(channel.id),
        asterisk_id=envelope.asterisk_id,
        boot_id=envelope.boot_id,
        channel_id=channel.id,
        rtp_address=variables.get("UNICASTRTP_LOCAL_ADDRESS", ""),
        rtp_port=int(variables.get("UNICASTRTP_LOCAL_PORT") or 0),
    )


def _stream_of(channel_id: str) -> UUID:
    """`<call id>.media.<stream id>.<…>`"""
    return UUID(channel_id.split(".")[2])


def _state_change(
    _: AsteriskEvents, __: UUID, event: ari_events.ChannelStateChange
) -> Message | None:
    channel = event.channel
    if is_media_channel(channel.id):
        return None
    at = ari_events.time_of(event.timestamp)
    match channel.state:
        case "Up":
            return messages.ChannelUp(channel_id=channel.id, at=at)
        case "Ringing":
            return messages.ChannelRinging(channel_id=channel.id, at=at)
    return None


def _dtmf(_: AsteriskEvents, __: UUID, event: ari_events.ChannelDtmfReceived) -> Message | None:
    if is_media_channel(event.channel.id):
        return None
    return messages.DigitReceived(
        channel_id=event.channel.id,
        digit=event.digit,
        duration=timedelta(milliseconds=event.duration_ms),
        at=ari_events.time_of(event.timestamp),
    )


def _playback(_: AsteriskEvents, __: UUID, event: ari_events.PlaybackFinished) -> Message:
    playback = event.playback
    return messages.PlaybackFinished(playback_id=playback.id, failed=playback.state != "done")


def _destroyed(_: AsteriskEvents, __: UUID, event: ari_events.ChannelDestroyed) -> Message:
    if is_media_channel(event.channel.id):
        return messages.MediaLegGone(
            stream_id=_stream_of(event.channel.id), channel_id=event.channel.id
        )
    return messages.ChannelGone(
        channel_id=event.channel.id,
        cause=event.cause,
        at=ari_events.time_of(event.timestamp),
    )


_MAPPERS: Mapping[type[Any], Callable[[AsteriskEvents, UUID, Any], Message | None]] = {
    ari_events.StasisStart: _stasis_start,
    ari_events.ChannelStateChange: _state_change,
    ari_events.ChannelDtmfReceived: _dtmf,
    ari_events.PlaybackFinished: _playback,
    ari_events.ChannelDestroyed: _destroyed,
}


def _arguments(arguments: list[str]) -> dict[str, str]:
    """`key=value` strings whose values are percent-encoded."""
    pairs = (argument.partition("=") for argument in arguments)
    return {name: unquote(value) for name, _, value in pairs}
