"""The calls, as streams need them: their legs made, moved, removed."""

from uuid import UUID

from evercall.bus import topology
from evercall.bus.bus import Bus
from evercall.contracts.call import MediaStreamAdmit
from evercall.contracts.media import (
    ExternalMediaLeg,
    ExternalMediaOwnerGone,
    ExternalMediaStart,
    ExternalMediaStop,
    StreamHandedOver,
    StreamHandover,
)
from media_manager.domain.options import StreamOptions

SERVICE = "call_manager"

START_PATIENCE = 7.0
"""Longer than a call waits for Asterisk (5 s), so that its word of what went wrong is heard."""

HANDOVER_PATIENCE = 1.0


def own_queue(instance: str) -> str:
    """The queue of one process of `media_manager`."""
    return f"media_manager.{instance}"


class Calls:
    """Speaks for one process."""

    def __init__(self, bus: Bus, instance: str, boot: str, host: str, shards: int) -> None:
        """`host`: `address:port` to which Asterisk sends audio."""
        self._bus = bus
        self._instance = instance
        self._boot = boot
        self._host = host
        self._shards = shards

    async def start(self, options: StreamOptions, *, resume: bool) -> ExternalMediaLeg:
        """Has the leg made; with `resume` moved here. Saying it again tells whether it is still there.

        Raises:
            PlatformError: as `MediaStreamAdmit` and `ExternalMediaStart` tell.
        """
        if not resume:
            await self._bus.ask(SERVICE, MediaStreamAdmit(customer_id=options.customer_id))
        request = ExternalMediaStart(
            id=options.id,
            call_id=options.call_id,
            customer_id=options.customer_id,
            owner=self._instance,
            boot=self._boot,
            host=self._host,
            encapsulation=options.encapsulation,
            rate=options.rate,
            direction_listen=options.listen,
            direction_speak=options.speak,
            resume=resume,
            from_flow=options.from_flow,
        )
        return await self._bus.ask(SERVICE, request, actor=options.call_id, timeout=START_PATIENCE)

    async def stop(self, options: StreamOptions, reason: str) -> None:
        """Has the leg removed.

        Raises:
            PlatformError: as `ExternalMediaStop` tells.
        """
        request = ExternalMediaStop(
            id=options.id,
            call_id=options.call_id,
            owner=self._instance,
            boot=self._boot,
            reason=reason,
        )
        await self._bus.ask(SERVICE, request, actor=options.call_id)

    async def hand_over(self, identifier: UUID, owner: str) -> StreamHandedOver | None:
        """What the former owner kept; None where that was this process in a former life.

        Raises:
            PlatformError: it is gone, or has no such stream.
        """
        if owner == self._instance:
            return None
        request = StreamHandover(id=identifier)
        return await self._bus.ask(own_queue(owner), request, timeout=HANDOVER_PATIENCE)

    async def owner_gone(self, owner: str, alive_boot: str) -> None:
        """Says that the streams of that owner have nobody.

        Raises:
            Unavailable: the broker is away.
        """
        gone = ExternalMediaOwnerGone(owner=owner, alive_boot=alive_boot)
        for shard in range(self._shards):
            await self._bus.publish(topology.shard_key(SERVICE, shard), gone)

    async def own_streams_gone(self) -> None:
        """At the beginning: what a former life of this process served has nobody."""
        await self.owner_gone(self._instance, self._boot)

    async def leaving(self) -> None:
        """At the end: what is left here has nobody."""
        await self.owner_gone(self._instance, "")
