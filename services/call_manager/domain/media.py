"""External media of a call: audio that goes to an application and comes from it.

    the call's channel ◀─ snoop ─▶ bridge ◀─ external channel ─ RTP ─▶ its owner, a process of media_manager

The snoop hears both ways (`listen`) and whispers (`speak`), so the call itself does not notice. In a channel that
nothing is sent to a whisper would not be heard, so silence is sent there while an application may speak; a
playback ends that silence and it is begun again after it.

A stream that moves to another owner gets another external channel, with the next number, in the same bridge.
"""

from datetime import timedelta
from uuid import UUID

import msgspec

from call_manager.domain.media_stream import Stream
from call_manager.domain.messages import ChannelsSeen, MediaLegGone, MediaLegUp
from call_manager.domain.stray import hang_up_stray
from call_manager.domain.turn import APPLICATION, Turn, floor_of
from evercall.actor.model import (
    Ask,
    CancelTimer,
    Defer,
    Notify,
    Publish,
    Reply,
    ReplyError,
    SetTimer,
)
from evercall.ari import commands
from evercall.contracts.asterisk import AriCommand
from evercall.contracts.call import CallStatus
from evercall.contracts.media import (
    ExternalMedia,
    ExternalMediaLeg,
    ExternalMediaOwnerGone,
    ExternalMediaStart,
    ExternalMediaStop,
    MediaDirection,
    MediaStatus,
    StreamDigit,
)
from evercall.service.errors import Conflict, NotFound, PlatformError, Unavailable

LONGEST_START = timedelta(seconds=5)
"""A leg that is not up by then has failed."""

RESUME_WINDOW = timedelta(seconds=10)
"""For so long a stream waits for a new owner when its owner is gone."""

SNOOP_GRACE = timedelta(seconds=1)
"""When a call ends, its snoops are gone first; a call that is still there by then has lost its snoop alone."""

_SPY = {
    MediaDirection.NONE: commands.Direction.NONE,
    MediaDirection.BOTH: commands.Direction.BOTH,
    MediaDirection.IN: commands.Direction.IN,
    MediaDirection.OUT: commands.Direction.OUT,
}


# -- asked by media_manager ------------------------------------------------------------------------


def start(turn: Turn, request: ExternalMediaStart) -> None:
    """A stream begins, moves, or asks again."""
    try:
        _admit(turn, request)
    except PlatformError as error:
        turn.add(ReplyError(error))
        return
    stream = _streams(turn).get(str(request.id))
    if stream is None:
        _begin(turn, request)
    elif (stream.owner, stream.boot, stream.host) != (request.owner, request.boot, request.host):
        _move(turn, stream, request)
    elif stream.status is MediaStatus.RUNNING:
        _join(turn, stream, *_channels(turn, stream))
        turn.add(Reply(_leg(turn, stream)))
        return
    turn.add(Defer(_waiter(request.id)))


def stop_asked(turn: Turn, request: ExternalMediaStop) -> None:
    """The owner ends its stream."""
    stream = _streams(turn).get(str(request.id))
    if stream is None or (stream.owner, stream.boot) != (request.owner, request.boot):
        turn.add(ReplyError(_no_stream()))
        return
    turn.add(Reply(_stop(turn, stream, request.reason)))


def owner_gone(turn: Turn, message: ExternalMediaOwnerGone) -> None:
    """Streams of that owner wait for a new one."""
    for stream in _streams(turn).values():
        if is_orphaned(stream, message) and stream.status is MediaStatus.RUNNING:
            turn.add(SetTimer(_timer(stream.id), turn.now + RESUME_WINDOW))
            if stream.connect is not None:
                # Nobody will come back by himself: another process is to connect.
                turn.add(Ask(f"media-again.{stream.id}", "media_manager", stream.connect))


def is_orphaned(stream: Stream, message: ExternalMediaOwnerGone) -> bool:
    """Whether nobody serves the stream."""
    return stream.owner == message.owner and stream.boot != message.alive_boot


