"""WAV files (RIFF): linear PCM of 8 to 32 bits, A-law and µ-law, read and written.

The standard library's `wave` knows linear PCM only, and believes what a header says of the length. A program
that writes to a pipe does not know it yet: sizes are taken for what is there.
"""

import struct
from enum import IntEnum

import msgspec

from evercall.media._audioop import audioop
from evercall.media.audio import AudioFormat, Coding
from evercall.media.errors import Code, FormatError, FrameError
from evercall.media.g711 import alaw_to_linear, ulaw_to_linear

LOWEST_RATE, HIGHEST_RATE = 4000, 192_000

_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_EXTENSIBLE = 0xFFFE
_SUBFORMAT_OFFSET = 24
_LARGEST = 0xFFFFFFFF


class WavCoding(IntEnum):
    """`wFormatTag` of what is understood."""

    PCM = 1
    ALAW = 6
    ULAW = 7


class Wav(msgspec.Struct, frozen=True):
    """What a file says of its audio, and the audio as it stands in it. `width` is bytes of a sample."""

    coding: WavCoding
    channels: int
    rate: int
    width: int
    data: bytes

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.data) / (self.width * self.channels * self.rate)

    def linear(self) -> bytes:
        """The audio as 16-bit linear, mono: of two channels the mean."""
        samples = self._samples()
        return audioop.tomono(samples, 2, 0.5, 0.5) if self.channels == 2 else samples

    def _samples(self) -> bytes:
        if self.coding is WavCoding.ULAW:
            return ulaw_to_linear(self.data)
        if self.coding is WavCoding.ALAW:
            return alaw_to_linear(self.data)
        if self.width == 1:
            # Samples of 8 bits are unsigned.
            return audioop.lin2lin(audioop.bias(self.data, 1, -128), 1, 2)
        return audioop.lin2lin(self.data, self.width, 2)


def read_wav(content: bytes) -> Wav:
    """Reads a file.

    Raises:
        FrameError: it is no WAV file, or of a kind that is not understood.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise FrameError(Code.WAV_NOT_WAV, "not a WAV file")
    header = b""
    position = _RIFF.size
    while position + _CHUNK.size <= len(content):
        name, size = _CHUNK.unpack_from(content, position)
        begin = position + _CHUNK.size
        if name == b"fmt ":
            header = content[begin : begin + size]
        elif name == b"data":
            return _wav(header, content[begin : begin + size])
        # Chunks begin at even offsets.
        position = begin + size + size % 2
    raise FrameError(Code.WAV_EMPTY, "no audio in the WAV file")


def _wav(header: bytes, data: bytes) -> Wav:
    if len(header) < _FORMAT.size:
        raise FrameError(Code.WAV_FORMAT, "the WAV file does not tell its format")
    tag, channels, rate, _, _, bits = _FORMAT.unpack_from(header)
    if tag == _EXTENSIBLE and len(header) >= _SUBFORMAT_OFFSET + 2:
        # The first two bytes of the sub-format's GUID are the tag of old.
        (tag,) = struct.unpack_from("<H", header, _SUBFORMAT_OFFSET)
    if tag not in list(WavCoding):
        raise FrameError(Code.WAV_FORMAT, "neither PCM nor A-law nor µ-law")
    if bits not in ((8, 16, 24, 32) if tag == WavCoding.PCM else (8,)):
        raise FrameError(Code.WAV_FORMAT, "samples of an odd width")
    if channels not in (1, 2):
        raise FrameError(Code.WAV_FORMAT, "neither mono nor stereo")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise FrameError(Code.WAV_FORMAT, "an odd sample rate")
    width = bits // 8
    whole = len(data) - len(data) % (width * channels)
    if whole == 0:
        raise FrameError(Code.WAV_EMPTY, "no audio in the WAV file")
    return Wav(WavCoding(tag), channels, rate, width, data[:whole])


_WRITTEN = {
    Coding.LINEAR: WavCoding.PCM,
    Coding.ULAW: WavCoding.ULAW,
    Coding.ALAW: WavCoding.ALAW,
}


def write_wav(audio_format: AudioFormat, data: bytes) -> bytes:
    """A file of mono audio.

    Raises:
        FormatError: L16, which WAV does not know, or more than the format can tell.
    """
    return wav_header(audio_format, len(data)) + data + b"\0" * (len(data) % 2)


def wav_header(audio_format: AudioFormat, length: int | None = None) -> bytes:
    """What stands before the audio; without a length, for a file that is still being written.

    Raises:
        FormatError: L16, which WAV does not know, or more than the format can tell.
    """
    tag = _WRITTEN.get(audio_format.coding)
    if tag is None:
        raise FormatError(Code.WAV_FORMAT, "a WAV file has no samples in network order")
    width = audio_format.sample_bytes
    # RIFF wants an extension, though empty, of all that is not PCM, and the number of samples.
    extension = b"" if tag is WavCoding.PCM else struct.pack("<H", 0)
    form = _FORMAT.pack(tag, 1, audio_format.rate, audio_format.rate * width, width, 8 * width)
    chunks = _CHUNK.pack(b"fmt ", len(form + extension)) + form + extension
    if tag is not WavCoding.PCM:
        samples = _LARGEST if length is None else length // width
        chunks += _CHUNK.pack(b"fact", 4) + struct.pack("<I", samples)
    around = len(b"WAVE") + len(chunks) + _CHUNK.size
    if length is None:
        return _RIFF.pack(b"RIFF", _LARGEST, b"WAVE") + chunks + _CHUNK.pack(b"data", _LARGEST)
    total = around + length + length % 2
    if total > _LARGEST:
        raise FormatError(Code.WAV_FORMAT, "more audio than a WAV file holds")
    return _RIFF.pack(b"RIFF", total, b"WAVE") + chunks + _CHUNK.pack(b"data", length)
