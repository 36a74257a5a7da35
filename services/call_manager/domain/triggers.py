"""Names what a call hears: from a message to the `Trigger` that the table knows."""

from collections.abc import Mapping

from call_manager.domain.call import CallState
from call_manager.domain.messages import (
    ChannelGone,
    ChannelRinging,
    ChannelsSeen,
    ChannelUp,
    CommandRefused,
    DigitReceived,
    MediaLegGone,
    MediaLegUp,
    PlaybackFinished,
    StasisStarted,
)
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Timer
from evercall.actor.model import Answered, Failed, TimerFired
from evercall.contracts.asterisk import AsteriskLost
from evercall.contracts.base import Message
from evercall.contracts.call import (
    CallCreate,
    CallDelete,
    CallFlowStopped,
    CallHangup,
    Direction,
)
from evercall.contracts.media import (
    ExternalMediaOwnerGone,
    ExternalMediaStart,
    ExternalMediaStop,
)


def trigger_of(state: CallState, message: Message) -> Trigger:
    """Names what has happened.

    Raises:
        ValueError: no call understands such a message.
    """
    match message:
        case StasisStarted():
            outgoing_leg = state.direction is Direction.OUTGOING
            return Trigger.ANSWERED if outgoing_leg else Trigger.ENTERED
        case ChannelUp():
            incoming_leg = state.direction is Direction.INCOMING
            return Trigger.ANSWERED if incoming_leg else Trigger.PICKED_UP
        case Answered(key=key):
            return _ANSWERED[key.partition(".")[0]]
        case Failed(key=key):
            return _FAILED[key.partition(".")[0]]
        case TimerFired(name=name):
            return Trigger.MEDIA_DUE if name.startswith("media.") else _TIMERS[Timer(name)]
    try:
        return _MESSAGES[type(message)]
    except KeyError:
        raise ValueError(f"a call does not understand {type(message).__name__}") from None


_MESSAGES: Mapping[type[Message], Trigger] = {
    ChannelRinging: Trigger.RANG,
    DigitReceived: Trigger.DIGIT,
    PlaybackFinished: Trigger.PLAYED,
    ChannelGone: Trigger.GONE,
    MediaLegUp: Trigger.MEDIA_LEG_UP,
    MediaLegGone: Trigger.MEDIA_LEG_GONE,
    CommandRefused: Trigger.REFUSED,
    AsteriskLost: Trigger.ASTERISK_LOST,
    ChannelsSeen: Trigger.SEEN,
    CallCreate: Trigger.CREATE_ASKED,
    CallHangup: Trigger.HANGUP_ASKED,
    CallDelete: Trigger.DELETE_ASKED,
    CallFlowStopped: Trigger.FLOW_STOPPED,
    ExternalMediaStart: Trigger.MEDIA_START_ASKED,
    ExternalMediaStop: Trigger.MEDIA_STOP_ASKED,
    ExternalMediaOwnerGone: Trigger.MEDIA_OWNER_GONE,
}

_ANSWERED: Mapping[str, Trigger] = {
    "route": Trigger.ROUTE_SETTLED,
    "asterisk": Trigger.ASTERISK_CHOSEN,
    "run": Trigger.RUN_GIVEN,
    "audio": Trigger.AUDIO_SETTLED,
    "media": Trigger.MEDIA_SETTLED,
    "media-again": Trigger.MEDIA_SETTLED,
}

_FAILED: Mapping[str, Trigger] = {
    "route": Trigger.ROUTE_SETTLED,
    "asterisk": Trigger.NO_ASTERISK,
    "run": Trigger.RUN_REFUSED,
    "audio": Trigger.AUDIO_SETTLED,
    "media": Trigger.MEDIA_SETTLED,
    "media-again": Trigger.MEDIA_SETTLED,
}

_TIMERS: Mapping[Timer, Trigger] = {
    Timer.DIAL: Trigger.DIAL_OVERDUE,
    Timer.DURATION: Trigger.DURATION_OVER,
    Timer.ACTION: Trigger.ACTION_DUE,
    Timer.ASK: Trigger.ASK_DUE,
    Timer.GONE: Trigger.GONE_OVERDUE,
}