def _admit(turn: Turn, request: ExternalMediaStart) -> None:
    call, streams = turn.call, _streams(turn)
    if call.customer_id != request.customer_id or call.tm_delete is not None:
        raise NotFound("call_not_found", "There is no such call")
    if call.status is not CallStatus.PROGRESSING:
        raise Conflict(
            "call_not_progressing",
            "Only a call that is up has audio",
            details={"status": call.status.value},
        )
    known = str(request.id) in streams
    if not known and (
        request.resume or (request.from_flow and str(request.id) not in call.connecting)
    ):
        raise _no_stream()
    if not known and len(streams) >= turn.rules.media_streams:
        raise Conflict(
            "media_stream_limit_reached",
            "The call has as many streams as it may have",
            details={"limit": turn.rules.media_streams},
        )


def _begin(turn: Turn, request: ExternalMediaStart) -> None:
    stream = Stream(
        id=request.id,
        owner=request.owner,
        boot=request.boot,
        host=request.host,
        encapsulation=request.encapsulation,
        rate=request.rate,
        listen=request.direction_listen,
        speak=request.direction_speak,
        from_flow=request.from_flow,
        connect=turn.call.connecting.get(str(request.id)),
        tm_create=turn.now,
    )
    _put(turn, stream)
    call, channel = turn.call, turn.leg.channel_id
    if stream.speak:
        _begin_silence(turn)
    snoop = commands.snoop(
        call.id,
        _key("snoop", stream),
        channel,
        _snoop_id(turn, stream),
        app=APPLICATION,
        spy=_SPY[stream.listen],
        whisper=_SPY[stream.speak],
    )
    turn.command(snoop)
    turn.command(commands.create_bridge(call.id, _key("bridge", stream), _bridge_id(turn, stream)))
    _connect(turn, stream)


def _move(turn: Turn, stream: Stream, request: ExternalMediaStart) -> None:
    turn.settle(_key("leg", stream))
    turn.command(_drop_leg(turn, stream))
    moved = msgspec.structs.replace(
        stream,
        owner=request.owner,
        boot=request.boot,
        host=request.host,
        previous_owner=stream.owner,
        status=MediaStatus.STARTING,
        number=stream.number + 1,
        rtp_port=0,
    )
    _put(turn, moved)
    _connect(turn, moved)


def _connect(turn: Turn, stream: Stream) -> None:
    """The external channel."""
    turn.command(
        commands.external_media(
            turn.call.id,
            _key("leg", stream),
            _external_id(turn, stream),
            stream.host,
            app=APPLICATION,
            variables=floor_of(turn.rules),
        )
    )
    turn.add(SetTimer(_timer(stream.id), turn.now + LONGEST_START))


def _join(turn: Turn, stream: Stream, *channels: str) -> None:
    """Into the bridge. A channel that is not in Stasis yet can't be: 422 (seen on 22.10), so each waits for
    its StasisStart. Said again when the owner asks again, because nothing tells that it was done."""
    turn.command_once(
        commands.add_to_bridge(
            turn.call.id, _key("join", stream), _bridge_id(turn, stream), channels
        )
    )


# -- heard from Asterisk ---------------------------------------------------------------------------


def leg_up(turn: Turn, message: MediaLegUp) -> None:
    """A channel of a stream is there; one that nobody wants is hung up. When both are, the stream runs."""
    stream = _streams(turn).get(str(message.stream_id))
    if stream is None or message.channel_id not in _channels(turn, stream):
        turn.add(*hang_up_stray(turn.call.id, message))
        return
    if stream.status is MediaStatus.RUNNING:
        return
    if message.rtp_port:
        stream = msgspec.structs.replace(
            stream, rtp_address=message.rtp_address, rtp_port=message.rtp_port
        )
    else:
        stream = msgspec.structs.replace(stream, snoop_up=True)
    _put(turn, stream)
    _join(turn, stream, message.channel_id)
    if stream.snoop_up and stream.rtp_port:
        _run(turn, msgspec.structs.replace(stream, status=MediaStatus.RUNNING))


def _run(turn: Turn, stream: Stream) -> None:
    _put(turn, stream)
    turn.settle(*_open_keys(stream))
    turn.add(CancelTimer(_timer(stream.id)))
    turn.add(Reply(_leg(turn, stream), key=_waiter(stream.id)))
    if stream.number == 1:
        _publish(turn, "started", _resource(turn, stream))


