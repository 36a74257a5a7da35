"""WAV files: read, written, and what is none."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.audio import AudioFormat, Coding
from evercall.media.errors import Code, FormatError, FrameError
from evercall.media.wav import WavCoding, read_wav, wav_header, write_wav
from tests.unit.media.samples import DATA, QUICK, code_of, files, rms

FORMATS = st.builds(
    AudioFormat,
    st.sampled_from([Coding.LINEAR, Coding.ULAW, Coding.ALAW]),
    st.integers(4000, 192_000),
)


def linear_of(name: str) -> list[int]:
    content = (DATA / "wav" / "good" / f"{name}.wav").read_bytes()
    samples: list[int] = np.frombuffer(read_wav(content).linear(), "<i2").tolist()
    return samples


@pytest.mark.parametrize("file", files("wav/good"))
def test_a_good_file_is_read(file: Path) -> None:
    wav = read_wav(file.read_bytes())
    assert wav.seconds > 0
    assert len(wav.linear()) == 2 * round(wav.seconds * wav.rate)


@pytest.mark.parametrize("file", files("wav/bad"))
def test_a_bad_file_gives_its_code(file: Path) -> None:
    with pytest.raises(FrameError) as caught:
        read_wav(file.read_bytes())
    assert caught.value.code == code_of(file)


def test_samples_of_every_width_become_16_bits() -> None:
    assert linear_of("pcm_8_bit") == [0, 127 << 8, -128 << 8, 256, -256]
    assert linear_of("pcm_24_extensible") == [256, 32767, -32768]
    assert linear_of("pcm_32_bit") == [1, -1]
    assert linear_of("alaw") == [8, -8, 32256, -32256]
    assert linear_of("ulaw_list_chunk") == [0, 0, 32124, -32124]


def test_of_two_channels_the_mean_is_taken() -> None:
    assert linear_of("pcm_16_stereo") == [500, 15883, -16384, 127]


def test_a_file_from_a_pipe_has_the_length_that_is_there() -> None:
    content = (DATA / "wav/good/espeak_pipe.wav").read_bytes()
    wav = read_wav(content)
    assert (wav.coding, wav.rate, wav.channels, wav.width) == (WavCoding.PCM, 22_050, 1, 2)
    assert len(wav.data) == len(content) - 44
    assert rms(wav.linear()) > 100


@QUICK
@given(FORMATS, st.binary(min_size=2, max_size=99))
def test_what_is_written_is_read_again(audio: AudioFormat, data: bytes) -> None:
    whole = data[: len(data) // audio.sample_bytes * audio.sample_bytes]
    wav = read_wav(write_wav(audio, whole))
    assert (wav.rate, wav.channels, wav.width, wav.data) == (
        audio.rate,
        1,
        audio.sample_bytes,
        whole,
    )
    assert wav.coding.name == {"slin": "PCM"}.get(audio.coding, audio.coding.upper())


@QUICK
@given(st.binary(max_size=120) | st.binary(max_size=120).map(lambda rest: b"RIFFxxxxWAVE" + rest))
def test_any_bytes_are_a_wav_or_a_frame_error(content: bytes) -> None:
    try:
        wav = read_wav(content)
    except FrameError:
        return
    wav.linear()


def test_the_standard_library_reads_what_is_written() -> None:
    audio = AudioFormat(Coding.LINEAR, 16_000)
    with wave.open(io.BytesIO(write_wav(audio, b"\1\2\3\4"))) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (
            16_000,
            1,
            2,
        )
        assert reader.readframes(10) == b"\1\2\3\4"


@pytest.mark.parametrize("coding", [Coding.LINEAR, Coding.ULAW])
def test_a_file_that_is_being_written_can_be_read(coding: Coding) -> None:
    audio = AudioFormat(coding, 8000)
    assert read_wav(wav_header(audio) + bytes(320)).data == bytes(320)


def test_what_a_file_does_not_hold_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        write_wav(AudioFormat(Coding.L16, 8000), b"")
    assert caught.value.code is Code.WAV_FORMAT
    with pytest.raises(FormatError):
        wav_header(AudioFormat(Coding.ULAW, 8000), 0xFFFFFFF0)
