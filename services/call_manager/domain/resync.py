"""After a gap in Asterisk's events, and now and then: a call compares what it believes with what Asterisk has."""

from msgspec import structs

from call_manager.domain import media
from call_manager.domain.actions import repeat_answer
from call_manager.domain.answering import answered
from call_manager.domain.ending import ENDING, finish, repeat_hangup
from call_manager.domain.messages import ChannelsSeen
from call_manager.domain.outgoing import rang
from call_manager.domain.stray import hang_up_all, hang_up_stray, look_for
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Turn
from evercall.contracts.call import CallStatus, Direction


def seen(turn: Turn, message: ChannelsSeen) -> None:
    """Asterisk has told which channels this live call has there."""
    leg = turn.call.leg
    if leg is None or message.asterisk_id != leg.asterisk_id:
        # It was told to dial, could not be reached, and has done so all the same.
        turn.add(*hang_up_all(message))
        return
    if message.boot_id != leg.boot_id:
        # A channel that nobody saw may still be about to be made: the proxy refuses that, or does it.
        if leg.seen:
            finish(turn, Trigger.LOST)
        return
    media.seen(turn, message)
    for channel_id in message.channels:
        if channel_id != leg.channel_id and not media.is_media_channel(channel_id):
            turn.add(*hang_up_stray(turn.call.id, structs.replace(leg, channel_id=channel_id)))
    state = message.channels.get(leg.channel_id)
    if state is not None:
        _alive(turn, state)
    elif leg.seen or turn.call.status in ENDING:
        turn.command_once(look_for(turn.call.id, leg))


def _alive(turn: Turn, state: str) -> None:
    call = turn.call
    if call.status in ENDING:
        repeat_hangup(turn)
    elif state == "Up" and call.status in (CallStatus.DIALING, CallStatus.RINGING):
        answered(turn, turn.now)
    elif state == "Ringing" and call.status is CallStatus.DIALING:
        rang(turn, turn.now)
    elif call.direction is Direction.INCOMING and turn.leg.answering and not turn.leg.up:
        repeat_answer(turn)
