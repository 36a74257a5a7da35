"""The life of an activeflow: every change of its status happens in this file.

`TRANSITIONS` says for each status and each message what happens; the handlers below it say how. Nothing
here knows how a run is carried out, or stored, or sent.

Requests may be heard twice (the asker repeats what it got no answer to): a start answers with the run
that is out, a report on the run before with the run that followed it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from evercall.actor.model import (
    ActorKind,
    Answered,
    Ask,
    CancelTimer,
    Decision,
    Effect,
    Failed,
    Publish,
    Reply,
    ReplyError,
    SetTimer,
    Settle,
    Tell,
    TimerFired,
)
from evercall.contracts.base import ErrorData, Message
from evercall.contracts.call import Call, CallFlowStopped, CallGet, CallStatus
from evercall.contracts.flow import (
    ActionFault,
    ActiveflowDelete,
    ActiveflowReferenceEnded,
    ActiveflowStart,
    ActiveflowStop,
    EndReason,
    Flow,
    FlowGet,
    RunReport,
)
from evercall.service.errors import Conflict, InvalidRequest, NotFound, PlatformError, from_data
from flow_manager.domain.actions import DIGITS
from flow_manager.domain.execution import Position, next_run, take_back
from flow_manager.domain.state import (
    MAX_FAULTS,
    ActiveflowState,
    Status,
    account,
    columns,
    new_state,
    to_resource,
    to_run,
)

FLOWS_PORT = "flows"
CALL_SERVICE = "call_manager"
CALL_REFERENCE = "call"

FLOW = "flow"
"""Key of the `Ask` for the flow."""

REFERENCE = "reference"
"""Timer, and key of the `Ask`, that look after a call whose end was never told."""

REFERENCE_CHECK = timedelta(hours=1)

_Decision = Decision[ActiveflowState]


def decide(state: ActiveflowState | None, message: Message, now: datetime) -> _Decision:
    """What an activeflow does about a message."""
    row = TRANSITIONS[None if state is None else state.status][type(message)]
    match row:
        case Ignored():
            return Decision(state)
        case Illegal():
            return Decision(state, (ReplyError(row.error()),))
        case Transition():
            return row.handler(state, message, now)


# -- handlers ----------------------------------------------------------------------------------


def _start(_: None, message: ActiveflowStart, now: datetime) -> _Decision:
    if message.reference_type != CALL_REFERENCE:
        error = InvalidRequest(
            "invalid_argument",
            "Activeflows run for calls only",
            details={"field": "reference_type"},
        )
        return Decision(None, (ReplyError(error),))
    state = new_state(message, now)
    return Decision(
        state,
        (
            Publish("activeflow", "created", state.customer_id, to_resource(state)),
            SetTimer(REFERENCE, now + REFERENCE_CHECK),
            _ask_for_flow(state),
        ),
    )


def _start_again(state: ActiveflowState, _: ActiveflowStart, __: datetime) -> _Decision:
    """Asks once more under the same key, so that the answer goes to who asked last."""
    return Decision(state, (_ask_for_flow(state),))


def _ask_for_flow(state: ActiveflowState) -> Ask:
    body = FlowGet(id=state.flow_id, customer_id=state.customer_id)
    return Ask(FLOW, FLOWS_PORT, body)


def _repeat_run(state: ActiveflowState, _: ActiveflowStart, __: datetime) -> _Decision:
    return Decision(state, (Reply(to_run(state)),))


def _answered(state: ActiveflowState, message: Answered, now: datetime) -> _Decision:
    if message.key == FLOW and state.status is Status.STARTING:
        return _begin(state, message.body, now)
    if message.key == REFERENCE:
        return _reference_seen(state, message.body, now)
    return Decision(state)


def _begin(state: ActiveflowState, flow: Flow, now: datetime) -> _Decision:
    first = replace(state.position, next=0 if flow.actions else None)
    running = _advance(replace(state, actions=flow.actions), first, now)
    return Decision(running, (Reply(to_run(running)),))


def _advance(state: ActiveflowState, position: Position, now: datetime) -> ActiveflowState:
    """Hands out the run that begins at a position."""
    stretch = next_run(state.actions, position)
    return replace(
        state,
        status=Status.RUNNING if stretch.end is None else Status.FINISHING,
        sequence=state.sequence + 1,
        run=stretch.actions,
        run_at=now,
        run_end=stretch.end or EndReason.NONE,
        steps=stretch.steps,
        position=stretch.position,
        tm_update=now,
    )


def _failed(state: ActiveflowState, message: Failed, now: datetime) -> _Decision:
    if message.key == FLOW and state.status is Status.STARTING:
        return _flow_failed(state, message.error, now)
    if message.key == REFERENCE and message.error.code == "call_not_found":
        return _cut_off(state, 0, now)
    if message.key == REFERENCE:
        return Decision(state, (SetTimer(REFERENCE, now + REFERENCE_CHECK),))
    return Decision(state)


def _flow_failed(state: ActiveflowState, error: ErrorData, now: datetime) -> _Decision:
    refusal = ReplyError(from_data(error))
    if error.retryable:  # the call asks again
        return Decision(state, (refusal,))
    fault = ActionFault(message=f"the flow could not be read: {error.code}")
    faulty = replace(state, faults=[*state.faults, fault][-MAX_FAULTS:])
    ended, effects = _end(faulty, EndReason.FLOW_UNAVAILABLE, now)
    return Decision(ended, (*effects, refusal))


def _report(state: ActiveflowState, message: RunReport, now: datetime) -> _Decision:
    if message.sequence == state.sequence - 1:
        return Decision(state, (Reply(to_run(state)),))
    if message.sequence != state.sequence or state.status is Status.FINISHING:
        error = Conflict(
            "activeflow_state_invalid",
            "This run is not the one to be reported on",
            details={"sequence": state.sequence, "final": state.status is Status.FINISHING},
        )
        return Decision(state, (ReplyError(error),))
    position = state.position
    if message.digits is not None:
        variables = {**position.variables, DIGITS: message.digits}
        position = replace(position, variables=variables)
    advanced = _advance(account(state, state.steps), position, now)
    return Decision(advanced, (Reply(to_run(advanced)),))


def _reference_ended(
    state: ActiveflowState, message: ActiveflowReferenceEnded, now: datetime
) -> _Decision:
    # An older sequence: the call was over before it heard of the present run.
    executed = message.executed if message.sequence == state.sequence else 0
    if state.status is Status.ENDED:
        return Decision(_settle_steps(state, executed, now) if state.steps else state)
    worked_off = state.status is Status.FINISHING and executed >= len(state.run)
    if not worked_off or message.sequence != state.sequence:
        return _cut_off(state, executed, now)
    ended, effects = _end(replace(account(state, state.steps), steps=[]), state.run_end, now)
    return Decision(ended, effects)


def _cut_off(state: ActiveflowState, executed: int, now: datetime) -> _Decision:
    settled = _settle_steps(state, executed, now)
    ended, effects = _end(settled, EndReason.REFERENCE_ENDED, now)
    return Decision(ended, effects)


def _settle_steps(state: ActiveflowState, executed: int, now: datetime) -> ActiveflowState:
    """Keeps the steps of the present run that came to pass and takes the others back."""
    count = sum(step.needs <= executed for step in state.steps)
    settled = account(state, state.steps[:count])
    variables = take_back(state.position.variables, state.steps[count:])
    position = replace(state.position, variables=variables)
    return replace(settled, position=position, steps=[], tm_update=now)


def _stop(state: ActiveflowState, message: ActiveflowStop, now: datetime) -> _Decision:
    if message.customer_id != state.customer_id:
        return Decision(state, (ReplyError(_not_found()),))
    ended, effects = _stopped(state, now)
    return Decision(ended, (*effects, Reply(to_resource(ended))))


def _delete(state: ActiveflowState, message: ActiveflowDelete, now: datetime) -> _Decision:
    if message.customer_id != state.customer_id:
        return Decision(state, (ReplyError(_not_found()),))
    if state.tm_delete is not None:
        return Decision(state, (Reply(to_resource(state)),))
    ended, effects = _stopped(state, now)
    deleted = replace(ended, tm_update=now, tm_delete=now)
    resource = to_resource(deleted)
    publish = Publish("activeflow", "deleted", state.customer_id, resource)
    return Decision(deleted, (*effects, publish, Reply(resource)))


def _stopped(state: ActiveflowState, now: datetime) -> tuple[ActiveflowState, tuple[Effect, ...]]:
    """The steps of the present run stay open until the call tells how far it came."""
    if state.status is Status.ENDED:
        return state, ()
    ended, effects = _end(state, EndReason.STOPPED, now)
    stopped = CallFlowStopped(id=state.reference_id, activeflow_id=state.id)
    return ended, (*effects, Tell(CALL_SERVICE, state.reference_id, stopped))


def _end(
    state: ActiveflowState, reason: EndReason, now: datetime
) -> tuple[ActiveflowState, tuple[Effect, ...]]:
    ended = replace(state, status=Status.ENDED, end_reason=reason, tm_update=now)
    return ended, (
        Settle(FLOW),
        Settle(REFERENCE),
        CancelTimer(REFERENCE),
        Publish("activeflow", "ended", state.customer_id, to_resource(ended)),
    )


def _check_reference(state: ActiveflowState, _: TimerFired, __: datetime) -> _Decision:
    """The end of a call is told once and never lost; but a start may come in after it, when it was
    long under way, and then nobody would end the activeflow."""
    body = CallGet(id=state.reference_id, customer_id=state.customer_id)
    return Decision(state, (Ask(REFERENCE, CALL_SERVICE, body),))


def _reference_seen(state: ActiveflowState, call: Call, now: datetime) -> _Decision:
    if call.status is CallStatus.HANGUP:
        return _cut_off(state, 0, now)
    return Decision(state, (SetTimer(REFERENCE, now + REFERENCE_CHECK),))


# -- the table ---------------------------------------------------------------------------------


def _not_found() -> PlatformError:
    return NotFound("activeflow_not_found", "There is no such activeflow")


def _already_stopped() -> PlatformError:
    return Conflict("activeflow_already_stopped", "The activeflow has ended")


def _not_begun() -> PlatformError:
    return Conflict("activeflow_state_invalid", "No run was handed out yet")


@dataclass(frozen=True, slots=True)
class Transition:
    """The handler decides; the activeflow is in one of the states `to` afterwards (None: none is)."""

    handler: Callable[[Any, Any, datetime], _Decision]
    to: tuple[Status | None, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Late or repeated: nothing happens."""


