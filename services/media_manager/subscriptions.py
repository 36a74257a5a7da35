"""What this process hears: the ends of legs, and whether its peers are alive."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from evercall.bus.bus import Bus
from evercall.contracts.base import ResourceEvent
from evercall.contracts.media import ExternalMedia, MediaHeartbeat, MediaStatus
from evercall.service.errors import Unavailable
from evercall.service.logging import get_logger
from media_manager.gateways.calls import Calls
from media_manager.registry import Registry

INTERVAL = 1.0
LOST_AFTER = 5.0
"""Seconds without a heartbeat after which a peer is gone."""

KEYS = ("*.external_media.*",)

log = get_logger(__name__)

_decode = msgspec.json.Decoder(ExternalMedia).decode


class MediaEvents:
    """Domain events of external media."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def hear(self, event: ResourceEvent) -> None:
        """A leg began or ended, here or elsewhere."""
        media = _decode(event.resource)
        if media.status is MediaStatus.STOPPED:
            self._registry.stopped(media)


class Peers:
    """The other processes of this service. Who is gone can't say so: its peers do."""

    def __init__(
        self,
        bus: Bus,
        calls: Calls,
        registry: Registry,
        instance: str,
        boot: str,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._calls = calls
        self._registry = registry
        self._instance = instance
        self._boot = boot
        self._clock = clock
        self._heard: dict[str, float] = {}

    async def hear(self, beat: MediaHeartbeat) -> None:
        """A peer is alive."""
        if beat.instance != self._instance:
            self._heard[beat.instance] = self._clock()

    async def run(self) -> None:
        """Beats, and looks after the others, until it is cancelled."""
        announced = False
        while True:
            try:
                if not announced:
                    await self._calls.own_streams_gone()
                    announced = True
                await self._beat()
                await self._miss()
            except Unavailable:
                self._heard = dict.fromkeys(self._heard, self._clock())
            await asyncio.sleep(INTERVAL)

    async def _beat(self) -> None:
        beat = MediaHeartbeat(
            instance=self._instance,
            boot=self._boot,
            streams=len(self._registry.sessions),
            draining=self._registry.is_draining,
            at=datetime.now(UTC),
        )
        await self._bus.publish_farm(f"media.{self._instance}", beat)

    async def _miss(self) -> None:
        now = self._clock()
        for instance in [name for name, at in self._heard.items() if now - at > LOST_AFTER]:
            log.warning("peer_gone", peer=instance)
            await self._calls.owner_gone(instance, "")
            del self._heard[instance]
