"""The pure function of the call actor: one message in, the new state and the effects out.

decide ── no call yet ────────────▶ incoming.enter, outgoing.create, stray
       ── its route is unknown ───▶ incoming.look_for_route
       ── a call ─▶ triggers ─▶ TRANSITIONS ─▶ the trigger's handler in _HANDLERS
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from call_manager.domain import (
    answering,
    ending,
    flow,
    incoming,
    loss,
    media,
    outgoing,
    refusal,
    resync,
    run,
)
from call_manager.domain.call import CallState, to_resource
from call_manager.domain.digits import Key
from call_manager.domain.messages import (
    ChannelGone,
    ChannelRinging,
    ChannelsSeen,
    ChannelUp,
    DigitReceived,
    MediaLegGone,
    MediaLegUp,
    PlaybackFinished,
    StasisStarted,
)
from call_manager.domain.ports import PreparedAudio
from call_manager.domain.stray import hang_up_all, hang_up_stray, is_young
from call_manager.domain.transitions import TRANSITIONS, Outcome, Trigger
from call_manager.domain.triggers import trigger_of
from call_manager.domain.turn import Rules, Turn
from evercall.actor.model import (
    Answered,
    Decision,
    Effect,
    Failed,
    Reply,
    ReplyError,
    TimerFired,
)
from evercall.contracts.asterisk import AsteriskLost
from evercall.contracts.base import Message
from evercall.contracts.call import (
    CallCreate,
    CallDelete,
    CallFlowStopped,
    CallHangup,
    CallStatus,
    Direction,
    HangupReason,
)
from evercall.contracts.media import (
    ExternalMediaOwnerGone,
    ExternalMediaStart,
    ExternalMediaStop,
)
from evercall.service.errors import Conflict, NotFound


def decide(
    rules: Rules, state: CallState | None, message: Message, now: datetime
) -> Decision[CallState]:
    """See the module's docstring."""
    if state is None:
        return _decide_without_call(rules, message, now)
    turn = Turn(rules, state, now)
    if state.customer_id is None and state.status is not CallStatus.HANGUP:
        if isinstance(message, ExternalMediaStart | ExternalMediaStop):
            return Decision(state, (ReplyError(_not_found()),))
        incoming.look_for_route(turn, message)
        return turn.decision()
    if isinstance(message, CallHangup | CallDelete) and not _may_see(state, message):
        return Decision(state, (ReplyError(_not_found()),))
    if _is_of_another_channel(state, message):
        return Decision(state, _hang_up_orphan(state, message))
    trigger = trigger_of(state, message)
    outcome = TRANSITIONS[state.status][trigger]
    if outcome is Outcome.IGNORED:
        return Decision(state)
    if outcome is Outcome.ILLEGAL:
        return Decision(state, (ReplyError(_already_over()),))
    _HANDLERS[trigger](turn, message)
    return turn.decision()


def _decide_without_call(rules: Rules, message: Message, now: datetime) -> Decision[CallState]:
    match message:
        case StasisStarted():
            return incoming.enter(message, now)
        case CallCreate():
            return outgoing.create(rules, message, now)
        case CallHangup() | CallDelete() | ExternalMediaStart() | ExternalMediaStop():
            return Decision(None, (ReplyError(_not_found()),))
        case MediaLegUp():
            return Decision(None, hang_up_stray(UUID(message.channel_id[:36]), message))
        case ChannelsSeen() if not is_young(message.call_id, now):
            return Decision(None, hang_up_all(message))
        case _:
            return Decision(None)


def _may_see(state: CallState, request: CallHangup | CallDelete) -> bool:
    return state.customer_id == request.customer_id and state.tm_delete is None


def _is_of_another_channel(state: CallState, message: Message) -> bool:
    if isinstance(message, StasisStarted) and state.status is CallStatus.HANGUP:
        return False
    if not isinstance(message, _FROM_CHANNELS):
        return False
    return state.leg is None or state.leg.channel_id != message.channel_id


def _hang_up_orphan(state: CallState, message: Message) -> tuple[Effect, ...]:
    """A channel that entered Stasis for a call that has another one by now."""
    if not isinstance(message, StasisStarted):
        return ()
    return hang_up_stray(state.id, message)


_FROM_CHANNELS = StasisStarted | ChannelRinging | ChannelUp | DigitReceived | ChannelGone


def _not_found() -> NotFound:
    return NotFound("call_not_found", "There is no such call")


def _already_over() -> Conflict:
    return Conflict("call_already_hangup", "The call is over")


# -- handlers --------------------------------------------------------------------------------------


def _entered(turn: Turn, message: StasisStarted) -> None:
    turn.add(*hang_up_stray(turn.call.id, message))


def _rang(turn: Turn, message: ChannelRinging) -> None:
    if turn.call.status is CallStatus.HANGUP:
        turn.add(*hang_up_stray(turn.call.id, turn.leg))
        return
    outgoing.rang(turn, message.at)


def _answered(turn: Turn, message: StasisStarted | ChannelUp) -> None:
    if turn.call.status is CallStatus.HANGUP:
        channel = message if isinstance(message, StasisStarted) else turn.leg
        turn.add(*hang_up_stray(turn.call.id, channel))
        return
    if isinstance(message, StasisStarted):
        turn.change_leg(asterisk_id=message.asterisk_id, boot_id=message.boot_id)
    answering.answered(turn, message.at)


def _digit(turn: Turn, message: DigitReceived) -> None:
    run.hear_digit(turn, Key(message.digit, message.at), message.duration)


def _played(turn: Turn, message: PlaybackFinished) -> None:
    run.playback_finished(turn, message.playback_id, failed=message.failed)


