"""The composition root: keeper, stream, Asterisk's door, bus."""

import asyncio

from asterisk_proxy.gateways.broker import Publisher
from asterisk_proxy.gateways.custody import Custody
from asterisk_proxy.gateways.door import Door
from asterisk_proxy.heartbeat import Pulse
from asterisk_proxy.proxy import Proxy
from asterisk_proxy.settings import Settings
from asterisk_proxy.subscriptions import CommandsHandler
from evercall.bus.topology import asterisk_key
from evercall.contracts.asterisk import AsteriskCommands
from evercall.service.process import Process, run_process

PREFETCH = 256
CLOSE_TIMEOUT = 1.0
SETTLE_TIMEOUT = 3.0


async def compose(process: Process[Settings]) -> None:
    """Wires the service; the process runs until a signal."""
    settings = process.settings
    bus = await process.bus()
    custody = Custody(settings.asterisk_id, settings.ari_listen)
    stream, connection = await custody.open()
    publisher = Publisher(stream, bus, settings.asterisk_id, settings.shards)
    proxy = Proxy(stream, publisher, settings.ari_application, custody.keep)
    door = Door(
        settings.ari_address,
        settings.ari_username,
        settings.ari_password.get_secret_value(),
        proxy.may_enter,
        proxy.enter,
    )
    pulse = Pulse(bus, proxy, stream, settings)
    process.readiness.add("asterisk", lambda: proxy.usable)
    proxy.resume(connection)
    process.tasks.start("keeper", custody.watch())
    process.tasks.start("publisher", publisher.run())
    door_task = process.tasks.start("door", door.run())
    process.tasks.start("questions", proxy.ask())
    process.tasks.start("pings", proxy.ping())
    process.tasks.start("snapshots", proxy.take_snapshots())
    process.tasks.start("pulse", pulse.run())
    await bus.consume(
        asterisk_key(settings.asterisk_id),
        (AsteriskCommands,),
        CommandsHandler(proxy).handle,
        prefetch=PREFETCH,
    )

    async def stop() -> None:
        """Asterisk keeps its events from here on; what it has said is sent. Where the broker is away
        the keeper keeps that for the next proxy."""
        door_task.cancel()
        proxy.asterisk.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await proxy.asterisk.wait_closed()
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await publisher.wait_idle()
        except TimeoutError:
            return
        custody.dismiss()

    process.on_stop(stop)


def main() -> None:
    run_process("asterisk_proxy", Settings, compose)
