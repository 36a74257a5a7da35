"""What a phone hears, as numbers: G.711 and WAV in and out, tones recognised, speech compared.

Pure. All audio is mono at 8 kHz, as numpy arrays of int16.
"""

import io
import wave
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 8000
FRAME = 160
"""Samples in the 20 ms of an RTP packet."""

SILENCE = -50.0
"""In dB below full scale. A quiet G.711 line is at most a few units; this is about a hundred."""

Samples = NDArray[np.int16]

_WINDOW = 256
_HOP = 80
_PURITY = 0.8
_SHORTEST_TONE = 0.06
_SAME_TONE_HERTZ = 15.0

# In frames of a spectrogram, 16 ms each. A piece in which nothing changes, a pause, tells nothing.
_PIECE = 25
_SLACK = 40
_FLAT = 0.2


@dataclass(frozen=True, slots=True)
class Tone:
    """A single frequency that was heard for a while. Times are seconds from the first sample."""

    frequency: float
    start: float
    duration: float
    level: float

    @property
    def end(self) -> float:
        return self.start + self.duration

    def __str__(self) -> str:
        return f"{self.frequency:.0f} Hz at {self.start:.2f} s for {self.duration:.2f} s"


def sine(frequency: float, seconds: float, level: float = -10.0) -> Samples:
    """A tone; `level` in dB below full scale."""
    time = np.arange(int(seconds * RATE)) / RATE
    amplitude = 32767 * 10 ** (level / 20)
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def tones(samples: Samples) -> list[Tone]:
    """The tones in the order in which they were heard; a pause or another frequency ends one."""
    found: list[Tone] = []
    for frequency, level, at in _pure_frames(samples):
        last = found[-1] if found else None
        if last and at <= last.end and abs(frequency - last.frequency) < _SAME_TONE_HERTZ:
            longer = at + _WINDOW / RATE - last.start
            found[-1] = Tone(last.frequency, last.start, longer, max(level, last.level))
        else:
            found.append(Tone(frequency, at, _WINDOW / RATE, level))
    return [tone for tone in found if tone.duration >= _SHORTEST_TONE]


def _pure_frames(samples: Samples) -> Iterable[tuple[float, float, float]]:
    """(frequency, level, time) of the frames in which one frequency holds nearly all of the power."""
    if len(samples) < _WINDOW:
        return
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP].astype(np.float64)
    levels = _dbfs(frames)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW))) ** 2
    for index in np.flatnonzero(levels > SILENCE):
        power = spectra[index]
        peak = int(np.argmax(power))
        if 1 < peak < len(power) - 2 and power[peak - 2 : peak + 3].sum() > _PURITY * power.sum():
            yield _frequency(power, peak), float(levels[index]), index * _HOP / RATE


def _frequency(power: NDArray[np.float64], peak: int) -> float:
    """Between two bins: the vertex of a parabola through the peak and its neighbours, in decibels."""
    left, middle, right = np.log(power[peak - 1 : peak + 2] + 1e-9)
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    return float((peak + offset) * RATE / _WINDOW)


def level(samples: Samples) -> float:
    """The power, in dB below full scale."""
    return float(_dbfs(samples[np.newaxis].astype(np.float64))[0]) if len(samples) else -120.0


