"""What audio is made of: codings, rates, the length of a frame."""

from enum import StrEnum

import msgspec

FRAME_MILLISECONDS = 20
FRAMES_PER_SECOND = 1000 // FRAME_MILLISECONDS


class Coding(StrEnum):
    """Codings in which a number of samples always takes the same number of bytes."""

    ULAW = "ulaw"
    ALAW = "alaw"
    LINEAR = "slin"
    """16 bits, signed, little-endian."""
    L16 = "l16"
    """The same in network byte order (RFC 3551 §4.5.11)."""


_BYTES_PER_SAMPLE = {Coding.ULAW: 1, Coding.ALAW: 1, Coding.LINEAR: 2, Coding.L16: 2}

# G.711: no signal is the code of the smallest positive value; in A-law even bits are inverted.
_SILENCE = {Coding.ULAW: b"\xff", Coding.ALAW: b"\xd5", Coding.LINEAR: b"\0", Coding.L16: b"\0"}


class AudioFormat(msgspec.Struct, frozen=True):
    """A coding at a rate, mono."""

    coding: Coding
    rate: int

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return _BYTES_PER_SAMPLE[self.coding]

    @property
    def frame_samples(self) -> int:
        """Samples of 20 ms."""
        return self.rate // FRAMES_PER_SECOND

    @property
    def frame_bytes(self) -> int:
        """Bytes of 20 ms."""
        return self.frame_samples * self.sample_bytes

    @property
    def silence_byte(self) -> bytes:
        """The byte that silence is made of."""
        return _SILENCE[self.coding]

    @property
    def silence(self) -> bytes:
        """20 ms of silence."""
        return self.silence_byte * self.frame_bytes

    def milliseconds(self, length: int) -> int:
        """How long so many bytes last."""
        return length * 1000 // (self.rate * self.sample_bytes)


TELEPHONE = AudioFormat(Coding.ULAW, 8000)
"""What every leg inside the platform carries."""
