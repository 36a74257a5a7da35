"""Builders of the ARI commands that the control plane gives, as pure data.

Every builder takes `actor` (whose command it is) and `key` (its name within that actor) first and
returns one `AriCommand`. Nothing is sent here. Paths and parameters are those of Asterisk 22's
`rest-api/channels.json`, `bridges.json` and `playbacks.json`
(https://docs.asterisk.org/Latest_API/API_Documentation/Asterisk_REST_Interface/).

A command may be carried out twice (its sender was killed before it heard the outcome), so ids of
channels, bridges and playbacks are always chosen by the caller: `<actor id>.<suffix>`. What
Asterisk 22.10 then answers to the repetition stands at each builder. "Again: once" marks those that
it would do twice or misunderstand: asterisk_proxy gives it the first and no other with the same actor,
key and URI, unless the first was refused.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any
from urllib.parse import quote
from uuid import UUID

from evercall.contracts.asterisk import AriCommand

# ARI gives a value of -1 the meaning "no limit"; the caller has timers of its own.
NO_TIMEOUT = -1


class Cause(IntEnum):
    """Q.850 hangup causes. chan_pjsip makes of them the SIP status beside each, when the channel
    was not answered yet; an answered one gets a BYE."""

    UNALLOCATED = 1  # 404 Not Found
    NORMAL_CLEARING = 16  # 603 Decline
    USER_BUSY = 17  # 486 Busy Here
    NO_USER_RESPONSE = 18  # 408 Request Timeout
    NO_ANSWER = 19  # 480 Temporarily Unavailable
    CALL_REJECTED = 21  # 403 Forbidden
    DESTINATION_OUT_OF_ORDER = 27  # 502 Bad Gateway
    INVALID_NUMBER_FORMAT = 28  # 484 Address Incomplete
    CONGESTION = 34  # 503 Service Unavailable
    INTERWORKING = 127  # 500 Server Internal Error


class Direction(StrEnum):
    """Of the audio that a snoop channel hears or speaks, seen from the snooped channel."""

    NONE = "none"
    BOTH = "both"
    IN = "in"
    OUT = "out"


def _command(
    actor: UUID,
    key: str,
    method: str,
    path: Sequence[str],
    query: Mapping[str, str] | None = None,
    body: dict[str, Any] | None = None,
) -> AriCommand:
    uri = "/".join(quote(part, safe="") for part in path)
    return AriCommand(
        actor=actor, key=key, method=method, uri=uri, query=dict(query or {}), body=body
    )


def _set_only(**values: str | int | None) -> dict[str, str]:
    """Query parameters without those that were left out. A trailing `_` of a name is dropped."""
    return {name.rstrip("_"): str(value) for name, value in values.items() if value is not None}


def _variables(variables: Mapping[str, str] | None) -> dict[str, Any] | None:
    return {"variables": dict(variables)} if variables else None


def answer(actor: UUID, key: str, channel_id: str) -> AriCommand:
    """Answers the channel. Again: 204, nothing happens."""
    return _command(actor, key, "POST", ("channels", channel_id, "answer"))


def ring(actor: UUID, key: str, channel_id: str) -> AriCommand:
    """Indicates ringing (180) to the calling side. Again: 204."""
    return _command(actor, key, "POST", ("channels", channel_id, "ring"))


def progress(actor: UUID, key: str, channel_id: str) -> AriCommand:
    """Indicates early media (183) to the calling side. Again: 204."""
    return _command(actor, key, "POST", ("channels", channel_id, "progress"))


def hangup(
    actor: UUID, key: str, channel_id: str, cause: Cause = Cause.NORMAL_CLEARING
) -> AriCommand:
    """Ends the channel with a Q.850 cause. Again, or too late: 404."""
    query = {"reason_code": str(int(cause))}
    return _command(actor, key, "DELETE", ("channels", channel_id), query)


def continue_in_dialplan(
    actor: UUID, key: str, channel_id: str, context: str, extension: str = "s", priority: int = 1
) -> AriCommand:
    """Lets the channel leave Stasis for a dialplan context; `StasisEnd` follows. Again: 409."""
    query = {"context": context, "extension": extension, "priority": str(priority)}
    return _command(actor, key, "POST", ("channels", channel_id, "continue"), query)


def originate(
    actor: UUID,
    key: str,
    channel_id: str,
    endpoint: str,
    *,
    app: str,
    app_args: str = "",
    caller_id: str | None = None,
    timeout: int = NO_TIMEOUT,
    formats: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> AriCommand:
    """Creates and dials a channel that enters Stasis when it is answered. Again: 409.

    Args:
        actor: whose command it is.
        key: its name within that actor.
        channel_id: the id of the new channel.
        endpoint: for example `PJSIP/kamailio/sip:bob@example.com`.
        app: Stasis application, told of the channel's events from its creation on.
        app_args: arguments of `StasisStart`, comma-separated.
        caller_id: `"Name" <number>`.
        timeout: seconds until Asterisk gives up dialing.
        formats: for example `ulaw`.
        variables: set at creation: `CALL_ID`, and functions such as `PJSIP_HEADER(add,X-Name)`.
    """
    query = {"endpoint": endpoint, "app": app, "timeout": str(timeout)}
    query |= _set_only(appArgs=app_args or None, callerId=caller_id, formats=formats)
    return _command(actor, key, "POST", ("channels", channel_id), query, _variables(variables))


def create(
    actor: UUID,
    key: str,
    channel_id: str,
    endpoint: str,
    *,
    app: str,
    app_args: str = "",
    formats: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> AriCommand:
    """Creates a channel that is in Stasis before it is dialed: `dial` follows. Again: 409."""
    query = {"endpoint": endpoint, "app": app, "channelId": channel_id}
    query |= _set_only(appArgs=app_args or None, formats=formats)
    return _command(actor, key, "POST", ("channels", "create"), query, _variables(variables))


def dial(
    actor: UUID,
    key: str,
    channel_id: str,
    *,
    timeout: int = NO_TIMEOUT,
    caller: str | None = None,
) -> AriCommand:
    """Dials a channel made by `create`. `caller` is the id of the calling channel. Again: once."""
    query = {"timeout": str(timeout)} | _set_only(caller=caller)
    return _command(actor, key, "POST", ("channels", channel_id, "dial"), query)


def play(
    actor: UUID,
    key: str,
    channel_id: str,
    playback_id: str,
    media: Sequence[str],
    *,
    offset_ms: int = 0,
    language: str | None = None,
) -> AriCommand:
    """Plays media URIs one after the other (`sound:http://…`, `tone:ring`, `digits:12`).

    One `PlaybackFinished` follows the last. `offset_ms` skips the beginning of the first. Again: once.
    """
    if any("," in uri for uri in media):
        raise ValueError("a media URI must not hold a comma: ARI separates a list with it")
    query = {"media": ",".join(media)}
    query |= _set_only(offsetms=offset_ms or None, lang=language)
    return _command(actor, key, "POST", ("channels", channel_id, "play", playback_id), query)


def stop_playback(actor: UUID, key: str, playback_id: str) -> AriCommand:
    """Stops a playback and what it has still queued. Again, or too late: 404."""
    return _command(actor, key, "DELETE", ("playbacks", playback_id))


def send_dtmf(
    actor: UUID,
    key: str,
    channel_id: str,
    digits: str,
    *,
    duration_ms: int | None = None,
    between_ms: int | None = None,
) -> AriCommand:
    """Sends digits to the far end. Again: they are sent again."""
    query = {"dtmf": digits} | _set_only(duration=duration_ms, between=between_ms)
    return _command(actor, key, "POST", ("channels", channel_id, "dtmf"), query)


def look_for(actor: UUID, key: str, channel_id: str) -> AriCommand:
    """Asks for a channel. Only a refusal is heard of: 404 proves that it is gone."""
    return _command(actor, key, "GET", ("channels", channel_id))


def start_silence(actor: UUID, key: str, channel_id: str) -> AriCommand:
    """Sends silence to the far end, so that there is something to whisper into. Again: 204.

    A playback ends it for good.
    """
    return _command(actor, key, "POST", ("channels", channel_id, "silence"))


def stop_silence(actor: UUID, key: str, channel_id: str) -> AriCommand:
    """Ends the silence. Again: 204."""
    return _command(actor, key, "DELETE", ("channels", channel_id, "silence"))


def set_variable(actor: UUID, key: str, channel_id: str, name: str, value: str) -> AriCommand:
    """Sets a channel variable or dialplan function, for example `PJSIP_HEADER(add,X-Name)`."""
    query = {"variable": name, "value": value}
    return _command(actor, key, "POST", ("channels", channel_id, "variable"), query)


def snoop(
    actor: UUID,
    key: str,
    channel_id: str,
    snoop_id: str,
    *,
    app: str,
    app_args: str = "",
    spy: Direction = Direction.BOTH,
    whisper: Direction = Direction.NONE,
) -> AriCommand:
    """Makes a channel that hears or speaks into another; it enters Stasis. Again: once."""
    query = {"app": app, "spy": spy.value, "whisper": whisper.value}
    query |= _set_only(appArgs=app_args or None)
    return _command(actor, key, "POST", ("channels", channel_id, "snoop", snoop_id), query)


def external_media(
    actor: UUID,
    key: str,
    channel_id: str,
    host: str,
    *,
    app: str,
    audio_format: str = "ulaw",
    variables: Mapping[str, str] | None = None,
) -> AriCommand:
    """Makes a channel whose audio is RTP to and from `host` (`address:port`). Again: once."""
    query = {
        "channelId": channel_id,
        "app": app,
        "external_host": host,
        "format": audio_format,
        "encapsulation": "rtp",
        "transport": "udp",
        "connection_type": "client",
        "direction": "both",
    }
    return _command(actor, key, "POST", ("channels", "externalMedia"), query, _variables(variables))


def create_bridge(
    actor: UUID, key: str, bridge_id: str, *, attributes: str = "mixing", name: str | None = None
) -> AriCommand:
    """Makes a bridge; `attributes` such as `mixing,dtmf_events`. Again: 409."""
    query = {"type": attributes} | _set_only(name=name)
    return _command(actor, key, "POST", ("bridges", bridge_id), query)


def add_to_bridge(
    actor: UUID, key: str, bridge_id: str, channel_ids: Sequence[str], *, mute: bool = False
) -> AriCommand:
    """Puts channels that are in Stasis into a bridge. Again: 204."""
    query = {"channel": ",".join(channel_ids)} | ({"mute": "true"} if mute else {})
    return _command(actor, key, "POST", ("bridges", bridge_id, "addChannel"), query)


def remove_from_bridge(
    actor: UUID, key: str, bridge_id: str, channel_ids: Sequence[str]
) -> AriCommand:
    """Takes channels out of a bridge. Again: 422, they are not in it."""
    query = {"channel": ",".join(channel_ids)}
    return _command(actor, key, "POST", ("bridges", bridge_id, "removeChannel"), query)


def destroy_bridge(actor: UUID, key: str, bridge_id: str) -> AriCommand:
    """Destroys a bridge; its channels stay in Stasis. Again: 404; 409 while it goes."""
    return _command(actor, key, "DELETE", ("bridges", bridge_id))
