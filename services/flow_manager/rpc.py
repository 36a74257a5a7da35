"""The requests of `contracts/flow.py` that any replica answers: flows, and reading activeflows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec
from prometheus_client import Counter

from evercall.contracts.base import Page, Request
from evercall.contracts.flow import (
    Action,
    Activeflow,
    ActiveflowGet,
    ActiveflowList,
    Flow,
    FlowCreate,
    FlowDelete,
    FlowGet,
    FlowList,
    FlowUpdate,
)
from evercall.contracts.tenant import Tenancy
from evercall.service.errors import Conflict, InvalidRequest, NotFound, Unavailable
from evercall.service.logging import get_logger
from evercall.service.quotas import quota_exceeded
from flow_manager.domain.state import ActiveflowState, to_resource
from flow_manager.domain.validation import validate
from flow_manager.gateways.flows import flow_not_found

REFUSED = Counter("evercall_flow_manager_flows_refused_total", "Flows refused for their faults")
EVENTS_LOST = Counter(
    "evercall_flow_manager_events_lost_total",
    "Events of changed flows that could not be published; caches run into their time to live",
)

log = get_logger(__name__)

Handler = Callable[[Any], Awaitable[msgspec.Struct]]
PublishEvent = Callable[[str, str, UUID, msgspec.Struct], Awaitable[None]]


class Flows(Protocol):
    """What the handlers need of the store."""

    async def create(
        self, request: FlowCreate, actions: Sequence[Action]
    ) -> tuple[Flow | None, bool]: ...
    async def update(self, request: FlowUpdate, actions: Sequence[Action]) -> Flow | None: ...
    async def delete(self, request: FlowDelete) -> Flow | None: ...
    async def get(self, request: FlowGet) -> Flow | None: ...
    async def list(self, request: FlowList) -> Page[Flow]: ...
    async def others(self, customer_id: UUID, than: UUID) -> int: ...


class Knows(Protocol):
    """What is needed of `Tenancies`."""

    async def of(self, customer_id: UUID) -> Tenancy: ...


class FlowHandlers:
    """One method per request about flows. `forget` drops a changed flow from this replica's cache."""

    def __init__(
        self,
        flows: Flows,
        tenancies: Knows,
        forget: Callable[[UUID], None],
        publish_event: PublishEvent,
    ) -> None:
        self._flows = flows
        self._tenancies = tenancies
        self._forget = forget
        self._publish_event = publish_event

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]:
        """For `Bus.serve`."""
        return {
            FlowCreate: self.create,
            FlowUpdate: self.update,
            FlowDelete: self.delete,
            FlowGet: self.get,
            FlowList: self._flows.list,
        }

    async def create(self, request: FlowCreate) -> Flow:
        """Adds a flow. Said twice with one id, it adds one and answers with it."""
        if not request.hidden:
            await self._require_room(request)
        created, is_new = await self._flows.create(request, _actions(request))
        if created is None:
            raise Conflict("flow_already_exists", "This id is taken", details={"field": "id"})
        # A hidden flow belongs to one call; there is nobody to tell.
        if is_new and not request.hidden:
            await self._tell("created", created)
        return created

    async def update(self, request: FlowUpdate) -> Flow:
        updated = _found(await self._flows.update(request, _actions(request)))
        await self._changed("updated", updated)
        return updated

    async def delete(self, request: FlowDelete) -> Flow:
        deleted = _found(await self._flows.delete(request))
        await self._changed("deleted", deleted)
        return deleted

    async def get(self, request: FlowGet) -> Flow:
        return _found(await self._flows.get(request))

    async def _require_room(self, request: FlowCreate) -> None:
        """Those who ask at the same moment may all be let in: the quota is against flows without end, and a few
        more do no harm."""
        most = (await self._tenancies.of(request.customer_id)).quotas.flows
        if await self._flows.others(request.customer_id, request.id) >= most:
            raise quota_exceeded("flows", most)

    async def _changed(self, event: str, flow: Flow) -> None:
        self._forget(flow.id)
        await self._tell(event, flow)

    async def _tell(self, event: str, flow: Flow) -> None:
        # The change is committed. Its event may be lost here: nobody gains from refusing a change
        # that has happened, and caches of flows have a time to live.
        try:
            await self._publish_event("flow", event, flow.customer_id, flow)
        except (Unavailable, TimeoutError):
            EVENTS_LOST.inc()
            log.warning("flow_event_lost", change=event, flow_id=str(flow.id))


class Activeflows(Protocol):
    """What the handlers need of the actors' store."""

    async def get(self, identifier: UUID) -> ActiveflowState | None: ...
    async def list(
        self, customer_id: UUID, page_size: int, page_token: str = ""
    ) -> tuple[list[ActiveflowState], str]: ...


class ActiveflowHandlers:
    """Reading activeflows. What changes them goes to their shard."""

    def __init__(self, activeflows: Activeflows) -> None:
        self._activeflows = activeflows

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]:
        """For `Bus.serve`."""
        return {ActiveflowGet: self.get, ActiveflowList: self.list}

    async def get(self, request: ActiveflowGet) -> Activeflow:
        state = await self._activeflows.get(request.id)
        if state is None or state.customer_id != request.customer_id:
            raise NotFound("activeflow_not_found", "There is no such activeflow")
        return to_resource(state)

    async def list(self, request: ActiveflowList) -> Page[Activeflow]:
        states, token = await self._activeflows.list(
            request.customer_id, request.page_size, request.page_token
        )
        return Page(result=[to_resource(state) for state in states], next_page_token=token)


def _actions(request: FlowCreate | FlowUpdate) -> list[Action]:
    try:
        return validate(request)
    except InvalidRequest:
        REFUSED.inc()
        raise


def _found(flow: Flow | None) -> Flow:
    if flow is None:
        raise flow_not_found()
    return flow