@dataclass(frozen=True, slots=True)
class Illegal:
    """The asker is told off."""

    error: Callable[[], PlatformError]


_STARTING, _RUNNING, _FINISHING, _ENDED = Status

TRANSITIONS: Mapping[Status | None, Mapping[type[Message], Transition | Ignored | Illegal]] = {
    None: {
        ActiveflowStart: Transition(_start, (None, _STARTING)),
        RunReport: Illegal(_not_found),
        ActiveflowReferenceEnded: Ignored(),
        ActiveflowStop: Illegal(_not_found),
        ActiveflowDelete: Illegal(_not_found),
        Answered: Ignored(),
        Failed: Ignored(),
        TimerFired: Ignored(),
    },
    _STARTING: {
        ActiveflowStart: Transition(_start_again, (_STARTING,)),
        RunReport: Illegal(_not_begun),
        ActiveflowReferenceEnded: Transition(_reference_ended, (_ENDED,)),
        ActiveflowStop: Transition(_stop, (_STARTING, _ENDED)),
        ActiveflowDelete: Transition(_delete, (_STARTING, _ENDED)),
        Answered: Transition(_answered, (_STARTING, _RUNNING, _FINISHING, _ENDED)),
        Failed: Transition(_failed, (_STARTING, _ENDED)),
        TimerFired: Transition(_check_reference, (_STARTING,)),
    },
    _RUNNING: {
        ActiveflowStart: Transition(_repeat_run, (_RUNNING,)),
        RunReport: Transition(_report, (_RUNNING, _FINISHING)),
        ActiveflowReferenceEnded: Transition(_reference_ended, (_ENDED,)),
        ActiveflowStop: Transition(_stop, (_RUNNING, _ENDED)),
        ActiveflowDelete: Transition(_delete, (_RUNNING, _ENDED)),
        Answered: Transition(_answered, (_RUNNING, _ENDED)),
        Failed: Transition(_failed, (_RUNNING, _ENDED)),
        TimerFired: Transition(_check_reference, (_RUNNING,)),
    },
    _FINISHING: {
        ActiveflowStart: Transition(_repeat_run, (_FINISHING,)),
        RunReport: Transition(_report, (_FINISHING,)),
        ActiveflowReferenceEnded: Transition(_reference_ended, (_ENDED,)),
        ActiveflowStop: Transition(_stop, (_FINISHING, _ENDED)),
        ActiveflowDelete: Transition(_delete, (_FINISHING, _ENDED)),
        Answered: Transition(_answered, (_FINISHING, _ENDED)),
        Failed: Transition(_failed, (_FINISHING, _ENDED)),
        TimerFired: Transition(_check_reference, (_FINISHING,)),
    },
    _ENDED: {
        ActiveflowStart: Illegal(_already_stopped),
        RunReport: Illegal(_already_stopped),
        ActiveflowReferenceEnded: Transition(_reference_ended, (_ENDED,)),
        ActiveflowStop: Transition(_stop, (_ENDED,)),
        ActiveflowDelete: Transition(_delete, (_ENDED,)),
        Answered: Ignored(),
        Failed: Ignored(),
        TimerFired: Ignored(),
    },
}

ACTIVEFLOW: ActorKind[ActiveflowState] = ActorKind(
    name="activeflow", state=ActiveflowState, decide=decide, index=columns
)
