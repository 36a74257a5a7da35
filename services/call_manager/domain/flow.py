"""The call's side of its activeflow: the start, what to do when flow_manager refuses."""

from datetime import timedelta

from call_manager.domain.addresses import flow_variables
from call_manager.domain.call import Waiting, Work
from call_manager.domain.ending import hang_up
from call_manager.domain.run import report
from call_manager.domain.turn import Timer, Turn
from evercall.actor.model import Ask
from evercall.contracts.base import ErrorData
from evercall.contracts.call import HangupReason
from evercall.contracts.flow import ActiveflowStart
from evercall.contracts.ids import derived_id

ASK_AGAIN = timedelta(seconds=1)
"""flow_manager is away or overloaded: the call waits for it."""


def start_flow(turn: Turn) -> None:
    """Starts the call's activeflow; its first run comes as the answer."""
    turn.change(activeflow_id=derived_id(turn.call.id, "activeflow"))
    turn.change(work=Work(waiting=Waiting.RUN))
    _ask_for_start(turn)


def ask_again(turn: Turn) -> None:
    """The time to ask flow_manager again has come."""
    if turn.call.work is None or turn.work.waiting is not Waiting.RUN:
        return
    if turn.work.sequence == 0:
        _ask_for_start(turn)
    else:
        report(turn)


def run_refused(turn: Turn, error: ErrorData) -> None:
    """There is no next run."""
    if error.retryable:
        turn.set_timer(Timer.ASK, ASK_AGAIN)
        return
    stopped = error.code == "activeflow_already_stopped"
    hang_up(turn, HangupReason.NORMAL if stopped else HangupReason.FAILED)


def _ask_for_start(turn: Turn) -> None:
    call = turn.call
    if call.activeflow_id is None or call.flow_id is None or call.customer_id is None:
        raise AssertionError("a call starts its flow after it knows which")
    own = flow_variables(str(call.id), call.direction, call.source, call.destination)
    request = ActiveflowStart(
        id=call.activeflow_id,
        customer_id=call.customer_id,
        flow_id=call.flow_id,
        reference_type="call",
        reference_id=call.id,
        variables={**call.variables, **own},
    )
    turn.add(Ask(turn.work.run_key, "flow_manager", request, actor=call.activeflow_id))
