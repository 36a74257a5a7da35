"""The composition root: store and handlers, served on the bus."""

from datetime import timedelta

from evercall.service.process import Process, run_process
from route_manager.rpc import NumberHandlers
from route_manager.settings import Settings
from route_manager.store import NumberStore


async def compose(process: Process[Settings]) -> None:
    """Wires the service; the process runs until a signal."""
    bus = await process.bus()
    rest = timedelta(seconds=process.settings.number_rest_seconds)
    store = NumberStore(await process.database(), rest)
    await bus.serve("route_manager", NumberHandlers(store, bus.publish_event).handlers)


def main() -> None:
    run_process("route_manager", Settings, compose)
