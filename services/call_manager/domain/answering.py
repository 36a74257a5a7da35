"""The moment a call is answered, from either side."""

from datetime import datetime

from call_manager.domain.flow import start_flow
from call_manager.domain.run import answer_took_effect
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Timer, Turn
from evercall.contracts.call import Direction


def answered(turn: Turn, at: datetime) -> None:
    """The channel is up. An outgoing call starts its flow now."""
    turn.move(Trigger.ANSWERED)
    turn.change_leg(seen=True, up=True)
    turn.change(tm_progressing=turn.not_later(at))
    if turn.call.direction is Direction.INCOMING:
        turn.settle("answer")
        turn.publish("progressing")
        answer_took_effect(turn)
        return
    turn.settle("create")
    turn.cancel_timers(Timer.DIAL)
    turn.set_timer(Timer.DURATION, turn.rules.longest_duration)
    start_flow(turn)
    turn.publish("progressing")
