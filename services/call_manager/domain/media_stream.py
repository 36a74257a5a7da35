"""A stream as its call knows it."""

from datetime import datetime
from uuid import UUID

import msgspec

from evercall.contracts.media import MediaConnect, MediaDirection, MediaStatus


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts the external channels that it had. `connect`: how its flow asked for it."""

    id: UUID
    owner: str
    boot: str
    host: str
    encapsulation: str
    rate: int = 8000
    listen: MediaDirection
    speak: MediaDirection
    from_flow: bool
    connect: MediaConnect | None = None
    tm_create: datetime
    status: MediaStatus = MediaStatus.STARTING
    number: int = 1
    snoop_up: bool = False
    rtp_address: str = ""
    rtp_port: int = 0
    previous_owner: str = ""
