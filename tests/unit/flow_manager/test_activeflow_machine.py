"""An activeflow that hears anything at any time keeps its promises."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from evercall.actor.model import Answered, Publish, Reply, ReplyError, Tell, TimerFired
from evercall.contracts.base import Message, Request
from evercall.contracts.call import CallStatus
from evercall.contracts.flow import (
    ActiveflowDelete,
    ActiveflowReferenceEnded,
    ActiveflowStop,
    EndReason,
    Flow,
    RunReport,
)
from flow_manager.domain.activeflow import TRANSITIONS, Ignored, Illegal, Transition, decide
from flow_manager.domain.state import ActiveflowState, Status, to_resource
from tests.unit.flow_manager.builders import CUSTOMER, FLOW_ID, create
from tests.unit.flow_manager.test_activeflow import (
    ACTIVEFLOW_ID,
    START,
    STRANGER,
    call_answer,
    failure,
)
from tests.unit.flow_manager.test_flow_properties import right_flow, validated

customers = st.sampled_from([CUSTOMER, CUSTOMER, STRANGER])


class Life(RuleBasedStateMachine):
    """Messages in any order; `flow` is what the port "flows" knows."""

    def __init__(self) -> None:
        super().__init__()
        self.state: ActiveflowState | None = None
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.flow: Flow | None = None
        self.published: list[str] = []
        self.stops = 0

    @initialize(written=right_flow)
    def write_flow(self, written: list[dict[str, Any]]) -> None:
        self.flow = Flow(
            id=FLOW_ID,
            customer_id=CUSTOMER,
            actions=validated(create(*written)) or [],
            tm_create=self.now,
            tm_update=self.now,
        )

    def hear(self, message: Message) -> None:
        self.now += timedelta(seconds=1)
        before = self.state
        decision = decide(before, message, self.now)
        assert decision.state == decide(before, message, self.now).state
        self.check_table(before, message, decision.state)
        replies = [e for e in decision.effects if isinstance(e, Reply | ReplyError)]
        assert len(replies) <= 1
        if (
            isinstance(message, Request)
            and before is not None
            and before.status is not Status.STARTING
        ):
            assert replies
        self.published += [e.event for e in decision.effects if isinstance(e, Publish)]
        self.stops += sum(isinstance(e, Tell) for e in decision.effects)
        if decision.state is not None:
            encoded = msgspec.json.encode(decision.state)
            self.state = msgspec.json.decode(encoded, type=ActiveflowState)
            assert self.state == decision.state

    def check_table(
        self, before: ActiveflowState | None, message: Message, after: ActiveflowState | None
    ) -> None:
        row = TRANSITIONS[before.status if before else None][type(message)]
        if isinstance(row, Transition):
            assert (after.status if after else None) in row.to
        else:
            assert isinstance(row, Ignored | Illegal)
            assert after is before

    @rule()
    def start(self) -> None:
        self.hear(START)

    @rule()
    def flow_arrives(self) -> None:
        assert self.flow is not None
        self.hear(Answered(key="flow", body=self.flow))

    @rule(back=st.sampled_from([0, 0, 0, 1, 2, -1]), pressed=st.sampled_from([None, "", "1", "2"]))
    def reports(self, back: int, pressed: str | None) -> None:
        sequence = (self.state.sequence if self.state else 0) - back
        self.hear(RunReport(activeflow_id=ACTIVEFLOW_ID, sequence=sequence, digits=pressed))

    @rule(back=st.sampled_from([0, 1]), executed=st.integers(0, 10))
    def call_ends(self, back: int, executed: int) -> None:
        sequence = (self.state.sequence if self.state else 0) - back
        self.hear(
            ActiveflowReferenceEnded(
                activeflow_id=ACTIVEFLOW_ID, sequence=sequence, executed=executed
            )
        )

    @rule(customer=customers)
    def stop(self, customer: Any) -> None:
        self.hear(ActiveflowStop(id=ACTIVEFLOW_ID, customer_id=customer))

    @rule(customer=customers)
    def delete(self, customer: Any) -> None:
        self.hear(ActiveflowDelete(id=ACTIVEFLOW_ID, customer_id=customer))

    @rule()
    def timer_fires(self) -> None:
        self.hear(TimerFired(name="reference"))

    @rule(status=st.sampled_from([CallStatus.PROGRESSING, CallStatus.HANGUP]))
    def call_is_seen(self, status: CallStatus) -> None:
        self.hear(call_answer(status))

    @rule(
        key=st.sampled_from(["flow", "reference", "other"]),
        code=st.sampled_from(["flow_not_found", "call_not_found", "store_unavailable"]),
    )
    def something_fails(self, key: str, code: str) -> None:
        self.hear(failure(key, code))

    @invariant()
    def the_resource_tells_the_truth(self) -> None:
        if self.state is None:
            return
        resource = to_resource(self.state)
        msgspec.json.encode(resource)
        over = self.state.status is Status.ENDED
        assert over == (resource.end_reason is not EndReason.NONE)
        assert self.published.count("created") == 1
        assert self.published.count("ended") == over
        assert self.published.count("deleted") == (resource.tm_delete is not None)
        assert self.stops == (resource.end_reason is EndReason.STOPPED)
        assert (self.state.status is Status.FINISHING) <= (self.state.run_end is not EndReason.NONE)
        assert len(resource.variables) <= 100


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestLife = Life.TestCase
