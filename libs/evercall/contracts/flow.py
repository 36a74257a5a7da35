"""Flows and activeflows: public resources and the messages of `flow_manager`.

A flow is a list of actions. An activeflow is one execution of it. `flow_manager` hands out *runs*:
all actions up to the next one whose successor depends on an outcome. The executor works a run off and
reports once.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from evercall.contracts.base import Message, Page, Request


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a flow. `next_id` names the successor; without it the next in the list follows."""

    id: UUID
    type: str
    next_id: UUID | None = None
    option: dict[str, Any] = {}
    tm_execute: datetime | None = None


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """The public flow resource."""

    id: UUID
    customer_id: UUID
    type: str = "flow"
    name: str = ""
    detail: str = ""
    actions: list[Action]
    on_complete_flow_id: UUID | None = None
    tm_create: datetime
    tm_update: datetime
    tm_delete: datetime | None = None


class FlowCreate(Request[Flow], frozen=True, kw_only=True):
    """`actions` is the customer's JSON as it came; all faults are reported at once, each with its path
    (`actions[2].option.duration`), in `details["faults"]` of the error `invalid_argument`."""

    id: UUID
    customer_id: UUID
    name: str = ""
    detail: str = ""
    actions: list[Any]
    on_complete_flow_id: UUID | None = None
    hidden: bool = False


class FlowUpdate(Request[Flow], frozen=True, kw_only=True):
    """Replaces a flow. Running activeflows go on with what they started with."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    actions: list[Any]
    on_complete_flow_id: UUID | None = None


class FlowDelete(Request[Flow], frozen=True, kw_only=True):
    """Errors: `flow_not_found`."""

    id: UUID
    customer_id: UUID


class FlowGet(Request[Flow], frozen=True, kw_only=True):
    """Errors: `flow_not_found`."""

    id: UUID
    customer_id: UUID


class FlowList(Request[Page[Flow]], frozen=True, kw_only=True):
    """Lists a customer's flows, newest first."""

    customer_id: UUID
    page_size: int
    page_token: str = ""


class ActiveflowStatus(StrEnum):
    """Life of an activeflow."""

    RUNNING = "running"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why an activeflow ended. `completed`: its last action was begun. `reference_ended`: the call was
    over before. `stopped`: from outside. `limit`: it ran away. `flow_unavailable`: it never began."""

    NONE = ""
    COMPLETED = "completed"
    REFERENCE_ENDED = "reference_ended"
    STOPPED = "stopped"
    LIMIT = "limit"
    FLOW_UNAVAILABLE = "flow_unavailable"


class ActionFault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an activeflow could not do and went on without, for example a variable that grew
    too large."""

    action_id: UUID | None = None
    message: str


class Activeflow(msgspec.Struct, frozen=True, kw_only=True):
    """The public activeflow resource.

    `current_action` is the first action of the run that was handed out last; the exact action of a
    call is the call's own `action`. `executed_actions`, which leave their options out, and `faults`
    keep the newest.
    """

    id: UUID
    customer_id: UUID
    flow_id: UUID
    status: ActiveflowStatus
    reference_type: str
    reference_id: UUID
    on_complete_flow_id: UUID | None = None
    current_action: Action | None = None
    forward_action_id: UUID | None = None
    executed_actions: list[Action] = []
    variables: dict[str, str] = {}
    end_reason: EndReason = EndReason.NONE
    faults: list[ActionFault] = []
    tm_create: datetime
    tm_update: datetime
    tm_delete: datetime | None = None


class RunAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action for the executor: `option` has its variables filled in and its defaults set."""

    id: UUID
    type: str
    option: dict[str, Any] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What the executor does next, in order.

    `sequence` counts the runs of an activeflow from 1. After a `final` run the flow has ended: there
    is nothing to report, and a call hangs up.
    """

    activeflow_id: UUID
    sequence: int
    actions: list[RunAction]
    final: bool


class ActiveflowStart(Request[Run], frozen=True, kw_only=True):
    """Starts the execution of a flow for a call. To the shard of `id`. Said again, it answers with
    the current run. Errors: `flow_not_found`."""

    id: UUID
    customer_id: UUID
    flow_id: UUID
    reference_type: str
    reference_id: UUID
    variables: dict[str, str] = {}


class RunReport(Request[Run], frozen=True, kw_only=True):
    """A run that was not final is done. `digits` is what the run's last `digits_receive` collected.

    Said again for the same `sequence`, it answers with the same next run.
    Errors: `activeflow_not_found`, `activeflow_already_stopped`.
    """

    activeflow_id: UUID
    sequence: int
    digits: str | None = None


class ActiveflowReferenceEnded(Message, frozen=True, kw_only=True):
    """The call is over, and with it the activeflow. `executed` counts the actions of run `sequence`
    that were begun."""

    activeflow_id: UUID
    sequence: int
    executed: int


class ActiveflowStop(Request[Activeflow], frozen=True, kw_only=True):
    """Ends an activeflow from outside; its call hangs up. Idempotent."""

    id: UUID
    customer_id: UUID


class ActiveflowDelete(Request[Activeflow], frozen=True, kw_only=True):
    """Hides an activeflow from lists, stopping it first where it runs."""

    id: UUID
    customer_id: UUID


class ActiveflowGet(Request[Activeflow], frozen=True, kw_only=True):
    """Errors: `activeflow_not_found`."""

    id: UUID
    customer_id: UUID


class ActiveflowList(Request[Page[Activeflow]], frozen=True, kw_only=True):
    """Lists a customer's activeflows, newest first."""

    customer_id: UUID
    page_size: int
    page_token: str = ""