def leg_gone(turn: Turn, message: MediaLegGone) -> None:
    """A channel of a stream is gone: as we wanted, or not."""
    turn.settle(f"media-drop.{message.channel_id}")
    if message.channel_id.endswith(".snoop"):
        _quieten(turn)
    stream = _streams(turn).get(str(message.stream_id))
    if stream is None:
        turn.settle(f"media-dissolve.{message.stream_id}")
        return
    if message.channel_id == _external_id(turn, stream):
        _fail(turn, stream, "resource_lost")
    elif message.channel_id == _snoop_id(turn, stream):
        _put(turn, msgspec.structs.replace(stream, snoop_up=False))
        turn.add(SetTimer(_timer(stream.id), turn.now + SNOOP_GRACE))


def seen(turn: Turn, message: ChannelsSeen) -> None:
    """After a gap in Asterisk's events: what should be there is looked for, what should not is hung up."""
    wanted: set[str] = set()
    for stream in _streams(turn).values():
        channels = _channels(turn, stream)
        wanted |= set(channels)
        missing = [channel for channel in channels if channel not in message.channels]
        if stream.status is MediaStatus.RUNNING and missing:
            turn.command_once(commands.look_for(turn.call.id, _key("look", stream), missing[0]))
    for channel_id in message.channels:
        if is_media_channel(channel_id) and channel_id not in wanted:
            turn.command_once(_hang_up_stray(turn, channel_id))


def refused(turn: Turn, name: str, place: str, status: int) -> None:
    """Asterisk refused a command of a stream."""
    if name in ("media-drop", "media-dissolve"):
        turn.settle(f"{name}.{place}")
        return
    stream = _streams(turn).get(place.partition(".")[0])
    if stream is None or place != _place(stream):
        return
    if name == "media-bridge" and status == _CONFLICT:
        turn.settle(_key("bridge", stream))
    elif name in ("media-snoop", "media-bridge", "media-join", "media-leg"):
        _fail(turn, stream, "asterisk_refused")
    elif name == "media-look":
        _fail(turn, stream, "resource_lost")


def overdue(turn: Turn, name: str) -> None:
    """The timer of a stream: it did not come up, its snoop is lost, or nobody took it over."""
    stream = _streams(turn).get(name.removeprefix("media."))
    if stream is None:
        return
    if stream.status is MediaStatus.STARTING:
        _fail(turn, stream, "asterisk_unavailable")
    else:
        _fail(turn, stream, "owner_lost" if stream.snoop_up else "resource_lost")


# -- from the call's own life ----------------------------------------------------------------------


def stop_all(turn: Turn, reason: str, *, from_flow_only: bool = False) -> None:
    """Ends the call's streams."""
    turn.change(connecting={})
    for stream in list(_streams(turn).values()):
        if stream.from_flow or not from_flow_only:
            _fail(turn, stream, reason)


def prompt_over(turn: Turn) -> None:
    """A playback has ended the silence: on with it, where an application may speak."""
    if any(stream.speak for stream in _streams(turn).values()):
        _begin_silence(turn)


