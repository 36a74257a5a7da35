"""External media: audio of a call that goes to an application, and the messages around it.

The call's actor (`call_manager`) owns the leg in Asterisk; a process of `media_manager` owns the stream, which
is the other end of that leg. A stream outlives its owner: another process takes it over with
`ExternalMediaStart(resume=True)`.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from evercall.contracts.base import Empty, Message, Request


class MediaDirection(StrEnum):
    """Which audio of a call, seen from the platform: `in` comes from the call's far end, `out` goes to it."""

    NONE = ""
    BOTH = "both"
    IN = "in"
    OUT = "out"


class MediaStatus(StrEnum):
    """Life of an external media."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


class ExternalMedia(msgspec.Struct, frozen=True, kw_only=True):
    """The public resource, as events tell it. `reason` says why it stopped."""

    id: UUID
    customer_id: UUID
    reference_type: str = "call"
    reference_id: UUID
    status: MediaStatus
    encapsulation: str
    rate: int = 8000
    direction_listen: MediaDirection
    direction_speak: MediaDirection
    reason: str = ""
    tm_create: datetime
    tm_update: datetime


class ExternalMediaLeg(msgspec.Struct, frozen=True, kw_only=True):
    """A leg that is up: where Asterisk sends from and listens (`rtp_address`, `rtp_port`).

    `previous_owner` is the instance of `media_manager` that had the stream before; empty: nobody had.
    """

    media: ExternalMedia
    rtp_address: str
    rtp_port: int
    previous_owner: str = ""


class ExternalMediaStart(Request[ExternalMediaLeg], frozen=True, kw_only=True):
    """Makes the leg of a stream, or with `resume` moves it to a new owner. To the shard of `call_id`.

    Saying it twice is harmless. Answered when Asterisk has the leg. A stream that is there already keeps what it
    was made with: the answer says what that is.

    Errors: `call_not_found`, `call_not_progressing`, `media_stream_limit_reached`, `media_stream_not_found`
    (`resume`, and there is no such stream any more), `asterisk_unavailable`.

    Attributes:
        id: of the stream, chosen by `media_manager`.
        owner: the instance of `media_manager`.
        boot: the run of that instance.
        host: `address:port` to which Asterisk sends RTP.
        from_flow: a flow action started it.
    """

    id: UUID
    call_id: UUID
    customer_id: UUID
    owner: str
    boot: str
    host: str
    encapsulation: str = "rtp"
    rate: int = 8000
    direction_listen: MediaDirection = MediaDirection.BOTH
    direction_speak: MediaDirection = MediaDirection.BOTH
    resume: bool = False
    from_flow: bool = False


class ExternalMediaStop(Request[ExternalMedia], frozen=True, kw_only=True):
    """Ends a stream. To the shard of `call_id`. Only its owner can: of anybody else it is not heard.

    Errors: `media_stream_not_found`.
    """

    id: UUID
    call_id: UUID
    owner: str
    boot: str
    reason: str


class ExternalMediaOwnerGone(Message, frozen=True, kw_only=True):
    """Nobody serves the streams of `owner` now, save those that its run `alive_boot` has (empty: none).

    To every shard of `call_manager`. Said by the owner's peers, and by itself when it starts anew.
    """

    owner: str
    alive_boot: str = ""


class MediaHeartbeat(Message, frozen=True, kw_only=True):
    """Sent once a second on the exchange `evercall.farm`, routing key `media.<instance>`."""

    instance: str
    boot: str
    streams: int
    draining: bool
    at: datetime


class MediaAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The stream is being made."""

    id: UUID


class MediaConnect(Request[MediaAccepted], frozen=True, kw_only=True):
    """Opens a stream of a call towards an application. To the service queue of `media_manager`; heard again,
    the first one counts.

    Errors: `media_target_refused` (the address is not allowed), `media_target_invalid`.

    Attributes:
        target: `ws://…` or `wss://…`, or `host:port` for `rtp` over UDP and `audiosocket` over TCP.
        transport: `websocket`, `udp` or `tcp`.
    """

    id: UUID
    call_id: UUID
    customer_id: UUID
    target: str
    transport: str
    encapsulation: str
    direction_listen: MediaDirection
    direction_speak: MediaDirection


class StreamHandedOver(msgspec.Struct, frozen=True, kw_only=True):
    """What the former owner kept of a stream, base64 in JSON.

    Attributes:
        kept: messages for the application that it has not got, oldest first, as ulaw of 20 ms each.
        dropped_ms: of those, what did not fit.
        queued: ulaw that the application sent and that was not played yet.
        marks: positions in `queued` (bytes) and names of marks that were not reached.
        sequence: the next control frame's number.
        played_ms: of the application's audio, since the stream began.
        reached: marks that were reached while nobody was there to be told, each with how much was played then.
    """

    kept: list[bytes] = []
    dropped_ms: int = 0
    queued: bytes = b""
    marks: list[tuple[int, str]] = []
    sequence: int = 0
    played_ms: int = 0
    reached: list[tuple[str, int]] = []


class StreamHandover(Request[StreamHandedOver], frozen=True, kw_only=True):
    """Gives a stream to its new owner. To the queue `media_manager.<instance>` of the former one.

    Errors: `media_stream_not_found`.
    """

    id: UUID


class StreamDigit(Request[Empty], frozen=True, kw_only=True):
    """The call's far end pressed a key. To the queue `media_manager.<instance>`. Personal data."""

    id: UUID
    digit: str
    duration_ms: int
