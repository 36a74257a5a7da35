"""What `flow_manager` answers and tells, with a store in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from evercall.actor.turn import LiveActors
from evercall.contracts import flow as contract
from evercall.contracts.base import Empty, Message, Page, Request, ResourceEvent
from evercall.contracts.flow import (
    Action,
    ActiveflowDelete,
    ActiveflowGet,
    ActiveflowList,
    ActiveflowReferenceEnded,
    ActiveflowStop,
    EndReason,
    Flow,
    FlowCreate,
    FlowDelete,
    FlowGet,
    FlowList,
    FlowUpdate,
    RunReport,
)
from evercall.contracts.tenant import Quotas, Tenancy
from evercall.service.errors import Conflict, InvalidRequest, NotFound, RateLimited, Unavailable
from evercall.service.identity import new_id
from flow_manager import metrics
from flow_manager.domain.activeflow import ACTIVEFLOW
from flow_manager.domain.state import ActiveflowState, new_state, to_resource
from flow_manager.metrics import counted
from flow_manager.rpc import EVENTS_LOST, REFUSED, ActiveflowHandlers, FlowHandlers
from flow_manager.subscriptions import ACCEPTS, on_flow_changed, receive
from tests.unit.flow_manager.builders import CUSTOMER, FLOW_ID, act, create
from tests.unit.flow_manager.test_activeflow import (
    ACTIVEFLOW_ID,
    NOW,
    START,
    STRANGER,
    ended,
    flow_answer,
)


class MemoryFlows:
    """The store's rules, in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Flow] = {}
        self.quotas = Quotas()

    async def create(
        self, request: FlowCreate, actions: Sequence[Action]
    ) -> tuple[Flow | None, bool]:
        known = self.rows.get(request.id)
        if known is not None:
            return (known if known.customer_id == request.customer_id else None), False
        self.rows[request.id] = Flow(
            id=request.id,
            customer_id=request.customer_id,
            name=request.name,
            actions=list(actions),
            tm_create=NOW,
            tm_update=NOW,
        )
        return self.rows[request.id], True

    async def update(self, request: FlowUpdate, actions: Sequence[Action]) -> Flow | None:
        return self._change(request, name=request.name, actions=list(actions))

    async def delete(self, request: FlowDelete) -> Flow | None:
        deleted = self._change(request, tm_delete=NOW)
        self.rows.pop(request.id, None)
        return deleted

    async def get(self, request: FlowGet) -> Flow | None:
        return self._change(request)

    async def others(self, customer_id: UUID, than: UUID) -> int:
        rows = (row for row in self.rows.values() if row.id != than)
        return sum(row.customer_id == customer_id for row in rows)

    async def of(self, customer_id: UUID) -> Tenancy:
        return Tenancy(customer_id=customer_id, quotas=self.quotas)

    async def list(self, request: FlowList) -> Page[Flow]:
        return Page(result=list(self.rows.values())[: request.page_size])

    def _change(self, request: Any, **changes: Any) -> Flow | None:
        row = self.rows.get(request.id)
        if row is None or row.customer_id != request.customer_id:
            return None
        self.rows[request.id] = msgspec.structs.replace(row, **changes)
        return self.rows[request.id]


