"""What a stream is, and its bounds."""

from dataclasses import dataclass, replace
from uuid import UUID

from evercall.contracts.media import ExternalMedia, MediaDirection


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """A stream as it was asked for."""

    id: UUID
    call_id: UUID
    customer_id: UUID
    encapsulation: str
    rate: int
    listen: MediaDirection = MediaDirection.BOTH
    speak: MediaDirection = MediaDirection.BOTH
    from_flow: bool = False

    def as_made(self, media: ExternalMedia) -> "StreamOptions":
        """Of a stream that goes on here: what it was made with counts."""
        return replace(
            self,
            encapsulation=media.encapsulation,
            rate=media.rate,
            listen=media.direction_listen,
            speak=media.direction_speak,
        )

    @property
    def direction(self) -> str:
        """As the application sees it: `in` it only receives, `out` it only sends."""
        if self.listen and self.speak:
            return "both"
        return "in" if self.listen else "out"


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of a stream.

    Attributes:
        queue_seconds: audio of the application that may wait to be played.
        kept_seconds: the call's audio that is kept for an application that is away; so long it may be away.
        faults: frames that are not understood, one after the other, until the stream ends.
    """

    queue_seconds: float = 60.0
    kept_seconds: float = 10.0
    faults: int = 500
