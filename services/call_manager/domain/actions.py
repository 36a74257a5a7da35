"""How each action begins.

A beginning returns whether its action is done already. One that is not has said in `Work.waiting` what it
waits for.

Before the answer of an incoming call a prompt is played as early media: Asterisk sends 183 by itself
when it plays on a channel that is not up. A `sleep` before the answer lets the caller hear ringing (180).
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from call_manager.domain import media
from call_manager.domain.call import CallState, Waiting, Work
from call_manager.domain.digits import collect_for
from call_manager.domain.ending import hang_up
from call_manager.domain.turn import Timer, Turn
from evercall.actor.model import Ask
from evercall.ari import commands
from evercall.contracts.call import Direction, HangupReason
from evercall.contracts.flow import RunAction
from evercall.contracts.ids import derived_id
from evercall.contracts.media import MediaConnect, MediaDirection

MEDIA_PATIENCE = timedelta(seconds=5)
"""After that a flow goes on without the stream that it wanted."""

PLAYBACK_MARGIN = timedelta(seconds=5)
"""A prompt whose end nobody reports (Asterisk's events were cut off) counts as over this long after it
should have ended."""


def begin(turn: Turn, action: RunAction) -> bool:
    """Begins an action. One of a type that nobody here knows is skipped."""
    return _BEGINNINGS.get(action.type, _skip)(turn, action)


def take_digits(turn: Turn, action: RunAction) -> bool:
    """Gives a `digits_receive` what was typed, if that is all that it wants."""
    digits, rest, complete = collect_for(action, turn.call.digits)
    if complete:
        turn.change_work(digits=digits)
        turn.change(digits=rest)
    return complete


def repeat_answer(turn: Turn) -> None:
    """Tells Asterisk to answer."""
    turn.command(commands.answer(turn.call.id, "answer", turn.leg.channel_id))


def stop_prompt(turn: Turn) -> None:
    """Breaks the current prompt off, even one that Asterisk has yet to begin."""
    key = f"stop.{turn.work.place}"
    turn.command_once(commands.stop_playback(turn.call.id, key, playback_id(turn.call, turn.work)))


def yields_to_digits(work: Work) -> bool:
    """Whether a digit interrupts the current prompt."""
    action, following = work.current, work.following
    if following is not None and following.type == "digits_receive":
        return True
    return action is not None and action.option.get("digits_handle") == "next"


def playback_id(call: CallState, work: Work) -> str:
    """The id of the current action's playback: unique, because runs are numbered."""
    return f"{call.id}.{work.place}"


def _skip(_turn: Turn, _action: RunAction) -> bool:
    return True


def _answer(turn: Turn, _action: RunAction) -> bool:
    leg = turn.leg
    if turn.call.direction is Direction.INCOMING and not leg.up and not leg.answering:
        turn.change_leg(answering=True)
        repeat_answer(turn)
    return True


def _prompt(turn: Turn, _action: RunAction) -> bool:
    work = turn.work
    if yields_to_digits(work) and turn.call.digits:
        return True
    if work.position not in work.audio:
        turn.change_work(waiting=Waiting.AUDIO)
        return False
    audio = work.audio[work.position]
    if audio is None or not audio.media:
        return True
    # Asterisk does not know a repeated playback id for a repetition: the prompt would be heard twice.
    # asterisk_proxy remembers what it gave to be played, and drops the repetition.
    playback = playback_id(turn.call, work)
    key = work.prompt_key
    turn.command(commands.play(turn.call.id, key, turn.leg.channel_id, playback, audio.media))
    turn.change_work(waiting=Waiting.PLAYBACK)
    turn.set_timer(Timer.ACTION, timedelta(milliseconds=audio.duration_ms) + PLAYBACK_MARGIN)
    return False


def _sleep(turn: Turn, action: RunAction) -> bool:
    duration = _milliseconds(action)
    if duration <= timedelta():
        return True
    leg = turn.leg
    if not leg.up and not leg.answering:
        turn.command_once(commands.ring(turn.call.id, "ring", leg.channel_id))
    turn.change_work(waiting=Waiting.SLEEP)
    turn.set_timer(Timer.ACTION, duration)
    return False


def _digits_receive(turn: Turn, action: RunAction) -> bool:
    if take_digits(turn, action):
        return True
    turn.change_work(waiting=Waiting.DIGITS)
    turn.set_timer(Timer.ACTION, _milliseconds(action))
    return False


def _hangup(turn: Turn, action: RunAction) -> bool:
    if turn.leg.answering and not turn.leg.up:
        turn.change_work(waiting=Waiting.ANSWER)
        return False
    hang_up(turn, _REASONS.get(str(action.option.get("reason", "")), HangupReason.NORMAL))
    return False


def _external_media_start(turn: Turn, action: RunAction) -> bool:
    """Before the answer there is no audio: it waits for an answer that was asked for; without one there is
    nothing to stream, and it is skipped."""
    if not turn.leg.up:
        if turn.leg.answering:
            turn.change_work(waiting=Waiting.ANSWER)
        return not turn.leg.answering
    call, option = turn.call, action.option
    if call.customer_id is None:
        raise AssertionError("a call without a customer runs no flow")
    identifier = derived_id(call.id, f"media.{turn.work.place}")
    request = MediaConnect(
        id=identifier,
        call_id=call.id,
        customer_id=call.customer_id,
        target=str(option.get("url") or option.get("external_host", "")),
        transport=str(option.get("transport", "")),
        encapsulation=str(option.get("encapsulation", "rtp")),
        direction_listen=MediaDirection(option.get("direction_listen", "both")),
        direction_speak=MediaDirection(option.get("direction_speak", "both")),
    )
    turn.change(connecting={**call.connecting, str(identifier): request})
    turn.add(Ask(turn.work.media_key, "media_manager", request))
    turn.change_work(waiting=Waiting.MEDIA)
    turn.set_timer(Timer.ACTION, MEDIA_PATIENCE)
    return False


def _external_media_stop(turn: Turn, _action: RunAction) -> bool:
    media.stop_all(turn, "stopped_by_flow", from_flow_only=True)
    return True


_BEGINNINGS: Mapping[str, Callable[[Turn, RunAction], bool]] = {
    "answer": _answer,
    "play": _prompt,
    "talk": _prompt,
    "sleep": _sleep,
    "digits_receive": _digits_receive,
    "hangup": _hangup,
    "external_media_start": _external_media_start,
    "external_media_stop": _external_media_stop,
}

_REASONS = {reason.value: reason for reason in HangupReason if reason is not HangupReason.NONE}


def _milliseconds(action: RunAction) -> timedelta:
    return timedelta(milliseconds=max(0, int(action.option.get("duration", 0))))
