"""What an activeflow remembers, and how it looks from outside."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec.structs import replace

from evercall.actor.model import Index
from evercall.contracts.flow import (
    Action,
    ActionFault,
    Activeflow,
    ActiveflowStart,
    ActiveflowStatus,
    EndReason,
    Run,
    RunAction,
)
from flow_manager.domain.actions import DIGITS, RESERVED_PREFIX
from flow_manager.domain.execution import Position, Step
from flow_manager.domain.variables import MAX_KEYS, refusal

MAX_EXECUTED_ACTIONS = 100
MAX_FAULTS = 20


class Status(StrEnum):
    """`starting`: its flow is being fetched. `running`: a run is out that is reported on. `finishing`:
    the last run is out. `ended`: nothing is out any more."""

    STARTING = "starting"
    RUNNING = "running"
    FINISHING = "finishing"
    ENDED = "ended"


class ExecutedAction(msgspec.Struct, frozen=True):
    """An action that was begun, meant by its index, and when its run was handed out."""

    index: int
    at: datetime


class ActiveflowState(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a flow.

    `actions` is the flow as it was at the start; later changes of the flow do not touch it. `run` is
    what the executor has now, `steps` the way through it, `position` where it leaves the flow,
    `run_end` how the flow will have ended after it.
    """

    id: UUID
    customer_id: UUID
    flow_id: UUID
    reference_type: str
    reference_id: UUID
    status: Status
    actions: list[Action] = []
    position: Position
    sequence: int = 0
    run: list[RunAction] = []
    run_at: datetime
    run_end: EndReason = EndReason.NONE
    steps: list[Step] = []
    executed: list[ExecutedAction] = []
    faults: list[ActionFault] = []
    end_reason: EndReason = EndReason.NONE
    tm_create: datetime
    tm_update: datetime
    tm_delete: datetime | None = None


def new_state(start: ActiveflowStart, now: datetime) -> ActiveflowState:
    """An activeflow that has not got its flow yet."""
    variables, faults = _first_variables(start)
    return ActiveflowState(
        id=start.id,
        customer_id=start.customer_id,
        flow_id=start.flow_id,
        reference_type=start.reference_type,
        reference_id=start.reference_id,
        status=Status.STARTING,
        position=Position(next=None, variables=variables),
        faults=faults[-MAX_FAULTS:],
        run_at=now,
        tm_create=now,
        tm_update=now,
    )


def _first_variables(start: ActiveflowStart) -> tuple[dict[str, str], list[ActionFault]]:
    """The variables at the beginning: those of the platform first, so that the customer's own can't
    crowd them out."""
    variables = {
        "voipbin.activeflow.id": str(start.id),
        "voipbin.activeflow.flow_id": str(start.flow_id),
        "voipbin.activeflow.reference_type": start.reference_type,
        "voipbin.activeflow.reference_id": str(start.reference_id),
        DIGITS: "",
    }
    given = {key: value for key, value in start.variables.items() if key not in variables}
    faults = []
    ordered = sorted(given, key=lambda name: not name.startswith(RESERVED_PREFIX))
    for key in ordered[: 2 * MAX_KEYS]:
        reason = refusal(variables, key, given[key])
        if reason:
            faults.append(ActionFault(message=f"variable {key[:64]} was left out: {reason}"))
        else:
            variables[key] = given[key]
    return variables, faults


def to_run(state: ActiveflowState) -> Run:
    """The run that is out."""
    return Run(
        activeflow_id=state.id,
        sequence=state.sequence,
        actions=state.run,
        final=state.status is Status.FINISHING,
    )


def to_resource(state: ActiveflowState) -> Activeflow:
    """The public form."""
    ended = state.status is Status.ENDED
    return Activeflow(
        id=state.id,
        customer_id=state.customer_id,
        flow_id=state.flow_id,
        status=ActiveflowStatus.ENDED if ended else ActiveflowStatus.RUNNING,
        reference_type=state.reference_type,
        reference_id=state.reference_id,
        current_action=_current_action(state),
        executed_actions=[_executed(state, entry) for entry in state.executed],
        variables=state.position.variables,
        end_reason=state.end_reason,
        faults=state.faults,
        tm_create=state.tm_create,
        tm_update=state.tm_update,
        tm_delete=state.tm_delete,
    )


def _current_action(state: ActiveflowState) -> Action | None:
    if state.status is Status.ENDED:
        return None
    for step in state.steps:
        # Only the first action of the run needs no more than itself to have been begun.
        if step.needs == 1:
            return replace(state.actions[step.index], tm_execute=state.run_at)
    return None


def _executed(state: ActiveflowState, entry: ExecutedAction) -> Action:
    # Without its options: a hundred long texts would outgrow any message.
    return replace(state.actions[entry.index], option={}, tm_execute=entry.at)


def account(state: ActiveflowState, steps: Sequence[Step]) -> ActiveflowState:
    """Notes steps of the present run as done."""
    executed = [ExecutedAction(step.index, state.run_at) for step in steps]
    faults = [
        ActionFault(action_id=state.actions[step.index].id, message=step.fault)
        for step in steps
        if step.fault
    ]
    return replace(
        state,
        executed=[*state.executed, *executed][-MAX_EXECUTED_ACTIONS:],
        faults=[*state.faults, *faults][-MAX_FAULTS:],
    )


def columns(state: ActiveflowState) -> Index:
    """What the store keeps in columns."""
    return Index(
        customer_id=state.customer_id,
        created_at=state.tm_create,
        live=state.status is not Status.ENDED,
        hidden=state.tm_delete is not None,
    )
