"""The composition root: flows on the service's queue, activeflows on its shards."""

from evercall.actor.query import ActorQuery
from evercall.actor.runtime import ActorRuntime
from evercall.actor.store import ActorStore
from evercall.service.process import Process, run_process
from evercall.service.tenancies import Tenancies
from flow_manager.domain.activeflow import ACTIVEFLOW, CALL_SERVICE, FLOWS_PORT
from flow_manager.gateways.flows import FlowCache
from flow_manager.metrics import counted
from flow_manager.rpc import ActiveflowHandlers, FlowHandlers
from flow_manager.settings import Settings
from flow_manager.store import FlowStore
from flow_manager.subscriptions import ACCEPTS, FLOW_CHANGES, on_flow_changed, receive

SERVICE = "flow_manager"


async def compose(process: Process[Settings]) -> None:
    """Wires the service; the process runs until a signal."""
    bus = await process.bus()
    database = await process.database()
    store = FlowStore(database)
    cache = FlowCache(store.get)
    tenancies = Tenancies(bus)
    await tenancies.start()
    flows = FlowHandlers(store, tenancies, cache.forget, bus.publish_event)
    activeflows = ActiveflowHandlers(ActorQuery(database, SERVICE, ACTIVEFLOW))
    await bus.subscribe_events(FLOW_CHANGES, on_flow_changed(cache.forget))

    async def forget_what_changed_meanwhile() -> None:
        cache.forget_all()

    await bus.on_connected(forget_what_changed_meanwhile)
    await bus.serve(SERVICE, {**flows.handlers, **activeflows.handlers})
    kinds = [counted(ACTIVEFLOW)]
    runtime = ActorRuntime(
        process,
        bus,
        ActorStore(database, SERVICE, kinds, process.settings.shards),
        SERVICE,
        kinds=kinds,
        accepts=ACCEPTS,
        receive=receive,
        ports={FLOWS_PORT: cache},
        peers=[CALL_SERVICE],
    )
    await runtime.start()


def main() -> None:
    run_process(SERVICE, Settings, compose)
