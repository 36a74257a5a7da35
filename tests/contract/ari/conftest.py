"""Fixtures: an Asterisk, a broker, a proxy between them, a phone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from deploy.lab.network import SIP_PORT
from evercall.ari import commands
from evercall.bus.bus import Bus
from evercall.bus.topology import asterisk_key
from evercall.contracts.asterisk import AriCommand, AsteriskCommands
from tests.contract.ari.phone import Phone, PhoneCall
from tests.contract.ari.rig import (
    SHARDS,
    ProxyProcess,
    Rig,
    keeper_gone,
    prepare,
)
from tests.contract.ari.shards import Shards


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An Asterisk and a broker that run."""
    rig = prepare(tmp_path_factory.mktemp("ari"))
    try:
        rig.broker.start()
        rig.asterisk.start()
        rig.broker.wait_ready()
        rig.asterisk.wait_ready()
        yield rig
    finally:
        rig.asterisk.kill()
        rig.broker.kill()


@pytest.fixture
async def bus(rig: Rig) -> AsyncIterator[Bus]:
    """The test's own bus."""
    bus = Bus(rig.amqp_url, "test", SHARDS)
    running = asyncio.create_task(bus.run())
    try:
        async with asyncio.timeout(10):
            while not bus.connected:
                await asyncio.sleep(0.02)
        yield bus
    finally:
        await bus.close()
        await running


@pytest.fixture
async def shards(bus: Bus) -> Shards:
    """What call_manager would hear."""
    shards = Shards()
    await shards.attach(bus)
    return shards


@pytest.fixture
async def proxy(rig: Rig, shards: Shards) -> AsyncIterator[ProxyProcess]:
    """A proxy that is ready."""
    proxy = ProxyProcess(rig)
    await proxy.start()
    try:
        yield proxy
    finally:
        if proxy.process is None:
            await proxy.start()
        assert await proxy.stop() == 0
        await keeper_gone(rig)


@pytest.fixture
async def phone(rig: Rig) -> AsyncIterator[Phone]:
    """A phone where the Kamailio farm would be."""
    network = rig.farm.network
    phone = await Phone.open((network.internal_kamailio, SIP_PORT), rig.sip)
    try:
        yield phone
    finally:
        phone.close()
        await asyncio.sleep(0)


class Control:
    """Gives commands as call_manager would, and takes calls."""

    def __init__(self, bus: Bus, shards: Shards, asterisk_id: str) -> None:
        self._bus = bus
        self.shards = shards
        self._key = asterisk_key(asterisk_id)

    async def give(self, *given: AriCommand) -> None:
        """Sends commands as one message, for the life of Asterisk that is."""
        await self.shards.wait(lambda: self.shards.boot_id)
        await self.give_late(self.shards.boot_id, timedelta(seconds=30), *given)

    async def give_late(self, boot_id: str, life: timedelta, *given: AriCommand) -> None:
        """Sends commands for this life of Asterisk, which expire so long from now."""
        message = AsteriskCommands(
            boot_id=boot_id, expires_at=datetime.now(UTC) + life, commands=list(given)
        )
        await self._bus.publish(self._key, message)

    async def take(self, phone: Phone, number: str) -> "TakenCall":
        """Lets the phone call `number` and answers."""
        call = phone.call(number)
        await self.shards.wait(lambda: self.shards.started(number) is not None)
        actor = self.shards.started(number)
        assert actor is not None
        channel_id = await self.answer(actor)
        await call.answered()
        return TakenCall(call, actor, channel_id)

    async def answer(self, actor: UUID) -> str:
        """Answers the call of an actor; returns its channel."""
        channel_id = self.shards.events[actor][0].channel_id
        await self.give(commands.answer(actor, "answer", channel_id))
        return channel_id


class TakenCall:
    """A call that was answered, from both sides."""

    def __init__(self, phone: PhoneCall, actor: UUID, channel_id: str) -> None:
        self.phone = phone
        self.actor = actor
        self.channel_id = channel_id


@pytest.fixture
def control(bus: Bus, shards: Shards) -> Control:
    """Stands for call_manager."""
    return Control(bus, shards, "call-1")