def digit_heard(turn: Turn, digit: str, duration: timedelta) -> None:
    """Applications hear of keys; one that can't be told misses it."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    for stream in _streams(turn).values():
        told = StreamDigit(id=stream.id, digit=digit, duration_ms=milliseconds)
        turn.add(Notify(f"media_manager.{stream.owner}", told))


def is_media_channel(channel_id: str) -> bool:
    """Whether a channel of a call belongs to one of its streams."""
    return channel_id[36:43] == ".media."


# -- how it is done --------------------------------------------------------------------------------

_CONFLICT = 409


def _streams(turn: Turn) -> dict[str, Stream]:
    return turn.call.media


def _put(turn: Turn, stream: Stream) -> None:
    turn.change(
        media={**turn.call.media, str(stream.id): stream},
        connecting={
            key: each for key, each in turn.call.connecting.items() if key != str(stream.id)
        },
    )


def _fail(turn: Turn, stream: Stream, reason: str) -> None:
    """Ends a stream and tells whoever still waits for its beginning."""
    _stop(turn, stream, reason)
    error = Unavailable("asterisk_unavailable", "The audio of the call can't be had now")
    turn.add(ReplyError(error, key=_waiter(stream.id)))


def _stop(turn: Turn, stream: Stream, reason: str) -> ExternalMedia:
    stopped = msgspec.structs.replace(stream, status=MediaStatus.STOPPED)
    resource = _resource(turn, stopped, reason)
    turn.settle(*_open_keys(stream), f"media-again.{stream.id}")
    turn.add(CancelTimer(_timer(stream.id)))
    turn.change(media={key: each for key, each in turn.call.media.items() if each is not stream})
    call_id, bridge_id = turn.call.id, _bridge_id(turn, stream)
    # A snoop goes when the call's channel next carries a frame (ast_audiohook_detach waits for one): with a far
    # end that sends nothing it would stay. So there is silence until it is gone.
    _begin_silence(turn)
    turn.command(commands.destroy_bridge(call_id, f"media-dissolve.{stream.id}", bridge_id))
    turn.command(_drop_leg(turn, stream))
    turn.command(_drop(turn, _snoop_id(turn, stream)))
    _publish(turn, "stopped", resource)
    return resource


def _begin_silence(turn: Turn) -> None:
    turn.command_once(commands.start_silence(turn.call.id, "media-silence", turn.leg.channel_id))


def _quieten(turn: Turn) -> None:
    """No silence any more, unless an application may speak into it."""
    if turn.call.status is CallStatus.PROGRESSING and not any(
        stream.speak for stream in _streams(turn).values()
    ):
        turn.command_once(commands.stop_silence(turn.call.id, "media-silence", turn.leg.channel_id))


def _drop_leg(turn: Turn, stream: Stream) -> AriCommand:
    return _drop(turn, _external_id(turn, stream))


def _drop(turn: Turn, channel_id: str) -> AriCommand:
    return commands.hangup(turn.call.id, f"media-drop.{channel_id}", channel_id)


def _hang_up_stray(turn: Turn, channel_id: str) -> AriCommand:
    return commands.hangup(turn.call.id, "stray", channel_id)


def _leg(turn: Turn, stream: Stream) -> ExternalMediaLeg:
    return ExternalMediaLeg(
        media=_resource(turn, stream),
        rtp_address=stream.rtp_address,
        rtp_port=stream.rtp_port,
        previous_owner=stream.previous_owner,
    )


def _resource(turn: Turn, stream: Stream, reason: str = "") -> ExternalMedia:
    call = turn.call
    if call.customer_id is None:
        raise AssertionError("a call without a customer has no streams")
    return ExternalMedia(
        id=stream.id,
        customer_id=call.customer_id,
        reference_id=call.id,
        status=stream.status,
        encapsulation=stream.encapsulation,
        rate=stream.rate,
        direction_listen=stream.listen,
        direction_speak=stream.speak,
        reason=reason,
        tm_create=stream.tm_create,
        tm_update=turn.now,
    )


def _publish(turn: Turn, event: str, resource: ExternalMedia) -> None:
    turn.add(Publish("external_media", event, resource.customer_id, resource))


def _no_stream() -> NotFound:
    return NotFound("media_stream_not_found", "There is no such stream any more")


# -- names -----------------------------------------------------------------------------------------


def _bridge_id(turn: Turn, stream: Stream) -> str:
    return f"{turn.call.id}.media.{stream.id}"


def _snoop_id(turn: Turn, stream: Stream) -> str:
    return f"{_bridge_id(turn, stream)}.snoop"


def _external_id(turn: Turn, stream: Stream) -> str:
    return f"{_bridge_id(turn, stream)}.{stream.number}"


def _channels(turn: Turn, stream: Stream) -> tuple[str, str]:
    return _snoop_id(turn, stream), _external_id(turn, stream)


def _place(stream: Stream) -> str:
    return f"{stream.id}.{stream.number}"


def _key(name: str, stream: Stream) -> str:
    return f"media-{name}.{_place(stream)}"


def _open_keys(stream: Stream) -> list[str]:
    """What Asterisk may have been told and not have done."""
    return [f"media-snoop.{stream.id}.1", f"media-bridge.{stream.id}.1", _key("leg", stream)]


def _waiter(stream_id: UUID) -> str:
    return f"media-waiter.{stream_id}"


def _timer(stream_id: UUID) -> str:
    return f"media.{stream_id}"
