"""What a refused command means for its call. Status 404 says most: the channel is gone, and its hangup
has not reached us yet, or never will.

What the proxy refuses (`ProxyReason`) was not carried out, or nobody knows. It is kept as pending, and so
repeated by the engine; only a wrong boot proves something: the Asterisk that had the channel is no more.
"""

from call_manager.domain import loss, media
from call_manager.domain.call import Waiting
from call_manager.domain.ending import finish, hang_up
from call_manager.domain.messages import CommandRefused
from call_manager.domain.outgoing import dial_elsewhere
from call_manager.domain.run import done
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Turn
from evercall.contracts.asterisk import NO_ANSWER, ProxyReason
from evercall.contracts.call import CallStatus, HangupReason

NOT_FOUND = 404
CONFLICT = 409


def refused(turn: Turn, message: CommandRefused) -> None:
    """Asterisk or its proxy refused a command of this call."""
    leg = turn.call.leg
    if leg is None or (message.asterisk_id, message.boot_id) != (leg.asterisk_id, leg.boot_id):
        # Of a channel that is the call's no more. What its Asterisk says is not about this one.
        return
    if message.status == NO_ANSWER:
        _not_carried_out(turn, message)
        return
    name, _, place = message.key.partition(".")
    if name.startswith("media-"):
        media.refused(turn, name, place, message.status)
        return
    match name:
        case "create":
            _create_refused(turn, message.status)
        case "answer" | "hangup" | "play" | "look" if message.status == NOT_FOUND:
            finish(turn, Trigger.GONE)
        case "answer":
            hang_up(turn, HangupReason.FAILED)
        case "play":
            _play_refused(turn, place)
        case _:
            # A playback that was stopped too late, a ringing that came too late: nothing is owed.
            return


def _not_carried_out(turn: Turn, message: CommandRefused) -> None:
    dialing = turn.call.status is CallStatus.DIALING
    if message.reason == ProxyReason.WRONG_BOOT:
        loss.proved(turn)
    elif message.reason == ProxyReason.NOT_CONNECTED and dialing and message.key == "create":
        dial_elsewhere(turn)


def _create_refused(turn: Turn, status: int) -> None:
    if status == CONFLICT:
        # The command was repeated, and the channel is there already: from now on its absence means something.
        turn.change_leg(seen=True)
        turn.settle("create")
        return
    dialing = turn.call.status is CallStatus.DIALING
    finish(turn, Trigger.NO_ASTERISK if dialing else Trigger.GONE)


def _play_refused(turn: Turn, place: str) -> None:
    work = turn.call.work
    if work is None or work.waiting is not Waiting.PLAYBACK:
        return
    if place == work.place:
        done(turn)
