"""The composition root: the leg's socket, the registry, the doors."""

import asyncio
from uuid import UUID

from evercall.contracts.media import MediaHeartbeat
from evercall.service.guard import HostGuard
from evercall.service.identity import new_id
from evercall.service.process import Process, run_process
from evercall.service.settings import parse_address
from evercall.service.tenancies import Tenancies
from media_manager.caretaker import Caretaker
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits
from media_manager.domain.request import StreamRequest
from media_manager.doors.dialing import Dialer
from media_manager.doors.handshake import Handshakes, Open
from media_manager.gateways.access import AccessGateway, Credentials
from media_manager.gateways.calls import Calls, own_queue
from media_manager.gateways.quota import StreamQuota
from media_manager.inner.leg import InnerSocket
from media_manager.metrics import MediaCollector, expose
from media_manager.registry import Registry
from media_manager.rpc import OwnHandlers, ServiceHandlers
from media_manager.session import Session
from media_manager.settings import Settings
from media_manager.subscriptions import KEYS, MediaEvents, Peers

SERVICE = "media_manager"


async def compose(process: Process[Settings]) -> None:
    """Wires the service; the process runs until a signal."""
    settings, clock = process.settings, asyncio.get_running_loop().time
    boot = new_id().hex
    bus = await process.bus()

    counts = Counts()
    inner = InnerSocket(settings.rtp_address)
    process.on_stop(inner.close)
    process.tasks.start("ticker", inner.run())
    calls = Calls(bus, settings.instance, boot, inner.host, settings.shards)
    limits = StreamLimits(settings.media_queue_seconds, settings.media_resume_seconds)
    tenancies = Tenancies(bus)
    await tenancies.start()
    quota = StreamQuota(bus, tenancies)
    registry = Registry(calls, quota, inner, process.tasks, limits, counts, clock)
    expose(MediaCollector(counts, inner, registry.numbers, registry.queued_seconds))

    access = AccessGateway(bus)
    caretaker = Caretaker(registry, access, process.tasks, settings.media_resume_seconds)
    process.tasks.start("caretaker", caretaker.run())
    peers = Peers(bus, calls, registry, settings.instance, boot, clock)
    await bus.subscribe_farm(["media.*"], (MediaHeartbeat,), peers.hear)
    await bus.subscribe_events(KEYS, MediaEvents(registry).hear)
    await bus.serve(own_queue(settings.instance), OwnHandlers(registry).handlers, own=True)
    dialer = Dialer(registry, HostGuard(settings.media_allowed_networks), process.tasks)
    await bus.serve(SERVICE, ServiceHandlers(dialer).handlers)
    await bus.on_connected(caretaker.word_missed)
    process.tasks.start("peers", peers.run())

    handshakes = Handshakes(
        opener(registry, access),
        process.tasks,
        trusted=settings.trusted_proxies,
        most=settings.media_connections,
    )
    host, port = parse_address(settings.http_listen)
    server = await asyncio.get_running_loop().create_server(handshakes, host, port, backlog=1024)

    async def leave() -> None:
        server.close()
        registry.send_away()
        await calls.leaving()
        await registry.emptied()

    process.on_stop(leave)


def opener(registry: Registry, access: AccessGateway) -> Open:
    """Lets a request in and finds its session."""

    async def open_session(request: StreamRequest, credentials: Credentials) -> Session:
        granted = await access.check(credentials, counts=True)
        customer_id: UUID = granted.customer_id
        return await registry.open(request, customer_id, credentials, granted.expires_at)

    return open_session


def main() -> None:
    """Runs the service."""
    run_process(SERVICE, Settings, compose)