def _gone(turn: Turn, message: ChannelGone) -> None:
    ending.finish(turn, Trigger.GONE, cause=message.cause, at=message.at)


def _seen(turn: Turn, message: ChannelsSeen) -> None:
    if turn.call.status is CallStatus.HANGUP:
        turn.add(*hang_up_all(message))
        return
    resync.seen(turn, message)


def _asterisk_lost(turn: Turn, message: AsteriskLost) -> None:
    loss.told(turn, message)


def _create_asked(turn: Turn, _message: CallCreate) -> None:
    turn.add(Reply(to_resource(turn.call)))


def _hangup_asked(turn: Turn, _message: CallHangup) -> None:
    _end_on_request(turn)
    turn.add(Reply(to_resource(turn.call)))


def _delete_asked(turn: Turn, _message: CallDelete) -> None:
    turn.change(tm_delete=turn.now)
    if turn.call.status is not CallStatus.HANGUP:
        _end_on_request(turn)
    turn.publish("deleted")
    turn.add(Reply(to_resource(turn.call)))


def _end_on_request(turn: Turn) -> None:
    call = turn.call
    unanswered = call.direction is Direction.OUTGOING and call.status is not CallStatus.PROGRESSING
    ending.hang_up(turn, HangupReason.CANCEL if unanswered else HangupReason.NORMAL)


def _flow_stopped(turn: Turn, message: CallFlowStopped) -> None:
    if message.activeflow_id == turn.call.activeflow_id:
        ending.hang_up(turn, HangupReason.NORMAL)


def _media_start_asked(turn: Turn, message: ExternalMediaStart) -> None:
    media.start(turn, message)


def _media_stop_asked(turn: Turn, message: ExternalMediaStop) -> None:
    media.stop_asked(turn, message)


def _media_owner_gone(turn: Turn, message: ExternalMediaOwnerGone) -> None:
    media.owner_gone(turn, message)


def _media_leg_up(turn: Turn, message: MediaLegUp) -> None:
    media.leg_up(turn, message)


def _media_leg_gone(turn: Turn, message: MediaLegGone) -> None:
    media.leg_gone(turn, message)


def _media_settled(turn: Turn, message: Answered | Failed) -> None:
    run.media_settled(turn, message.key)


def _media_due(turn: Turn, message: TimerFired) -> None:
    media.overdue(turn, message.name)


def _asterisk_chosen(turn: Turn, message: Answered) -> None:
    outgoing.dial(turn, message.body)


def _no_asterisk(turn: Turn, _message: Failed) -> None:
    ending.finish(turn, Trigger.NO_ASTERISK)


def _run_given(turn: Turn, message: Answered) -> None:
    if run.waits_for_run(turn.call, message.key):
        run.take_run(turn, message.body)


def _run_refused(turn: Turn, message: Failed) -> None:
    if run.waits_for_run(turn.call, message.key):
        flow.run_refused(turn, message.error)


def _audio_settled(turn: Turn, message: Answered | Failed) -> None:
    audio: PreparedAudio | None = message.body if isinstance(message, Answered) else None
    run.audio_settled(turn, message.key, audio)


def _dial_overdue(turn: Turn, _message: TimerFired) -> None:
    ending.hang_up(turn, HangupReason.NOANSWER)


def _duration_over(turn: Turn, _message: TimerFired) -> None:
    ending.hang_up(turn, HangupReason.TIMEOUT)


def _action_due(turn: Turn, _message: TimerFired) -> None:
    run.action_due(turn)


def _ask_due(turn: Turn, _message: TimerFired) -> None:
    flow.ask_again(turn)


def _gone_overdue(turn: Turn, _message: TimerFired) -> None:
    ending.finish(turn, Trigger.GONE_OVERDUE)


_HANDLERS: Mapping[Trigger, Callable[[Turn, Any], None]] = {
    Trigger.ENTERED: _entered,
    Trigger.RANG: _rang,
    Trigger.ANSWERED: _answered,
    Trigger.DIGIT: _digit,
    Trigger.PLAYED: _played,
    Trigger.GONE: _gone,
    Trigger.MEDIA_LEG_UP: _media_leg_up,
    Trigger.MEDIA_LEG_GONE: _media_leg_gone,
    Trigger.REFUSED: refusal.refused,
    Trigger.SEEN: _seen,
    Trigger.ASTERISK_LOST: _asterisk_lost,
    Trigger.CREATE_ASKED: _create_asked,
    Trigger.HANGUP_ASKED: _hangup_asked,
    Trigger.DELETE_ASKED: _delete_asked,
    Trigger.FLOW_STOPPED: _flow_stopped,
    Trigger.MEDIA_START_ASKED: _media_start_asked,
    Trigger.MEDIA_STOP_ASKED: _media_stop_asked,
    Trigger.MEDIA_OWNER_GONE: _media_owner_gone,
    Trigger.ASTERISK_CHOSEN: _asterisk_chosen,
    Trigger.NO_ASTERISK: _no_asterisk,
    Trigger.RUN_GIVEN: _run_given,
    Trigger.RUN_REFUSED: _run_refused,
    Trigger.AUDIO_SETTLED: _audio_settled,
    Trigger.MEDIA_SETTLED: _media_settled,
    Trigger.DIAL_OVERDUE: _dial_overdue,
    Trigger.DURATION_OVER: _duration_over,
    Trigger.ACTION_DUE: _action_due,
    Trigger.ASK_DUE: _ask_due,
    Trigger.GONE_OVERDUE: _gone_overdue,
    Trigger.MEDIA_DUE: _media_due,
}
