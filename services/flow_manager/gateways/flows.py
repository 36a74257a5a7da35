"""The port "flows": where a starting activeflow gets its flow from.

Flows change rarely and are started often, so they are kept in memory. Whoever changes one tells all
replicas by an event; a time to live bounds what a lost event can do.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import msgspec
from prometheus_client import Counter

from evercall.contracts.flow import Flow, FlowGet
from evercall.service.errors import NotFound, PlatformError

MAX_FLOWS = 1000
MAX_BYTES = 32 * 1024 * 1024
"""Of their actions as JSON; in memory they take some five times as much."""

MAX_AGE = 60.0

LOOKUPS = Counter(
    "evercall_flow_manager_flow_lookups_total", "Flows asked for at a start", ["result"]
)


@dataclass(frozen=True, slots=True)
class _Entry:
    flow: Flow
    since: float
    size: int


class FlowCache:
    """The flows that were started lately."""

    def __init__(
        self,
        read: Callable[[FlowGet], Awaitable[Flow | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._changes = 0
        self._bytes = 0

    def known(self, request: FlowGet) -> Flow | PlatformError | None:
        """A flow that is at hand."""
        entry = self._entries.get(request.id)
        if entry is None or self._clock() - entry.since > MAX_AGE:
            LOOKUPS.labels("miss").inc()
            return None
        LOOKUPS.labels("hit").inc()
        self._entries.move_to_end(request.id)
        if entry.flow.customer_id != request.customer_id:
            return flow_not_found()
        return entry.flow

    async def answer(self, request: FlowGet) -> Flow:
        """A flow from the store.

        Raises:
            NotFound: the customer has no such flow.
            Unavailable: the store is away.
        """
        changes = self._changes
        flow = await self._read(request)
        if flow is None:
            raise flow_not_found()
        # What was read while something changed may be what was there before.
        if changes == self._changes:
            self._keep(flow)
        return flow

    def forget(self, flow_id: UUID) -> None:
        """This flow has changed."""
        self._changes += 1
        self._drop(flow_id)

    def forget_all(self) -> None:
        """Any flow may have changed."""
        self._changes += 1
        self._entries.clear()
        self._bytes = 0

    def _keep(self, flow: Flow) -> None:
        self._drop(flow.id)
        size = len(msgspec.json.encode(flow.actions))
        self._entries[flow.id] = _Entry(flow, self._clock(), size)
        self._bytes += size
        while len(self._entries) > MAX_FLOWS or self._bytes > MAX_BYTES:
            self._drop(next(iter(self._entries)))

    def _drop(self, flow_id: UUID) -> None:
        entry = self._entries.pop(flow_id, None)
        if entry is not None:
            self._bytes -= entry.size


def flow_not_found() -> NotFound:
    """The answer for a flow that is not there, or somebody else's."""
    return NotFound("flow_not_found", "There is no such flow")