def _dbfs(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    power = np.sqrt((frames**2).mean(axis=-1)) / 32768
    decibels: NDArray[np.float64] = 20 * np.log10(np.maximum(power, 1e-6))
    return decibels


def voiced_seconds(samples: Samples) -> float:
    """For how long there was something to hear."""
    whole = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    return float((_dbfs(whole) > SILENCE).sum() * FRAME / RATE) if len(whole) else 0.0


def resemblance(heard: Samples, expected: Samples) -> float:
    """How much `expected` is in `heard`, wherever it begins: 1 for the same, about 0.5 for other speech.

    Compares spectrograms (bands of 125 Hz, 16 ms apart) by correlation, which G.711 and a relay leave nearly
    unchanged: as a whole, to find where it begins; then in pieces of 0.4 s, each of which may lie a little
    earlier or later, because a jitter buffer stretches pauses.
    """
    long, short = _spectrogram(heard), _spectrogram(expected)
    if len(short) == 0 or len(long) < len(short) // 2:
        return 0.0
    quiet = np.full((len(short) + _SLACK, long.shape[1]), long.min())
    line = np.concatenate([quiet[:_SLACK], long, quiet])
    begin = _best(line, short, range(len(long) + _SLACK))[1]
    pieces = [(at, short[at : at + _PIECE]) for at in range(0, len(short) - _PIECE // 2, _PIECE)]
    found = [
        _best(line, piece, range(max(0, begin + at - _SLACK), begin + at + _SLACK))[0]
        for at, piece in pieces
        if piece.std() > _FLAT
    ]
    return sum(found) / len(found) if found else 0.0


def _best(
    line: NDArray[np.float64], part: NDArray[np.float64], places: Iterable[int]
) -> tuple[float, int]:
    """The best correlation of the part with what lies at one of the places, and that place."""
    return max((_correlation(line[at : at + len(part)], part), at) for at in places)


def _spectrogram(samples: Samples) -> NDArray[np.float64]:
    if len(samples) < _WINDOW:
        return np.zeros((0, 32))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::128].astype(np.float64)
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW))) ** 2
    bands = power[:, :128].reshape(len(frames), 32, 4).sum(axis=2)
    logarithm: NDArray[np.float64] = np.log10(bands + 1e4)
    return logarithm


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if one.shape != other.shape:  # beyond the end of the line
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale else 0.0


# -- G.711 -------------------------------------------------------------------------------------


def _ulaw_table() -> Samples:
    """ITU-T G.711: sign, three bits of segment, four of step, all inverted."""
    code = ~np.arange(256, dtype=np.uint8)
    segment, step = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = ((2 * step + 33) << segment) - 33
    return (np.where(code & 0x80, -magnitude, magnitude) * 4).astype(np.int16)


_ULAW = _ulaw_table()
ULAW_SILENCE = 0xFF


def decode_ulaw(data: bytes | bytearray) -> Samples:
    """Samples of G.711 µ-law."""
    return _ULAW[np.frombuffer(bytes(data), dtype=np.uint8)]


def encode_ulaw(samples: Samples) -> bytes:
    """The nearest code of each sample."""
    order = np.argsort(_ULAW, kind="stable")
    sorted_values = _ULAW[order].astype(np.int32)
    right = np.clip(np.searchsorted(sorted_values, samples), 1, 255)
    nearer_left = samples - sorted_values[right - 1] < sorted_values[right] - samples
    return bytes(order[right - nearer_left].astype(np.uint8))


# -- WAV ---------------------------------------------------------------------------------------


def write_wav(samples: Samples) -> bytes:
    """A WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(RATE)
        output.writeframes(samples.tobytes())
    return file.getvalue()


def read_wav(data: bytes) -> Samples:
    """The samples of a mono WAV file of 16 bits at any rate, and also of one that is still written:
    what its header says of its length is not looked at."""
    rate = int.from_bytes(data[24:28], "little")
    begin = data.index(b"data") + 8
    samples = np.frombuffer(data[begin : begin + (len(data) - begin) // 2 * 2], dtype="<i2")
    if rate == RATE:
        return samples.astype(np.int16)
    return _resample(samples.astype(np.float64), rate)


def _resample(samples: NDArray[np.float64], rate: int) -> Samples:
    """By way of the spectrum: exact for what lies below half of the lower rate."""
    count = int(len(samples) * RATE / rate)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    resampled = np.fft.irfft(spectrum, count) * (count / max(len(samples), 1))
    return np.clip(resampled, -32768, 32767).astype(np.int16)
