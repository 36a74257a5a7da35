"""What comes in beside requests: messages to activeflows, and events of flows that changed."""

from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

from evercall.actor.turn import Delivery, LiveActors
from evercall.contracts.base import Message, ResourceEvent
from evercall.contracts.flow import (
    ActiveflowDelete,
    ActiveflowReferenceEnded,
    ActiveflowStart,
    ActiveflowStop,
    RunReport,
)
from flow_manager.domain.activeflow import ACTIVEFLOW

ACCEPTS: tuple[type[Message], ...] = (
    ActiveflowStart,
    RunReport,
    ActiveflowReferenceEnded,
    ActiveflowStop,
    ActiveflowDelete,
)

FLOW_CHANGES = ("*.flow.updated", "*.flow.deleted")


def receive(message: Message, _: LiveActors) -> Iterable[Delivery]:
    """The activeflow that a message is for."""
    match message:
        case ActiveflowStart() | ActiveflowStop() | ActiveflowDelete():
            return [Delivery(ACTIVEFLOW.name, message.id, message)]
        case RunReport() | ActiveflowReferenceEnded():
            return [Delivery(ACTIVEFLOW.name, message.activeflow_id, message)]
    raise TypeError(f"no activeflow takes {type(message)}")


def on_flow_changed(forget: Callable[[UUID], None]) -> Callable[[ResourceEvent], Awaitable[None]]:
    """Drops a flow that some replica changed."""

    async def handle(event: ResourceEvent) -> None:
        forget(event.resource_id)

    return handle
