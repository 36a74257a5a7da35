"""G.722 at 64 kbit/s: 16 kHz audio in the bytes of G.711. Both directions remember what came before.

RTP counts its timestamps at 8000 a second all the same (RFC 3551 §4.5.2): 160 for 20 ms.
"""

import numpy as np
from G722 import G722  # type: ignore[import-not-found]

from evercall.media.errors import Code, FormatError

RATE = 16_000
CLOCK_RATE = 8000

_BIT_RATE = 64_000
_SAMPLES = np.dtype("<i2")
_BYTES_PER_CODE = 4


class G722Encoder:
    """One direction of one stream."""

    def __init__(self) -> None:
        self._codec = G722(RATE, _BIT_RATE)

    def encode(self, data: bytes) -> bytes:
        """Linear audio at 16 kHz to G.722.

        Raises:
            FormatError: no even number of samples; two of them make a byte.
        """
        if len(data) % _BYTES_PER_CODE:
            raise FormatError(Code.ODD_LENGTH, "G.722 takes two samples at a time")
        encoded: bytes = self._codec.encode(np.frombuffer(data, _SAMPLES))
        return encoded


class G722Decoder:
    """The other direction."""

    def __init__(self) -> None:
        self._codec = G722(RATE, _BIT_RATE)

    def decode(self, data: bytes) -> bytes:
        """G.722 to linear audio at 16 kHz. Every byte is a code."""
        decoded: bytes = self._codec.decode(data).tobytes()
        return decoded
