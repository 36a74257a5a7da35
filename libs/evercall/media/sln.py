"""SLN: nothing but linear audio, as it is (Asterisk's slin).

All binary messages together are the audio, wherever they are cut; one that ends within a sample goes on in
the next.
"""

from uuid import UUID

from evercall.media.audio import AudioFormat, Coding
from evercall.media.errors import Code, FormatError
from evercall.media.framing import Audio, Encapsulation, Received
from evercall.media.keypad import frequencies


class SlnFraming:
    """An application's raw audio."""

    encapsulation = Encapsulation.SLN

    def __init__(self, rate: int) -> None:
        if rate <= 0:
            raise FormatError(Code.UNSUPPORTED_RATE, "a rate is positive")
        self.format = AudioFormat(Coding.LINEAR, rate)
        self._half = b""

    def receive(self, data: bytes) -> list[Received]:
        """Whole samples."""
        if self._half:
            data = self._half + data
        whole = len(data) & ~1
        if whole == len(data):
            self._half = b""
            return [Audio(data)] if data else []
        self._half = data[whole:]
        return [Audio(data[:whole])] if whole else []

    def release(self) -> list[Received]:
        """Nothing is held back."""
        return []

    def opening(self, identity: UUID) -> bytes:  # noqa: ARG002
        """Raw audio has no beginning."""
        return b""

    def audio(self, frame: bytes) -> bytes:
        """The frame itself."""
        return frame

    def pause(self, frames: int) -> None:
        """A pause is not told."""

    def digit(self, key: str) -> list[bytes]:
        """Raw audio cannot tell a key."""
        frequencies(key)
        return []

    def hang_up(self) -> bytes:
        """Raw audio has no end."""
        return b""
