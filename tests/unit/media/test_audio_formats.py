"""Formats, keys, and the errors' codes."""

from pathlib import Path

import pytest

from evercall.media.audio import TELEPHONE, AudioFormat, Coding
from evercall.media.errors import Code, CodecUnavailable, FormatError, FrameError, MediaError
from evercall.media.keypad import KEYS, frequencies

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "media-library.md"


@pytest.mark.parametrize(
    ("coding", "rate", "samples", "size", "silence"),
    [
        (Coding.ULAW, 8000, 160, 160, b"\xff"),
        (Coding.ALAW, 8000, 160, 160, b"\xd5"),
        (Coding.LINEAR, 16000, 320, 640, b"\0"),
        (Coding.L16, 48000, 960, 1920, b"\0"),
    ],
)
def test_a_frame_is_20_ms(
    coding: Coding, rate: int, samples: int, size: int, silence: bytes
) -> None:
    audio = AudioFormat(coding, rate)
    assert (audio.frame_samples, audio.frame_bytes) == (samples, size)
    assert audio.sample_bytes == size // samples
    assert (audio.silence, audio.silence_byte) == (silence * size, silence)
    assert audio.milliseconds(size * 50) == 1000


def test_the_telephone_is_ulaw() -> None:
    assert AudioFormat(Coding.ULAW, 8000) == TELEPHONE


def test_each_key_has_two_frequencies_of_its_own() -> None:
    assert len({frequencies(key) for key in KEYS}) == 16
    assert frequencies("1") == (697, 1209)
    assert frequencies("D") == (941, 1633)


@pytest.mark.parametrize("key", ["", "E", "12", "123A"])
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(FormatError) as caught:
        frequencies(key)
    assert caught.value.code is Code.UNKNOWN_KEY


def test_errors_have_one_root_and_say_their_code() -> None:
    for kind in (FrameError, FormatError, CodecUnavailable):
        assert issubclass(kind, MediaError)
    error = FrameError(Code.ODD_LENGTH, "audio ends within a sample")
    assert str(error) == "odd_length: audio ends within a sample"
    assert (error.code, error.message) == ("odd_length", "audio ends within a sample")


def test_every_code_is_explained() -> None:
    text = DOCUMENTATION.read_text()
    assert [code for code in Code if f"| `{code}` |" not in text] == []