class Service:
    """Handlers over a store in memory, what they told and what they forgot."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.forgotten: list[UUID] = []
        self.broker_away = False
        self.rows = MemoryFlows()
        self.flows = FlowHandlers(self.rows, self.rows, self.forgotten.append, self.publish)

    async def publish(
        self, resource: str, event: str, customer_id: UUID, body: msgspec.Struct
    ) -> None:
        if self.broker_away:
            raise Unavailable("broker_unavailable", "away")
        assert isinstance(body, Flow)
        assert customer_id == body.customer_id
        self.events.append(f"{resource}.{event}")

    async def ask(self, request: Request[Any]) -> Any:
        return await self.flows.handlers[type(request)](request)


UPDATE = FlowUpdate(
    id=FLOW_ID, customer_id=CUSTOMER, name="new", detail="", actions=[act("hangup")]
)
DELETE = FlowDelete(id=FLOW_ID, customer_id=CUSTOMER)
GET = FlowGet(id=FLOW_ID, customer_id=CUSTOMER)


async def test_the_life_of_a_flow() -> None:
    service = Service()
    created = await service.ask(create(act("answer"), name="old"))
    assert created.name == "old"
    assert await service.ask(GET) == created
    assert service.forgotten == []
    updated = await service.ask(UPDATE)
    assert [action.type for action in updated.actions] == ["hangup"]
    listed = await service.ask(FlowList(customer_id=CUSTOMER, page_size=5))
    assert listed.result == [updated]
    assert (await service.ask(DELETE)).tm_delete == NOW
    assert service.events == ["flow.created", "flow.updated", "flow.deleted"]
    assert service.forgotten == [FLOW_ID, FLOW_ID]


async def test_a_flow_is_created_once() -> None:
    service = Service()
    first = await service.ask(create(act("answer")))
    assert await service.ask(create(act("hangup"))) == first
    assert service.events == ["flow.created"]


async def test_a_customer_has_so_many_flows_and_not_more() -> None:
    service = Service()
    service.rows.quotas = Quotas(flows=1)
    first = create()
    await service.ask(first)
    await service.ask(first)  # said again, it is the same
    another = msgspec.structs.replace(first, id=new_id())
    with pytest.raises(RateLimited, match="quota_exceeded"):
        await service.ask(another)
    await service.ask(msgspec.structs.replace(another, hidden=True))
    service.rows.quotas = Quotas(flows=2)
    await service.ask(another)


async def test_an_id_that_somebody_else_has_is_taken() -> None:
    service = Service()
    await service.ask(create())
    with pytest.raises(Conflict, match="flow_already_exists"):
        await service.ask(msgspec.structs.replace(create(), customer_id=STRANGER))


async def test_hidden_flows_are_nobodys_news() -> None:
    service = Service()
    await service.ask(create(hidden=True))
    assert service.events == []


@pytest.mark.parametrize("request_", [UPDATE, DELETE, GET])
async def test_there_is_no_flow(request_: Request[Any]) -> None:
    with pytest.raises(NotFound, match="flow_not_found"):
        await Service().ask(request_)


@pytest.mark.parametrize("request_", [UPDATE, DELETE, GET])
async def test_strangers_find_no_flow(request_: Request[Any]) -> None:
    service = Service()
    await service.ask(create())
    with pytest.raises(NotFound, match="flow_not_found"):
        await service.ask(msgspec.structs.replace(request_, customer_id=STRANGER))
    assert service.forgotten == []


async def test_faults_are_counted_and_change_nothing() -> None:
    service = Service()
    before = REFUSED._value.get()
    with pytest.raises(InvalidRequest):
        await service.ask(create(act("sing")))
    await service.ask(create())
    with pytest.raises(InvalidRequest):
        await service.ask(msgspec.structs.replace(UPDATE, actions=[1]))
    assert REFUSED._value.get() == before + 2
    assert (await service.ask(GET)).actions == []


async def test_a_lost_event_is_counted_and_the_change_holds() -> None:
    service = Service()
    await service.ask(create())
    service.broker_away = True
    before = EVENTS_LOST._value.get()
    assert (await service.ask(UPDATE)).name == "new"
    assert EVENTS_LOST._value.get() == before + 1
    assert service.forgotten == [FLOW_ID]


# -- activeflows -------------------------------------------------------------------------------


class MemoryActiveflows:
    def __init__(self, *states: ActiveflowState) -> None:
        self.states = {state.id: state for state in states}

    async def get(self, identifier: UUID) -> ActiveflowState | None:
        return self.states.get(identifier)

    async def list(
        self, customer_id: UUID, page_size: int, page_token: str = ""
    ) -> tuple[list[ActiveflowState], str]:
        mine = [state for state in self.states.values() if state.customer_id == customer_id]
        return mine[:page_size], page_token + "+"


async def test_reading_activeflows() -> None:
    state = new_state(START, NOW)
    handlers = ActiveflowHandlers(MemoryActiveflows(state)).handlers
    get = ActiveflowGet(id=ACTIVEFLOW_ID, customer_id=CUSTOMER)
    assert await handlers[ActiveflowGet](get) == to_resource(state)
    for other in (
        msgspec.structs.replace(get, customer_id=STRANGER),
        msgspec.structs.replace(get, id=STRANGER),
    ):
        with pytest.raises(NotFound, match="activeflow_not_found"):
            await handlers[ActiveflowGet](other)
    page = await handlers[ActiveflowList](
        ActiveflowList(customer_id=CUSTOMER, page_size=5, page_token="t")
    )
    assert page == Page(result=[to_resource(state)], next_page_token="t+")


def test_every_request_of_the_contract_has_its_place() -> None:
    """To the service's queue, or to the shard of an activeflow."""
    requests = {
        kind
        for kind in vars(contract).values()
        if isinstance(kind, type) and issubclass(kind, Message) and kind not in (Message, Request)
    }
    served = FlowHandlers(MemoryFlows(), MemoryFlows(), lambda _: None, Service().publish).handlers
    read = ActiveflowHandlers(MemoryActiveflows()).handlers
    assert {*served, *read, *ACCEPTS} == requests


@pytest.mark.parametrize(
    "message",
    [
        START,
        RunReport(activeflow_id=ACTIVEFLOW_ID, sequence=1),
        ActiveflowReferenceEnded(activeflow_id=ACTIVEFLOW_ID, sequence=1, executed=0),
        ActiveflowStop(id=ACTIVEFLOW_ID, customer_id=CUSTOMER),
        ActiveflowDelete(id=ACTIVEFLOW_ID, customer_id=CUSTOMER),
    ],
)
def test_messages_find_their_activeflow(message: Message) -> None:
    (delivery,) = receive(message, LiveActors({}))
    assert (delivery.kind, delivery.actor, delivery.body) == (
        ACTIVEFLOW.name,
        ACTIVEFLOW_ID,
        message,
    )


def test_other_messages_find_none() -> None:
    with pytest.raises(TypeError):
        receive(GET, LiveActors({}))


async def test_changes_of_other_replicas_are_heard() -> None:
    forgotten: list[UUID] = []
    event = ResourceEvent(
        id=STRANGER,
        type="flow_updated",
        customer_id=CUSTOMER,
        resource_id=FLOW_ID,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        resource=msgspec.Raw(msgspec.json.encode(Empty())),
    )
    await on_flow_changed(forgotten.append)(event)
    assert forgotten == [FLOW_ID]


def test_runs_and_ends_are_counted() -> None:
    runs = metrics.RUNS._value.get()
    completed = metrics.ENDED.labels(EndReason.COMPLETED.value)._value.get()
    decide = counted(ACTIVEFLOW).decide
    state: ActiveflowState | None = None
    for message in (START, flow_answer(act("hangup")), START, ended(1, 1), ended(1, 1)):
        state = decide(state, message, NOW).state
    assert metrics.RUNS._value.get() == runs + 1
    assert metrics.ENDED.labels(EndReason.COMPLETED.value)._value.get() == completed + 1
    assert decide(None, ended(1, 1), NOW).state is None
