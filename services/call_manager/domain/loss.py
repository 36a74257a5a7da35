"""The Asterisk of a call is gone: what becomes of the call."""

from datetime import timedelta

from call_manager.domain.ending import finish
from call_manager.domain.outgoing import dial_elsewhere
from call_manager.domain.stray import hang_up_stray
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Turn
from evercall.contracts.asterisk import AsteriskLost
from evercall.contracts.call import CallStatus

VERDICT_LIFE = timedelta(seconds=10)
"""A verdict that is older was for another moment. While it holds it is given again."""


def told(turn: Turn, message: AsteriskLost) -> None:
    """Nobody has seen a sign of life of this Asterisk. Should it live all the same, the channel must not
    outlive its call: the hangup waits for it where a command still reaches it, and the next list of its channels
    does the rest."""
    leg = turn.call.leg
    if leg is None or (leg.asterisk_id, leg.boot_id) != (message.asterisk_id, message.boot_id):
        return
    if turn.now - message.at > VERDICT_LIFE:
        return
    if leg.seen:
        turn.add(*hang_up_stray(turn.call.id, leg))
    proved(turn)


def proved(turn: Turn) -> None:
    """The life of the call's Asterisk is over. A channel that was seen is gone with it; one that was still to be
    made can be made elsewhere."""
    if turn.leg.seen:
        finish(turn, Trigger.LOST)
    elif turn.call.status is CallStatus.DIALING:
        dial_elsewhere(turn)
    else:
        finish(turn, Trigger.GONE)
