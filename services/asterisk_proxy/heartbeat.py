"""The heartbeat: twice a second, and at once when the connection comes or goes."""

import asyncio
from datetime import UTC, datetime
from typing import Protocol

from asterisk_proxy.proxy import Proxy
from asterisk_proxy.settings import Settings
from asterisk_proxy.stream import Stream
from evercall.contracts.asterisk import Heartbeat
from evercall.contracts.base import Message
from evercall.service.errors import Unavailable

INTERVAL = 0.5


class Bus(Protocol):
    """What is needed of the bus."""

    async def publish_farm(self, key: str, message: Message) -> None: ...


class Pulse:
    """Tells the farm that this Asterisk is there."""

    def __init__(self, bus: Bus, proxy: Proxy, stream: Stream, settings: Settings) -> None:
        self._bus = bus
        self._proxy = proxy
        self._stream = stream
        self._settings = settings

    async def run(self) -> None:
        """Beats until it is cancelled."""
        while True:
            self._proxy.changed.clear()
            await self._beat()
            self._proxy.refuse_overdue()
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._proxy.changed.wait()
            except TimeoutError:
                continue

    async def _beat(self) -> None:
        beat = Heartbeat(
            asterisk_id=self._settings.asterisk_id,
            role=self._settings.role,
            boot_id=self._stream.boot_id,
            sip_address=self._settings.sip_address,
            connected=self._proxy.answers,
            draining=False,
            channels=len(self._proxy.census),
            at=datetime.now(UTC),
        )
        try:
            await self._bus.publish_farm(f"heartbeat.{self._settings.asterisk_id}", beat)
        except Unavailable:
            # Its absence says the same to whoever listens.
            return
