"""Turns any audio into what a telephone carries: G.711 u-law, 8 kHz, mono.

All work on samples is done by `audioop`, in C: the standard library's up to Python 3.12, `audioop-lts`
after it.
"""

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

from call_manager.audio.errors import AudioError
from call_manager.audio.wav import Coding, Wav, read_wav

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

RATE = 8000
LONGEST_SECONDS = 1800

# Telephone speech reaches to 3.4 kHz. What is above 4 kHz would fold back into it.
_PASS, _STOP = 3200.0, 4800.0

_BLOCK_SECONDS = 1
"""`audioop` holds the interpreter while it works: it gets a second of audio at a time."""


def telephone_audio(content: bytes) -> bytes:
    """A WAV file as raw u-law.

    Raises:
        AudioError: it can't be used.
    """
    wav = read_wav(content)
    if len(wav.samples) / (wav.width * wav.channels * wav.rate) > LONGEST_SECONDS:
        raise AudioError("the audio is too long")
    if wav.coding is Coding.ULAW and wav.rate == RATE and wav.channels == 1:
        return wav.samples
    samples = _mono(_linear(wav), wav.channels)
    return audioop.lin2ulaw(_resample(samples, wav.rate), 2)


def duration_ms(length: int) -> int:
    """How long so many bytes of raw u-law last."""
    return length * 1000 // RATE


def _linear(wav: Wav) -> bytes:
    """16 bits, signed."""
    if wav.coding is Coding.ULAW:
        return audioop.ulaw2lin(wav.samples, 2)
    if wav.coding is Coding.ALAW:
        return audioop.alaw2lin(wav.samples, 2)
    if wav.width == 1:
        # WAV's 8-bit samples are unsigned.
        return audioop.lin2lin(audioop.bias(wav.samples, 1, -128), 1, 2)
    return audioop.lin2lin(wav.samples, wav.width, 2)


def _mono(samples: bytes, channels: int) -> bytes:
    return audioop.tomono(samples, 2, 0.5, 0.5) if channels == 2 else samples


def _resample(samples: bytes, rate: int) -> bytes:
    if rate == RATE:
        return samples
    if rate > RATE:
        samples = _filter(samples, _low_pass(rate), rate * _BLOCK_SECONDS)
    resampled, _ = audioop.ratecv(samples, 2, 1, rate, RATE, None)
    return resampled


@lru_cache(maxsize=16)
def _low_pass(rate: int) -> tuple[float, ...]:
    """The first half and the middle of a symmetric FIR filter: a sinc under a Hamming window, whose length
    for this slope is 3.3 sample rates by transition width (Harris, 1978)."""
    half = math.ceil(1.65 * rate / (_STOP - _PASS))
    cut = (_PASS + _STOP) / rate
    taps = []
    for n in range(half + 1):
        x = cut * (n - half)
        sinc = 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)
        taps.append(cut * sinc * (0.54 - 0.46 * math.cos(math.pi * n / half)))
    gain = 2 * sum(taps[:-1]) + taps[-1]
    return tuple(tap / gain for tap in taps)


def _filter(samples: bytes, taps: Sequence[float], block: int) -> bytes:
    """The filter as a sum of delayed and scaled copies. 32 bits wide, so that rounding stays below what
    16 bits can tell; at half the loudness, so that a sum of two samples fits."""
    half = len(taps) - 1
    count = len(samples) // 2
    silence = bytes(2 * half)
    padded = silence + samples + silence
    filtered = []
    for start in range(0, count, block):
        length = min(block, count - start)
        piece = padded[2 * start : 2 * (start + length + 2 * half)]
        wide = audioop.mul(audioop.lin2lin(piece, 2, 4), 4, 0.5)
        total = audioop.mul(_delayed(wide, half, length), 4, 2 * taps[half])
        for n in range(half):
            pair = audioop.add(_delayed(wide, n, length), _delayed(wide, 2 * half - n, length), 4)
            total = audioop.add(total, audioop.mul(pair, 4, 2 * taps[n]), 4)
        filtered.append(audioop.lin2lin(total, 4, 2))
    return b"".join(filtered)


def _delayed(wide: bytes, offset: int, length: int) -> bytes:
    return wide[4 * offset : 4 * (offset + length)]
