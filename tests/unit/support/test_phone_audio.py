"""The ears of the tests: what they must hear, and what they must not take for it."""

import numpy as np
import pytest

from tests.support.phone_audio import (
    RATE,
    Samples,
    decode_ulaw,
    encode_ulaw,
    read_wav,
    resemblance,
    sine,
    tones,
    voiced_seconds,
    write_wav,
)


def pause(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), dtype=np.int16)


def over_the_line(*parts: Samples) -> Samples:
    return decode_ulaw(encode_ulaw(np.concatenate(parts)))


@pytest.mark.parametrize("frequency", [350, 440, 697, 1004, 2600, 3300])
@pytest.mark.parametrize("level", [-3.0, -20.0, -40.0])
def test_a_tone_is_recognised_whatever_its_level(frequency: int, level: float) -> None:
    (tone,) = tones(over_the_line(pause(0.3), sine(frequency, 0.5, level), pause(0.2)))

    assert tone.frequency == pytest.approx(frequency, abs=4)
    assert tone.start == pytest.approx(0.3, abs=0.03)
    assert tone.duration == pytest.approx(0.5, abs=0.05)
    assert tone.level == pytest.approx(level - 3, abs=1.5)


def test_tones_are_told_apart_by_frequency_and_by_the_pause_between_them() -> None:
    line = over_the_line(
        sine(440, 0.3), sine(880, 0.3), pause(0.1), sine(880, 0.3), pause(0.5), sine(440, 0.2)
    )

    assert [round(tone.frequency) for tone in tones(line)] == pytest.approx([440, 880, 880, 440], 1)


def test_silence_noise_and_chords_are_no_tones() -> None:
    noise = np.random.default_rng(7).integers(-8000, 8000, RATE).astype(np.int16)
    chord = (sine(440, 1.0) // 2 + sine(1000, 1.0) // 2).astype(np.int16)

    assert tones(over_the_line(pause(1.0))) == []
    assert tones(over_the_line(noise)) == []
    assert tones(over_the_line(chord)) == []


def test_a_click_is_no_tone() -> None:
    assert tones(over_the_line(pause(0.2), sine(440, 0.02), pause(0.2))) == []


def test_every_code_of_g711_comes_back_as_itself_or_as_the_other_zero() -> None:
    codes = bytes(range(256))

    back = encode_ulaw(decode_ulaw(codes))

    assert {a for a, b in zip(codes, back, strict=True) if a != b} <= {0x7F, 0xFF}


def test_g711_known_values() -> None:
    """From table 2a of ITU-T G.711, times four: the ends of the scale and its middle."""
    assert decode_ulaw(bytes([0x80, 0x00, 0xFF, 0x7F])).tolist() == [32124, -32124, 0, 0]


def test_a_wav_file_of_another_rate_keeps_its_tone_and_its_length() -> None:
    time = np.arange(22_050) / 22_050
    data = (8000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16)
    wav = bytearray(write_wav(data))
    wav[24:28] = (22_050).to_bytes(4, "little")

    (tone,) = tones(read_wav(bytes(wav)))

    assert tone.frequency == pytest.approx(1000, abs=4)
    assert tone.duration == pytest.approx(1.0, abs=0.05)


def test_resemblance_tells_the_same_sound_from_another() -> None:
    generator = np.random.default_rng(3)

    def melody() -> Samples:
        return np.concatenate([sine(float(f), 0.08) for f in generator.integers(300, 3000, 20)])

    one, other = melody(), melody()
    heard = over_the_line(pause(0.7), (one * 0.5).astype(np.int16), pause(0.4))

    assert resemblance(heard, one) > 0.9
    assert resemblance(heard, other) < 0.6
    assert resemblance(pause(2.0), one) < 0.2


def test_voiced_seconds_counts_sound_only() -> None:
    line = over_the_line(pause(1.0), sine(440, 0.5), pause(1.0))

    assert voiced_seconds(line) == pytest.approx(0.5, abs=0.04)
