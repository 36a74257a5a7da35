"""How a call ends: by us (`hang_up`, then `finish` when the channel is gone) or by itself (`finish`).

`finish` is the only way into `hangup`. It releases everything that the call may have opened.
"""

from datetime import datetime

from call_manager.domain import media
from call_manager.domain.call import Work
from call_manager.domain.causes import CAUSES, UNKNOWN, phase_of, reason_of
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Timer, Turn
from evercall.actor.model import Tell
from evercall.ari import commands
from evercall.contracts.call import CallStatus, Direction, HangupBy, HangupReason
from evercall.contracts.flow import ActiveflowReferenceEnded

ENDING = frozenset({CallStatus.TERMINATING, CallStatus.CANCELING})


def hang_up(turn: Turn, reason: HangupReason) -> None:
    """Starts to end a live call from our side. Harmless when that has begun already."""
    call = turn.call
    if call.status in ENDING:
        return
    if call.leg is None:
        # Nothing was dialed yet: the answer of the port `farm` is still out.
        turn.change(ending=reason)
        turn.move(Trigger.GIVEN_UP)
        finish(turn, Trigger.GONE)
        return
    unanswered = call.direction is Direction.OUTGOING and call.status is not CallStatus.PROGRESSING
    turn.change(ending=reason)
    turn.move(Trigger.GIVEN_UP if unanswered else Trigger.ENDED)
    media.stop_all(turn, "call_ended")
    turn.settle(*_open_keys(turn))
    turn.cancel_timers(Timer.DIAL, Timer.DURATION, Timer.ACTION, Timer.ASK)
    repeat_hangup(turn)
    # Nothing has to be heard for that: by then Asterisk has ended the channel by itself.
    turn.set_timer(Timer.GONE, turn.rules.floor)


def repeat_hangup(turn: Turn) -> None:
    """Tells Asterisk to hang up, with the cause of the reason that was decided on."""
    cause = CAUSES[turn.call.ending or HangupReason.NORMAL]
    turn.command(commands.hangup(turn.call.id, "hangup", turn.leg.channel_id, cause))


def finish(
    turn: Turn, trigger: Trigger, *, cause: int = UNKNOWN, at: datetime | None = None
) -> None:
    """The call is over.

    Args:
        turn: the turn.
        trigger: why; `TRANSITIONS` moves the call to `hangup` for it.
        cause: Q.850, as Asterisk gave it; counts where we did not decide on a reason ourselves.
        at: when, if that is known better than now.
    """
    call = turn.call
    by_us = call.ending is not None or trigger in (Trigger.LOST, Trigger.NO_ASTERISK)
    reason = call.ending or _reason(turn, trigger, cause)
    media.stop_all(turn, "call_ended")
    turn.settle(*_open_keys(turn), "hangup")
    turn.cancel_timers(*Timer)
    turn.move(trigger)
    _release_flow(turn)
    turn.change(
        hangup_by=HangupBy.LOCAL if by_us else HangupBy.REMOTE,
        hangup_reason=reason,
        tm_hangup=turn.not_later(at or turn.now),
        work=None,
        digits="",
        last_key=None,
        variables={},
    )
    turn.publish("hangup")


def _reason(turn: Turn, trigger: Trigger, cause: int) -> HangupReason:
    if trigger is Trigger.LOST:
        return HangupReason.LOST
    if trigger is Trigger.NO_ASTERISK:
        return HangupReason.FAILED
    return reason_of(phase_of(turn.call.status, turn.call.direction), cause)


def _release_flow(turn: Turn) -> None:
    call = turn.call
    if call.activeflow_id is None:
        return
    work = call.work or Work()
    ended = ActiveflowReferenceEnded(
        activeflow_id=call.activeflow_id, sequence=work.sequence, executed=work.begun
    )
    turn.add(Tell("flow_manager", call.activeflow_id, ended))


def _open_keys(turn: Turn) -> list[str]:
    """All that may be waiting for a confirmation or an answer, save the hangup itself."""
    call = turn.call
    keys = ["answer"] if call.direction is Direction.INCOMING else ["asterisk", "create"]
    if call.work is not None:
        keys += [call.work.run_key, call.work.prompt_key, call.work.media_key]
        keys += open_prompts(call.work)
    return keys


def open_prompts(work: Work) -> list[str]:
    """The keys under which the port `audio` was asked and has not answered yet."""
    return [
        f"audio.{work.sequence}-{position}"
        for position, action in enumerate(work.actions)
        if position not in work.audio and is_prompt(action.type)
    ]


def is_prompt(action_type: str) -> bool:
    """Whether the action needs the port `audio`."""
    return action_type in ("play", "talk")
