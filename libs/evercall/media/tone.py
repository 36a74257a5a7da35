"""Tones: made without a break, and found again in what was heard, with their breaks.

Levels are in dB below the loudest sine that 16 bits hold; G.711 calls that one 3.17 dBm0 in µ-law.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from evercall.media.errors import Code, FormatError
from evercall.media.keypad import frequencies

FULL_SCALE = 32767
FULL_SCALE_DBM0 = 3.17
SILENCE_LEVEL = -90.0
"""Less than 16 bits can tell is told as this."""

_SAMPLES = np.dtype("<i2")
_LOWEST, _HIGHEST = -32768, 32767

Samples = NDArray[np.int16]
Floats = NDArray[np.float64]


class ToneGenerator:
    """One or several frequencies at once, as long as one likes, in pieces that fit each other."""

    def __init__(
        self, rate: int, sounding: Sequence[float], level: float = -10.0, *, phase: int = 0
    ) -> None:
        """Makes a generator.

        Args:
            rate: samples per second.
            sounding: the frequencies.
            level: of each of them.
            phase: the number of the first sample.

        Raises:
            FormatError: a frequency that this rate cannot carry.
        """
        if rate <= 0 or any(not 0 <= frequency <= rate / 2 for frequency in sounding):
            raise FormatError(Code.UNSUPPORTED_RATE, "this rate does not carry the frequency")
        self._steps = 2 * np.pi * np.array(sounding, np.float64)[:, np.newaxis] / rate
        self._amplitude = FULL_SCALE * 10 ** (level / 20)
        self._rate = rate
        self._position = phase

    def take(self, samples: int) -> bytes:
        """The next samples of linear audio."""
        # Numbered from the beginning, not added up: nothing drifts, and 2**53 samples are exact.
        position = np.arange(self._position, self._position + samples)
        self._position += samples
        total = self._amplitude * np.sin(self._steps * position).sum(axis=0)
        made: Samples = np.rint(total).clip(_LOWEST, _HIGHEST).astype(_SAMPLES)
        return made.tobytes()


def tone(rate: int, sounding: Sequence[float], seconds: float, level: float = -10.0) -> bytes:
    """A tone of one or several frequencies, each at this level."""
    return ToneGenerator(rate, sounding, level).take(round(seconds * rate))


def key_tones(
    rate: int, keys: str, seconds: float = 0.1, pause: float = 0.1, level: float = -13.0
) -> bytes:
    """The tones of pressed keys, each with a pause after it (ITU-T Q.23).

    Raises:
        FormatError: there is no such key.
    """
    silence = bytes(2 * round(pause * rate))
    return b"".join(tone(rate, frequencies(key), seconds, level) + silence for key in keys)


# -- what was heard ----------------------------------------------------------------------------


class Tone(msgspec.Struct, frozen=True):
    """A single frequency that was heard for a while; times in seconds."""

    frequency: float
    level: float
    start: float
    duration: float


class Break(msgspec.Struct, frozen=True):
    """A place where a tone did not go on as it should: by how much its phase jumped, in cycles, and its
    level, in dB."""

    at: float
    phase: float
    level: float


_WINDOW_SECONDS = 0.032
_HOP_SECONDS = 0.01
_PURITY = 0.8
_AUDIBLE = -50.0
_SAME_TONE_HERTZ = 15.0
_SHORTEST_SECONDS = 0.06


def level(data: bytes) -> float:
    """How loud linear audio is: its power, as the level of a sine that has it."""
    samples = _floats(data)
    return float(_levels(samples[np.newaxis])[0]) if len(samples) else SILENCE_LEVEL


def tones(data: bytes, rate: int) -> list[Tone]:
    """The single tones in linear audio, in order. What is no pure tone, or shorter than 60 ms, is none."""
    window, hop = round(_WINDOW_SECONDS * rate), round(_HOP_SECONDS * rate)
    found: list[Tone] = []
    for position, frequency, loud in _pure_windows(_floats(data), rate, window, hop):
        start = position * hop / rate
        last = found[-1] if found else None
        end = start + window / rate
        if (
            last is not None
            and start <= last.start + last.duration
            and abs(frequency - last.frequency) < _SAME_TONE_HERTZ
        ):
            found[-1] = Tone(last.frequency, max(loud, last.level), last.start, end - last.start)
        else:
            found.append(Tone(frequency, loud, start, window / rate))
    return [tone for tone in found if tone.duration >= _SHORTEST_SECONDS]


def _pure_windows(
    samples: Floats, rate: int, window: int, hop: int
) -> list[tuple[int, float, float]]:
    """Number, frequency and level of the windows in which one frequency has nearly all of the power."""
    if len(samples) < window:
        return []
    rows = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    levels = _levels(rows)
    power = np.abs(np.fft.rfft(rows * np.hanning(window))) ** 2
    peaks = power[:, 2:-2].argmax(axis=1) + 2
    pure = []
    for number in np.flatnonzero(levels > _AUDIBLE):
        spectrum, peak = power[number], int(peaks[number])
        if spectrum[peak - 2 : peak + 3].sum() > _PURITY * spectrum.sum():
            pure.append(
                (int(number), _vertex(spectrum, peak) * rate / window, float(levels[number]))
            )
    return pure


def _vertex(spectrum: Floats, peak: int) -> float:
    """Between the bins: the vertex of a parabola through the logarithms of the peak and its neighbours."""
    left, middle, right = np.log(spectrum[peak - 1 : peak + 2] + 1e-9)
    return peak + 0.5 * float((left - right) / (left - 2 * middle + right))


def breaks(
    data: bytes, rate: int, frequency: float, *, phase: float = 0.02, decibels: float = 1.0
) -> list[Break]:
    """Where a tone that should go on has a click, a gap or a piece too much.

    The tone is turned back by its own frequency, in steps of 10 ms; what remains is a phase that stands
    still, or turns slowly and evenly where two clocks differ. A frame that is left out or played twice
    shifts it by `frequency * 20 ms` cycles: take a frequency that is no multiple of 50 Hz, or it cannot be
    seen.

    Args:
        data: linear audio that holds the tone from beginning to end.
        rate: samples per second.
        frequency: of the tone, within a few hertz.
        phase: cycles within 10 ms from which on it is a break.
        decibels: change of level within 10 ms from which on it is a break.
    """
    step = round(_HOP_SECONDS * rate)
    samples = _floats(data)
    count = len(samples) // step
    if count < 3:
        return []
    samples = samples[: count * step]
    turned = samples * np.exp(-2j * np.pi * frequency / rate * np.arange(len(samples)))
    # Two steps wide under a Hann window, which takes away the image at twice the frequency.
    rows = np.lib.stride_tricks.sliding_window_view(turned, 2 * step)[::step]
    vectors = rows @ np.hanning(2 * step)
    turns = np.angle(vectors[1:] * vectors[:-1].conj()) / (2 * np.pi)
    jumps = turns - np.median(turns)
    loud = 20 * np.log10(np.maximum(np.abs(vectors), 1.0))
    changes = np.diff(loud)
    bad = np.flatnonzero((np.abs(jumps) > phase) | (np.abs(changes) > decibels))
    return [Break((int(n) + 1) * step / rate, float(jumps[n]), float(changes[n])) for n in bad]


def _floats(data: bytes) -> Floats:
    if len(data) % 2:
        raise FormatError(Code.ODD_LENGTH, "audio ends within a sample")
    return np.frombuffer(data, _SAMPLES).astype(np.float64)


def _levels(rows: Floats) -> Floats:
    # A sine of full scale has half the power of a constant one.
    power = (rows**2).mean(axis=-1) * 2 / FULL_SCALE**2
    decibels: Floats = 10 * np.log10(np.maximum(power, 10 ** (SILENCE_LEVEL / 10)))
    return decibels
