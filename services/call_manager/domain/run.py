"""The work on a run of actions, one after the other.

An action that needs no event to be done (`answer`) does not hold up the next: their commands leave
together and Asterisk carries them out in order.

A prompt is interrupted by a digit only where the next action of the run is `digits_receive`, or where a
`talk` says `digits_handle: next`. Digits that were typed before such a prompt begins skip it.

Prompts are prepared when the run comes in, so that the second needs no waiting when the first ends. One
that can't be had is skipped. Unknown actions are skipped too.
"""

from datetime import timedelta

from call_manager.domain import media
from call_manager.domain.actions import (
    begin,
    playback_id,
    stop_prompt,
    take_digits,
    yields_to_digits,
)
from call_manager.domain.call import NOBODY, CallState, Waiting, Work
from call_manager.domain.digits import Key, is_echo, type_ahead
from call_manager.domain.ending import hang_up, is_prompt, open_prompts
from call_manager.domain.ports import AUDIO, PrepareAudio, PreparedAudio, PrepareSpeech
from call_manager.domain.turn import Timer, Turn
from evercall.actor.model import Ask
from evercall.contracts.base import Request
from evercall.contracts.call import HangupReason
from evercall.contracts.flow import Run, RunAction, RunReport

HANGUP_GRACE = timedelta(milliseconds=500)
"""A playback that breaks off is most often the first word of a hangup. Going on at once would hang up
a call that the far end has already left, and call that our doing."""


def waits_for_run(call: CallState, key: str) -> bool:
    """Whether the answer under this key is the one that the call waits for."""
    work = call.work
    return work is not None and work.waiting is Waiting.RUN and key == work.run_key


def take_run(turn: Turn, run: Run) -> None:
    """Begins with the run that flow_manager gave."""
    if turn.call.work is not None:
        turn.settle(*open_prompts(turn.call.work))
    turn.change(work=Work(sequence=run.sequence, actions=run.actions, final=run.final))
    for position, action in enumerate(run.actions):
        if is_prompt(action.type):
            key = f"audio.{run.sequence}-{position}"
            turn.add(Ask(key, AUDIO, _audio_request(turn.call, action)))
    go_on(turn)


def go_on(turn: Turn) -> None:
    """Begins actions until one of them has to wait for something, or the run is done."""
    while (action := turn.work.current) is not None:
        turn.change_work(begun=turn.work.position + 1, since=turn.now, waiting=Waiting.NOTHING)
        if not begin(turn, action):
            return
        turn.change_work(position=turn.work.position + 1)
    _end_run(turn)


def done(turn: Turn) -> None:
    """The current action is done: go on with the next."""
    turn.cancel_timers(Timer.ACTION)
    if turn.work.waiting in (Waiting.PLAYBACK, Waiting.HANGUP):
        turn.settle(turn.work.prompt_key)
        media.prompt_over(turn)
    turn.change_work(position=turn.work.position + 1)
    go_on(turn)


def hear_digit(turn: Turn, key: Key, duration: timedelta) -> None:
    """A digit was typed."""
    if is_echo(turn.call.last_key, key, duration):
        return
    turn.change(digits=type_ahead(turn.call.digits, key.digit), last_key=key)
    media.digit_heard(turn, key.digit, duration)
    work = turn.call.work
    action = work.current if work is not None else None
    if work is None or action is None:
        return
    if work.waiting is Waiting.DIGITS:
        if take_digits(turn, action):
            done(turn)
    elif work.waiting in (Waiting.PLAYBACK, Waiting.AUDIO) and yields_to_digits(work):
        if work.waiting is Waiting.PLAYBACK:
            stop_prompt(turn)
        done(turn)


def action_due(turn: Turn) -> None:
    """The time of the current action is over."""
    work = turn.work
    if work.waiting is Waiting.DIGITS:
        turn.change_work(digits=turn.call.digits)
        turn.change(digits="")
    if work.waiting is Waiting.PLAYBACK:
        stop_prompt(turn)
    if work.waiting is Waiting.MEDIA:
        turn.settle(work.media_key)
    if work.waiting in _ENDED_BY_TIME:
        done(turn)


_ENDED_BY_TIME = (
    Waiting.DIGITS,
    Waiting.SLEEP,
    Waiting.PLAYBACK,
    Waiting.HANGUP,
    Waiting.MEDIA,
)


def playback_finished(turn: Turn, finished_id: str, *, failed: bool) -> None:
    """A playback is over; it counts if it is the one that is waited for."""
    if turn.call.work is None or turn.work.waiting is not Waiting.PLAYBACK:
        return
    if finished_id != playback_id(turn.call, turn.work):
        return
    if failed:
        turn.change_work(waiting=Waiting.HANGUP)
        turn.set_timer(Timer.ACTION, HANGUP_GRACE)
        return
    done(turn)


def audio_settled(turn: Turn, key: str, audio: PreparedAudio | None) -> None:
    """A prompt is ready, or can't be had (None)."""
    sequence, _, position = key.removeprefix("audio.").partition("-")
    if turn.call.work is None or int(sequence) != turn.work.sequence:
        return
    work = turn.work
    turn.change_work(audio={**work.audio, int(position): audio})
    if work.waiting is Waiting.AUDIO and work.position == int(position):
        go_on(turn)


def media_settled(turn: Turn, key: str) -> None:
    """media_manager connects to an application, or won't: the flow goes on."""
    work = turn.call.work
    if work is not None and work.waiting is Waiting.MEDIA and key == work.media_key:
        done(turn)


def answer_took_effect(turn: Turn) -> None:
    """The call is up: what waited for that alone goes on."""
    if turn.call.work is not None and turn.work.waiting is Waiting.ANSWER:
        go_on(turn)


def report(turn: Turn) -> None:
    """Asks flow_manager for the next run."""
    work = turn.work
    if turn.call.activeflow_id is None:
        raise AssertionError("a run is worked off only for an activeflow")
    request = RunReport(
        activeflow_id=turn.call.activeflow_id, sequence=work.sequence, digits=work.digits
    )
    turn.add(Ask(work.run_key, "flow_manager", request, actor=turn.call.activeflow_id))


def _end_run(turn: Turn) -> None:
    work = turn.work
    if not work.final:
        turn.change_work(waiting=Waiting.RUN)
        report(turn)
        return
    if turn.leg.answering and not turn.leg.up:
        # The far end is to get its answer before it gets its end, and the call its time of answer.
        turn.change_work(waiting=Waiting.ANSWER)
        return
    hang_up(turn, HangupReason.NORMAL)


def _audio_request(call: CallState, action: RunAction) -> Request[PreparedAudio]:
    customer, option = call.customer_id or NOBODY, action.option
    if action.type == "play":
        return PrepareAudio(
            customer_id=customer, urls=[str(url) for url in option.get("stream_urls", [])]
        )
    return PrepareSpeech(
        customer_id=customer,
        text=str(option.get("text", "")),
        language=str(option.get("language", "")),
        voice=str(option.get("voice_id", "")),
    )
