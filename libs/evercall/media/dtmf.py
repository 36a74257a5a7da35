"""Hears pressed keys in audio, within the limits of ITU-T Q.24 (table A-1, the column of AT&T).

Every 5 ms the last 20 ms are looked at. Eight Goertzel filters, as one matrix product, say which row and
which column are loudest; that is all the work there is for silence and most of speech. For a likely pair,
both tones are fitted at once (so that neither disturbs the other) in three pieces of 10 ms. How the fitted
phases turn from piece to piece is how far each frequency is off; with that known, so are the true levels,
and whether there is anything in the audio but these two tones.

What it takes to be a key: both frequencies within 2.3 % (Q.24: 1.5 % must do, 3.5 % must not), a level of
-32 dBm0 or more (-25 must do, -55 must not), the high tone at most 5 dB above and 9 dB below the low one (4
and 8 must do), 85 % of all power in the two, and that for five looks on end: 40 ms always do, 23
ms never. A key has ended when six looks on end missed it: a pause of 40 ms parts two keys, one of 10 ms does
not.
"""

from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from evercall.media.errors import Code, FormatError
from evercall.media.keypad import COLUMNS, LAYOUT, ROWS
from evercall.media.tone import FULL_SCALE, FULL_SCALE_DBM0

_HOPS_PER_SECOND = 200
_HOPS_IN_WINDOW = 4
_PIECE_HOPS = (0, 1, 2)
"""Where the pieces begin; each is two hops long."""

_QUIETEST_DBM0 = -32.0
_OFF_FREQUENCY = 0.023
_REVERSE_TWIST, _TWIST = 5.0, 9.0
_PURITY = 0.85
_LIKELY = 0.3
"""Share of the power in the two loudest filters below which no pair within the limits can be."""

_LOOKS = 5
_MISSES = 6
_EDGES_SECONDS = 0.012
"""What a tone lasts longer than the looks that find it: a look finds it when four fifths are covered."""

_SAMPLES = np.dtype("<i2")
_NOTHING = -1

Floats = NDArray[np.float64]


class KeyTone(msgspec.Struct, frozen=True):
    """A key was recognised, or it has ended after `duration` seconds."""

    key: str
    ended: bool
    duration: float


class _Tables(NamedTuple):
    """`filters` takes a window to the eight complex amplitudes, as 16 numbers; `fits` takes it, for each of
    the 16 pairs, to two complex amplitudes in each of three pieces, as 12 numbers."""

    filters: Floats
    fits: Floats


