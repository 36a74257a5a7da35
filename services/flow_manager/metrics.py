"""Counts what activeflows do, around the pure `decide`."""

from dataclasses import replace
from datetime import datetime

from prometheus_client import Counter

from evercall.actor.model import ActorKind, Decision
from evercall.contracts.base import Message
from flow_manager.domain.state import ActiveflowState, Status

RUNS = Counter("evercall_flow_manager_runs_total", "Runs handed out")
ENDED = Counter("evercall_flow_manager_activeflows_ended_total", "Activeflows ended", ["reason"])


def counted(kind: ActorKind[ActiveflowState]) -> ActorKind[ActiveflowState]:
    """The same kind of actor, counted. A batch that is decided on again is counted again."""

    def decide(
        state: ActiveflowState | None, message: Message, now: datetime
    ) -> Decision[ActiveflowState]:
        decision = kind.decide(state, message, now)
        _count(state, decision.state)
        return decision

    return replace(kind, decide=decide)


def _count(before: ActiveflowState | None, after: ActiveflowState | None) -> None:
    if after is None or after is before:
        return
    RUNS.inc(after.sequence - (before.sequence if before else 0))
    if after.status is Status.ENDED and (before is None or before.status is not Status.ENDED):
        ENDED.labels(after.end_reason.value).inc()
