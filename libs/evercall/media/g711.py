"""G.711, both laws, to and from linear audio and into each other, bit for bit as ITU-T has it.

Every decision interval of the standard is taken closed at its lower end, over the whole axis, which is
what ITU-T's own software does (G.191, `ulaw_compress`, `alaw_compress`). `audioop` does so too, except in
one direction: it rounds negative samples away from zero before it compresses them to µ-law, so that 508 of
the 65,536 samples get a neighbouring code, the -1 of a quiet line among them. That direction is a table.

Nothing here fails: every byte is a code, every pair of bytes a sample.
"""

import numpy as np
from numpy.typing import NDArray

from evercall.media._audioop import audioop
from evercall.media.errors import Code, FormatError

_BIAS = 33
"""§3.2 of the µ-law: what makes all segments begin at powers of two, in units of 14 bits."""
_ULAW_LARGEST = 8158
"""The largest magnitude that µ-law can tell, in the same units; more is clipped."""


def _ulaw_codes() -> NDArray[np.uint8]:
    """The code of each 16-bit sample, by its bit pattern."""
    sample = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    negative = sample < 0
    # In 14 bits; the complement closes the intervals of negative values at their lower end.
    magnitude = np.minimum(np.where(negative, ~sample, sample) >> 2, _ULAW_LARGEST) + _BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    step = (magnitude >> (segment + 1)) & 0x0F
    code: NDArray[np.int32] = ~(negative << 7 | segment << 4 | step) & 0xFF
    return code.astype(np.uint8)


_ULAW_OF = _ulaw_codes()
_SAMPLES = np.dtype("<u2")


def ulaw_to_linear(data: bytes) -> bytes:
    """µ-law to linear."""
    return audioop.ulaw2lin(data, 2)


def linear_to_ulaw(data: bytes) -> bytes:
    """Linear to µ-law.

    Raises:
        FormatError: the audio ends within a sample.
    """
    try:
        return _ULAW_OF.take(np.frombuffer(data, _SAMPLES)).tobytes()
    except ValueError as error:
        raise FormatError(Code.ODD_LENGTH, "audio ends within a sample") from error


def alaw_to_linear(data: bytes) -> bytes:
    """A-law to linear."""
    return audioop.alaw2lin(data, 2)


def linear_to_alaw(data: bytes) -> bytes:
    """Linear to A-law.

    Raises:
        FormatError: the audio ends within a sample.
    """
    try:
        return audioop.lin2alaw(data, 2)
    except audioop.error as error:
        raise FormatError(Code.ODD_LENGTH, "audio ends within a sample") from error


# G.711's tables 3 and 4 (µ-A and A-µ conversion): the number of the other law's value for each value,
# counted from the smallest magnitude. Not the same as going through linear audio: the tables heed that the
# laws are overloaded at different levels (§3.2: 3.17 dBm0 for µ-law, 3.14 dBm0 for A-law).
_ALAW_NUMBERS = (
    *(n // 2 + 1 for n in range(16)), *range(9, 25), 25, 27, 29, 31, *range(33, 45), 46,
    *range(48, 63), *range(64, 81), *range(82, 129),
)  # fmt: skip
_ULAW_NUMBERS = (
    *range(1, 16, 2), *range(16, 32), 32, 32, 33, 33, 34, 34, 35, 35, *range(36, 48), 48, 48, 49, 49,
    *range(50, 64), 64, 64, *range(65, 80), 80, 80, *range(81, 128),
)  # fmt: skip

_SIGN = 0x80
_ULAW_INVERTED, _ALAW_INVERTED = 0x7F, 0x55
"""The bits that each law inverts on the line, the sign aside: in both, it is set in positive values."""

_ULAW_AS_ALAW = bytes(
    code & _SIGN | (_ALAW_NUMBERS[~code & 0x7F] - 1) ^ _ALAW_INVERTED for code in range(256)
)
_ALAW_AS_ULAW = bytes(
    code & _SIGN | _ULAW_NUMBERS[(code ^ _ALAW_INVERTED) & 0x7F] ^ _ULAW_INVERTED
    for code in range(256)
)


def ulaw_to_alaw(data: bytes) -> bytes:
    """µ-law to A-law, without a detour."""
    return data.translate(_ULAW_AS_ALAW)


def alaw_to_ulaw(data: bytes) -> bytes:
    """A-law to µ-law, without a detour."""
    return data.translate(_ALAW_AS_ULAW)