class DtmfDetector:
    """One direction of one stream."""

    def __init__(self, rate: int = 8000) -> None:
        """Makes a detector.

        Raises:
            FormatError: a rate that carries no such tones, or does not divide into 5 ms.
        """
        if rate < 8000 or rate % _HOPS_PER_SECOND:
            raise FormatError(Code.UNSUPPORTED_RATE, "no detector for this rate")
        self._hop_bytes = 2 * (rate // _HOPS_PER_SECOND)
        self._filters, self._fits = _tables(rate)
        hop = self._hop_bytes // 2
        buffer = np.zeros((2 * _HOPS_IN_WINDOW - 1) * hop)
        self._history = buffer[: (_HOPS_IN_WINDOW - 1) * hop]
        self._views = [_views(buffer, hop, count) for count in range(_HOPS_IN_WINDOW + 1)]
        self._rest = b""
        self._candidate = _NOTHING
        self._hits = 0
        self._pressed = _NOTHING
        self._misses = 0
        self._lasted = 0

    def detect(self, data: bytes) -> list[KeyTone]:
        """What is new with this linear audio, of any length.

        Raises:
            FormatError: the audio ends within a sample.
        """
        if len(data) % 2:
            raise FormatError(Code.ODD_LENGTH, "audio ends within a sample")
        data = self._rest + data
        whole = len(data) // self._hop_bytes * self._hop_bytes
        self._rest = data[whole:]
        heard: list[KeyTone] = []
        most = _HOPS_IN_WINDOW * self._hop_bytes
        for at in range(0, whole, most):
            for pair in self._look(data[at : min(at + most, whole)]):
                heard += self._judge(pair)
        return heard

    # -- what a window holds -------------------------------------------------------------------

    def _look(self, data: bytes) -> list[int]:
        """The pair in the window that ends with each hop of these at most 20 ms: four times the row plus the
        column, or `_NOTHING`."""
        count = len(data) // self._hop_bytes
        fresh, windows, last = self._views[count]
        fresh[:] = np.frombuffer(data, _SAMPLES)
        found = [_NOTHING] * count
        total = np.einsum("ij,ij->i", windows, windows) / windows.shape[1]
        if total.max() > _QUIETEST_POWER:
            squares = (windows @ self._filters) ** 2
            power = squares[:, :8] + squares[:, 8:]
            low, high = power[:, :4], power[:, 4:]
            likely = np.flatnonzero(low.max(axis=1) + high.max(axis=1) > _LIKELY * total)
            if len(likely):
                pairs = 4 * low[likely].argmax(axis=1) + high[likely].argmax(axis=1)
                holds = self._holds(windows[likely], pairs, total[likely])
                for number, pair in zip(likely[holds], pairs[holds], strict=True):
                    found[number] = int(pair)
        self._history[:] = last
        return found

    def _holds(self, windows: Floats, pairs: NDArray[np.int64], total: Floats) -> NDArray[np.bool_]:
        """Which windows hold these pairs, and nothing else."""
        fitted = (self._fits[pairs] @ windows[:, :, np.newaxis])[:, :, 0].reshape(-1, 3, 2, 2)
        vectors = fitted[..., 0] - 1j * fitted[..., 1]
        turns = (vectors[:, 1:] * vectors[:, :-1].conj()).sum(axis=1)
        off = np.angle(turns) / (2 * np.pi) * _HOPS_PER_SECOND
        nominal = _NOMINAL[pairs]
        # A tone that is off its frequency turns within a piece and is fitted too low by this much.
        level = np.abs(vectors).mean(axis=1) / np.sinc(off * 2 / _HOPS_PER_SECOND)
        power = level**2 / 2
        twist = 10 * np.log10((power[:, 1] + 1e-9) / (power[:, 0] + 1e-9))
        holds: NDArray[np.bool_] = (
            (np.abs(off) <= _OFF_FREQUENCY * nominal).all(axis=1)
            & (power.min(axis=1) >= _QUIETEST_POWER)
            & (twist <= _REVERSE_TWIST)
            & (twist >= -_TWIST)
            & (power.sum(axis=1) >= _PURITY * total)
        )
        return holds

    # -- what the windows mean -----------------------------------------------------------------

    def _judge(self, pair: int) -> list[KeyTone]:
        self._hits = self._hits + 1 if pair == self._candidate else 1
        self._candidate = pair
        if self._pressed != _NOTHING:
            self._lasted += 1
            self._misses = 0 if pair == self._pressed else self._misses + 1
        is_new = pair not in (_NOTHING, self._pressed) and self._hits >= _LOOKS
        heard = self._release() if is_new or self._misses >= _MISSES else []
        if is_new:
            self._pressed, self._misses, self._lasted = pair, 0, _LOOKS
            heard.append(KeyTone(_key(pair), False, 0.0))
        return heard

    def _release(self) -> list[KeyTone]:
        if self._pressed == _NOTHING:
            return []
        seconds = (self._lasted - self._misses) / _HOPS_PER_SECOND + _EDGES_SECONDS
        ended = KeyTone(_key(self._pressed), True, round(seconds, 3))
        self._pressed, self._misses = _NOTHING, 0
        return [ended]


_FULL_POWER = FULL_SCALE**2 / 2
_QUIETEST_POWER = _FULL_POWER * 10 ** ((_QUIETEST_DBM0 - FULL_SCALE_DBM0) / 10)
_NOMINAL = np.array([(row, column) for row in ROWS for column in COLUMNS], np.float64)


def _key(pair: int) -> str:
    return LAYOUT[pair // 4][pair % 4]


class _Views(NamedTuple):
    """Where a number of hops lie in a detector's buffer."""

    fresh: Floats
    windows: Floats
    last: Floats


def _views(buffer: Floats, hop: int, count: int) -> _Views:
    begin = (_HOPS_IN_WINDOW - 1) * hop
    step = buffer.itemsize
    # Windows that overlap by all but one hop; nothing is copied.
    windows = as_strided(buffer, (count, _HOPS_IN_WINDOW * hop), (hop * step, step))
    return _Views(buffer[begin : begin + count * hop], windows, buffer[count * hop :][:begin])


@lru_cache(maxsize=4)
def _tables(rate: int) -> _Tables:
    hop = rate // _HOPS_PER_SECOND
    window = hop * _HOPS_IN_WINDOW
    angles = 2 * np.pi / rate * np.outer(np.arange(window), (*ROWS, *COLUMNS))
    # So that a filter's squares add up to the power of its tone.
    filters = np.hstack((np.cos(angles), np.sin(angles))) * np.sqrt(2) / window
    fits = np.zeros((len(_NOMINAL), 12, window))
    for pair in range(len(_NOMINAL)):
        chosen = angles[:, (pair // 4, 4 + pair % 4)]
        waves = np.stack((np.cos(chosen), np.sin(chosen)), axis=2).reshape(window, 4)
        for number, begin in enumerate(_PIECE_HOPS):
            piece = slice(begin * hop, (begin + 2) * hop)
            fits[pair, 4 * number : 4 * number + 4, piece] = np.linalg.pinv(waves[piece])
    return _Tables(filters, fits)
