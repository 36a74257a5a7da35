"""Changes the sample rate: of a stream, with a delay of 1.8 ms, and of whole recordings.

A stream needs its 20 ms out as soon as they are in. The streams of `soxr` cannot do that: from MQ upwards
they filter long blocks, so that (soxr 1.1, 8 to 16 kHz, measured) nothing comes out for 100 ms, then 104 ms
at once; their variable-rate mode gives every frame, in twice the time of what stands here: a linear-phase FIR
filter, cut into the phases that the two rates need, is one matrix, and a frame one matrix product (3.8 µs for
8 to 16 kHz).

Up to 0.425 of the lower rate (3.4 kHz of 8) nothing is lost; from 0.575 on at least 70 dB are taken away.
Between the two lies what may fold back: above 3.4 kHz, where telephone speech has nothing.

A whole recording may take its time: `resample` is soxr's HQ, at any two rates.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from evercall.media.errors import Code, FormatError

RATES = (8000, 16_000, 24_000, 48_000)

_ATTENUATION = 72.0
_TRANSITION = 0.15
"""Width of the slope, as a share of the lower rate."""

_BLOCKS = 8
_BLOCKS_PER_SECOND = 400
"""A block is 2.5 ms, the matrix is for one of them. Shorter means more of them, longer a larger matrix with
more zeros; between 1 and 4 ms there is little difference (measured)."""

_SAMPLES = np.dtype("<i2")
_LOWEST, _HIGHEST = -32768, 32767

Floats = NDArray[np.float32]


class _Filter(NamedTuple):
    """`matrix` takes `history` earlier samples and a block of new ones to a block of the other rate."""

    matrix: Floats
    history: int
    block: int


class _Views(NamedTuple):
    """Where a number of blocks lie in a resampler's buffers."""

    samples: Floats
    blocks: Floats
    result: Floats
    last: Floats


class Resampler:
    """One direction of one stream."""

    def __init__(self, source: int, target: int) -> None:
        """Makes a resampler between two of `RATES`.

        Raises:
            FormatError: another rate.
        """
        if source not in RATES or target not in RATES or source == target:
            raise FormatError(Code.UNSUPPORTED_RATE, "no resampler between these rates")
        self._matrix, history, self._block = _filter(source, target)
        buffer = np.zeros(history + _BLOCKS * self._block, np.float32)
        result = np.empty((_BLOCKS, self._matrix.shape[1]), np.float32)
        self._history = buffer[:history]
        self._views = [_views(buffer, result, history, self._block, n) for n in range(_BLOCKS + 1)]
        self._full = 2 * _BLOCKS * self._block
        self._rest = b""

    def resample(self, data: bytes) -> bytes:
        """Linear audio in, linear audio out: all of it that makes whole blocks of 2.5 ms, the rest with what
        comes next.

        Raises:
            FormatError: the audio ends within a sample.
        """
        if len(data) == self._full and not self._rest:
            return self._resample(data, _BLOCKS)
        if len(data) % 2:
            raise FormatError(Code.ODD_LENGTH, "audio ends within a sample")
        if self._rest:
            data = self._rest + data
        block_bytes = 2 * self._block
        whole = len(data) // block_bytes * block_bytes
        self._rest = data[whole:]
        return b"".join(
            self._resample(piece, len(piece) // block_bytes)
            for piece in (
                data[at : min(at + self._full, whole)] for at in range(0, whole, self._full)
            )
        )

    def flush(self) -> bytes:
        """The end: what is still on its way, and silence up to a whole block. A fresh start after it."""
        silence = bytes(2 * (self._block + len(self._history)))
        last = self.resample(silence)
        self.reset()
        return last

    def reset(self) -> None:
        """Forgets what came before: after a gap, or for another stream."""
        self._history.fill(0.0)
        self._rest = b""

    def _resample(self, data: bytes, count: int) -> bytes:
        samples, blocks, result, last = self._views[count]
        samples[:] = np.frombuffer(data, _SAMPLES)
        np.matmul(blocks, self._matrix, result)
        self._history[:] = last
        np.rint(result, result)
        result.clip(_LOWEST, _HIGHEST, result)
        return result.astype(_SAMPLES).tobytes()


def _views(buffer: Floats, result: Floats, history: int, block: int, count: int) -> _Views:
    # Each row of `blocks` begins one block after the one before and overlaps it: nothing is copied.
    step = buffer.itemsize
    blocks = as_strided(buffer, (count, history + block), (block * step, step))
    end = count * block
    return _Views(
        buffer[history : history + end], blocks, result[:count], buffer[end : end + history]
    )


@lru_cache(maxsize=len(RATES) ** 2)
def _filter(source: int, target: int) -> _Filter:
    """Between the samples of the source come `up - 1` zeros, every `down`-th sample of the filtered result
    is one of the target; the matrix leaves out what is multiplied by zero or not wanted."""
    divisor = math.gcd(source, target)
    up, down = target // divisor, source // divisor
    taps = _low_pass(min(source, target), source * up) * up
    history = math.ceil((len(taps) - 1) / up)
    block = source // _BLOCKS_PER_SECOND
    matrix = np.zeros((history + block, block * up // down), np.float32)
    for column in range(matrix.shape[1]):
        for row in range(matrix.shape[0]):
            tap = column * down - (row - history) * up
            if 0 <= tap < len(taps):
                matrix[row, column] = taps[tap]
    return _Filter(matrix, history, block)


def _low_pass(lower: int, rate: int) -> NDArray[np.float64]:
    """A sinc under a Kaiser window, with its formulas for length and shape (Kaiser, 1974)."""
    width = 2 * math.pi * _TRANSITION * lower / rate
    count = math.ceil((_ATTENUATION - 7.95) / (2.285 * width)) | 1
    time = np.arange(count) - (count - 1) / 2
    taps = np.sinc(lower / rate * time) * np.kaiser(count, 0.1102 * (_ATTENUATION - 8.7))
    normalised: NDArray[np.float64] = taps / taps.sum()
    return normalised


def resample(data: bytes, source: int, target: int) -> bytes:
    """A whole recording of linear audio at another rate.

    Raises:
        FormatError: the audio ends within a sample, or a rate is not positive.
    """
    if len(data) % 2:
        raise FormatError(Code.ODD_LENGTH, "audio ends within a sample")
    if source <= 0 or target <= 0:
        raise FormatError(Code.UNSUPPORTED_RATE, "a rate is positive")
    if source == target or not data:
        return data
    samples = np.frombuffer(data, _SAMPLES)
    resampled: bytes = soxr.resample(samples, source, target, quality="HQ").tobytes()
    return resampled
