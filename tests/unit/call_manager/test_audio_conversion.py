"""Any WAV that is allowed becomes u-law that sounds the same; anything else is refused."""

import math
import struct
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_manager.audio.errors import AudioError
from call_manager.audio.telephone import duration_ms, telephone_audio
from call_manager.audio.wav import Coding, read_wav

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop


def wav(
    samples: bytes,
    *,
    rate: int = 8000,
    bits: int = 16,
    channels: int = 1,
    tag: int = 1,
    before: bytes = b"",
    data_size: int | None = None,
) -> bytes:
    block = channels * bits // 8
    header = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    size = len(samples) if data_size is None else data_size
    body = b"fmt " + struct.pack("<I", len(header)) + header
    body += before + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def tone(hertz: float, rate: int, seconds: float = 0.5, level: float = 0.5) -> bytes:
    count = int(rate * seconds)
    values = (level * 32767 * math.sin(2 * math.pi * hertz * n / rate) for n in range(count))
    return struct.pack(f"<{count}h", *map(int, values))


def level_at(ulaw: bytes, hertz: float) -> float:
    """Amplitude of one frequency in the middle of the audio, from 0 to 1 (Goertzel)."""
    samples = struct.unpack(f"<{len(ulaw)}h", audioop.ulaw2lin(ulaw, 2))
    samples = samples[len(samples) // 4 : -len(samples) // 4]
    count = len(samples)
    real = sum(v * math.cos(2 * math.pi * hertz * n / 8000) for n, v in enumerate(samples))
    imaginary = sum(v * math.sin(2 * math.pi * hertz * n / 8000) for n, v in enumerate(samples))
    return 2 * math.hypot(real, imaginary) / count / 32767


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("hertz", [440, 1000, 2800])
def test_a_tone_stays_a_tone(rate: int, hertz: int) -> None:
    ulaw = telephone_audio(wav(tone(hertz, rate), rate=rate))
    assert abs(duration_ms(len(ulaw)) - 500) <= 2
    # Within 2 dB: interpolation between samples costs high tones most where the rates are close.
    assert level_at(ulaw, hertz) == pytest.approx(0.5, rel=0.21)


@pytest.mark.parametrize(("rate", "hertz"), [(16000, 5500), (24000, 7000), (48000, 7560)])
def test_what_a_telephone_cannot_carry_does_not_fold_back(rate: int, hertz: int) -> None:
    ulaw = telephone_audio(wav(tone(hertz, rate), rate=rate))
    assert level_at(ulaw, 8000 - hertz) < 0.01


def test_silence_stays_silence() -> None:
    ulaw = telephone_audio(wav(bytes(48000), rate=48000))
    assert max(map(abs, struct.unpack(f"<{len(ulaw)}h", audioop.ulaw2lin(ulaw, 2)))) <= 8


def test_full_scale_does_not_overflow() -> None:
    loud = struct.pack("<4h", 32767, 32767, -32768, -32768) * 4000
    ulaw = telephone_audio(wav(loud, rate=16000))
    assert level_at(ulaw, 4000) < 1.3


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_every_width(bits: int) -> None:
    samples = tone(1000, 8000)
    if bits == 8:
        samples = audioop.bias(audioop.lin2lin(samples, 2, 1), 1, 128)
    else:
        samples = audioop.lin2lin(samples, 2, bits // 8)
    assert level_at(telephone_audio(wav(samples, bits=bits)), 1000) == pytest.approx(0.5, rel=0.1)


def test_stereo_is_mixed() -> None:
    left_only = audioop.tostereo(tone(1000, 8000), 2, 1, 0)
    ulaw = telephone_audio(wav(left_only, channels=2))
    assert level_at(ulaw, 1000) == pytest.approx(0.25, rel=0.1)


def test_ulaw_is_passed_through() -> None:
    samples = audioop.lin2ulaw(tone(1000, 8000), 2)
    assert telephone_audio(wav(samples, bits=8, tag=7)) == samples


def test_alaw() -> None:
    samples = audioop.lin2alaw(tone(1000, 8000), 2)
    ulaw = telephone_audio(wav(samples, bits=8, tag=6))
    assert level_at(ulaw, 1000) == pytest.approx(0.5, rel=0.1)


def test_extensible_header() -> None:
    samples = tone(1000, 8000)
    header = struct.pack("<HHIIHH", 0xFFFE, 1, 8000, 16000, 2, 16)
    header += struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + bytes(14)
    body = b"fmt " + struct.pack("<I", len(header)) + header
    body += b"data" + struct.pack("<I", len(samples)) + samples
    content = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body
    assert read_wav(content).coding is Coding.PCM
    assert read_wav(content).samples == samples


def test_other_chunks_and_odd_sizes_are_stepped_over() -> None:
    samples = tone(1000, 8000)
    content = wav(samples, before=b"LIST" + struct.pack("<I", 3) + b"abc\0")
    assert read_wav(content).samples == samples


def test_a_size_that_was_not_known_when_the_header_was_written() -> None:
    samples = tone(1000, 8000)
    assert read_wav(wav(samples, data_size=0x7FFFF000)).samples == samples


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"<html>not found</html>",
        b"ID3\x04" + bytes(100),
        b"RIFF\0\0\0\0AVI " + bytes(100),
        wav(b""),
        wav(bytes(1)),
        wav(bytes(100), channels=6),
        wav(bytes(100), bits=12),
        wav(bytes(100), rate=1),
        wav(bytes(100), rate=1_000_000),
        wav(bytes(100), tag=3, bits=32),
        wav(bytes(100), tag=0x55),
        wav(bytes(100))[:30],
        b"RIFF\0\0\0\0WAVEdata\x04\0\0\0\0\0\0\0",
        wav(bytes(4000 * 1900), rate=4000, bits=8),
    ],
)
def test_what_is_refused(content: bytes) -> None:
    with pytest.raises(AudioError):
        telephone_audio(content)


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=8))
def test_broken_files_are_refused_and_nothing_else(noise: bytes, at: int, patch: bytes) -> None:
    good = wav(noise, rate=8000)
    broken = good[:at] + patch + good[at + len(patch) :]
    try:
        telephone_audio(broken)
    except AudioError:
        return
