"""Keys in audio, at the limits of ITU-T Q.24 and beyond them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.dtmf import DtmfDetector, KeyTone
from evercall.media.errors import FormatError
from evercall.media.g711 import linear_to_ulaw, ulaw_to_linear
from evercall.media.keypad import COLUMNS, KEYS, ROWS
from evercall.media.tone import key_tones
from tests.unit.media.samples import DATA, QUICK, linear

PAIRS = [(row, column) for row in ROWS for column in COLUMNS]
PHASES = (0, 13, 27)


def heard(audio: bytes, rate: int = 8000) -> str:
    """The keys in audio, with silence after it."""
    found = DtmfDetector(rate).detect(audio + bytes(rate // 5 * 2))
    assert [event.key for event in found[::2]] == [event.key for event in found[1::2]]
    assert [event.ended for event in found] == [False, True] * (len(found) // 2)
    return "".join(event.key for event in found[::2])


def two_tones(
    low: float, high: float, low_level: float = -13, high_level: float = -13, seconds: float = 0.05
) -> bytes:
    time = np.arange(round(seconds * 8000)) / 8000
    return linear(
        32767 * 10 ** (low_level / 20) * np.sin(2 * np.pi * low * time)
        + 32767 * 10 ** (high_level / 20) * np.sin(2 * np.pi * high * time)
    )


def share_heard(audios: list[bytes]) -> float:
    """Which share of these is heard as exactly one key, at several places relative to the looks."""
    results = [len(heard(bytes(2 * phase) + audio)) == 1 for audio in audios for phase in PHASES]
    return sum(results) / len(results)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_all_keys_are_heard(rate: int) -> None:
    assert heard(key_tones(rate, KEYS, 0.05, 0.05), rate) == KEYS


def test_all_keys_are_heard_through_g711() -> None:
    assert heard(ulaw_to_linear(linear_to_ulaw(key_tones(8000, KEYS, 0.04, 0.04)))) == KEYS


@QUICK
@given(st.text(KEYS, max_size=5), st.lists(st.integers(0, 900), max_size=15))
def test_audio_may_come_in_any_pieces(keys: str, sizes: list[int]) -> None:
    audio = key_tones(8000, keys, 0.05, 0.05) + bytes(3200)
    detector, whole = DtmfDetector(), DtmfDetector()
    found, at = [], 0
    for size in [*sizes, len(audio)]:
        found += detector.detect(audio[at : at + 2 * size])
        at += 2 * size
    assert found == whole.detect(audio)


def test_an_end_tells_how_long_the_key_sounded() -> None:
    begun, ended = DtmfDetector().detect(key_tones(8000, "7", 0.2, 0.1))
    assert begun == KeyTone("7", False, 0.0)
    assert (ended.key, ended.ended) == ("7", True)
    assert ended.duration == pytest.approx(0.2, abs=0.015)


def test_a_key_is_told_while_it_still_sounds() -> None:
    detector = DtmfDetector()
    assert detector.detect(key_tones(8000, "7", 0.045, 0)) == [KeyTone("7", False, 0.0)]


# -- duration ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("milliseconds", "share"), [(40, 1.0), (50, 1.0), (23, 0.0), (15, 0.0)])
def test_forty_milliseconds_are_a_key_and_23_are_none(milliseconds: int, share: float) -> None:
    audios = [two_tones(*pair, seconds=milliseconds / 1000) for pair in PAIRS]
    assert share_heard(audios) == share


def test_forty_milliseconds_of_pause_part_two_keys() -> None:
    assert heard(key_tones(8000, "5555", 0.04, 0.04)) == "5555"


def test_ten_milliseconds_of_interruption_do_not() -> None:
    for low, high in PAIRS:
        tone = two_tones(low, high, seconds=0.15)
        for at in range(1000, 1080, 10):
            assert len(heard(tone[:at] + bytes(160) + tone[at + 160 :])) == 1


def test_a_key_that_follows_without_a_pause_ends_the_one_before() -> None:
    found = DtmfDetector().detect(key_tones(8000, "12", 0.08, 0))
    assert found[:3] == [
        KeyTone("1", False, 0.0), KeyTone("1", True, found[1].duration), KeyTone("2", False, 0.0),
    ]  # fmt: skip
    assert found[1].duration == pytest.approx(0.08, abs=0.03)


# -- frequency, twist, level, noise ------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("off", "share"),
    [(0.015, 1.0), (-0.015, 1.0), (0.018, 1.0), (0.035, 0.0), (-0.035, 0.0), (0.06, 0.0)],
)
def test_frequencies_may_be_off_by_so_much(which: int, off: float, share: float) -> None:
    factors = [1.0, 1.0]
    factors[which] += off
    audios = [two_tones(low * factors[0], high * factors[1]) for low, high in PAIRS]
    assert share_heard(audios) == share


@pytest.mark.parametrize(("twist", "share"), [(4, 1.0), (-8, 1.0), (0, 1.0), (7, 0.0), (-11, 0.0)])
def test_one_tone_may_be_louder_by_so_much(twist: float, share: float) -> None:
    assert share_heard([two_tones(*pair, -13, -13 + twist) for pair in PAIRS]) == share


@pytest.mark.parametrize("off", [0.016, -0.016])
@pytest.mark.parametrize("twist", [4, -7])
def test_frequencies_may_be_off_and_unequally_loud(off: float, twist: float) -> None:
    audios = [two_tones(low * (1 + off), high * (1 + off), -13, -13 + twist) for low, high in PAIRS]
    assert share_heard(audios) == 1.0


@pytest.mark.parametrize(("level", "share"), [(-7, 1.0), (-28.17, 1.0), (-58.17, 0.0)])
def test_the_level_is_heeded(level: float, share: float) -> None:
    """0, -25 and -55 dBm0; the loudest is as loud as two tones are without clipping."""
    assert share_heard([two_tones(*pair, level, level) for pair in PAIRS]) == share


def test_noise_15_db_below_a_key_does_not_matter() -> None:
    noise = np.random.default_rng(5)
    audios = []
    for pair in PAIRS:
        samples = np.frombuffer(two_tones(*pair, seconds=0.04), "<i2").astype(np.float64)
        deviation = np.sqrt((samples**2).mean() / 10**1.5)
        audios.append(linear(samples + noise.normal(0, deviation, len(samples))))
    assert share_heard(audios) == 1.0


# -- what is no key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "audio",
    [
        bytes(16_000),
        linear(np.random.default_rng(6).normal(0, 3000, 80_000)),
        two_tones(697, 770, seconds=0.5),
        two_tones(1209, 1336, seconds=0.5),
        two_tones(350, 440, seconds=0.5),
        two_tones(480, 620, seconds=0.5),
        two_tones(941, 941, seconds=0.5),
        linear(20_000 * np.sign(np.sin(2 * np.pi * 697 * np.arange(8000) / 8000))),
    ],
    ids=["silence", "noise", "two rows", "two columns", "dial", "busy", "one tone", "square"],
)
def test_other_sounds_are_no_keys(audio: bytes) -> None:
    assert heard(audio) == ""


def test_a_third_tone_spoils_a_key() -> None:
    third = np.frombuffer(two_tones(1000, 1000, -19, -19, 0.2), "<i2").astype(np.float64)
    key = np.frombuffer(two_tones(770, 1336, seconds=0.2), "<i2")
    assert heard(linear(key + third)) == ""


def test_a_voice_near_the_tones_is_no_key() -> None:
    """Harmonics of 238 Hz near 941 and 1209 Hz: with three quarters of purity it was four times a star."""
    speech = ulaw_to_linear((DATA / "speech" / "talk_off.ulaw").read_bytes())
    assert heard(speech) == ""


def test_what_cannot_be_detected_in_is_refused() -> None:
    for rate in (0, 4000, 8050):
        with pytest.raises(FormatError):
            DtmfDetector(rate)
    with pytest.raises(FormatError):
        DtmfDetector().detect(b"\0")
