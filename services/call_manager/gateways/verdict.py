"""Tells the owners of all shards that an Asterisk is lost: each ends the calls that it had there."""

from datetime import UTC, datetime, timedelta

from evercall.bus import topology
from evercall.bus.bus import Bus
from evercall.bus.envelope import encode, properties, tag_of
from evercall.contracts.asterisk import AsteriskLost
from evercall.service.identity import new_id

SERVICE = "call_manager"

LIFE = timedelta(seconds=10)
"""A verdict is for now. It is given again while it holds, so one that waited for an owner is of no use."""


class Verdict:
    """For `evercall.membership.watch`."""

    def __init__(self, bus: Bus, shards: int) -> None:
        self._bus = bus
        self._shards = shards

    async def tell(self, asterisk_id: str, boot_id: str) -> None:
        """Sends the verdict to every shard, whoever owns it now.

        Raises:
            Unavailable: the broker is away.
        """
        lost = AsteriskLost(asterisk_id=asterisk_id, boot_id=boot_id, at=datetime.now(UTC))
        for shard in range(self._shards):
            headers = properties(
                tag_of(lost), message_id=new_id().hex, expires=LIFE, persistent=False
            )
            key = topology.shard_key(SERVICE, shard)
            await self._bus.send(topology.RPC, key, encode(lost), headers)
