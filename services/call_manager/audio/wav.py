"""Reads WAV files (RIFF): linear PCM, a-law and u-law.

The standard library's `wave` knows linear PCM only. Files whose header was written before their length was
known (a program that writes to a pipe) are common; their sizes are taken for what is there.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from call_manager.audio.errors import AudioError


class Coding(IntEnum):
    """`wFormatTag` of the formats that are understood."""

    PCM = 1
    ALAW = 6
    ULAW = 7


EXTENSIBLE = 0xFFFE
LOWEST_RATE, HIGHEST_RATE = 4000, 48_000

MOST_CHUNKS = 1000

_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_SUBFORMAT_OFFSET = 24


@dataclass(frozen=True, slots=True)
class Wav:
    """A decoded header and the samples as they stand in the file."""

    coding: Coding
    channels: int
    rate: int
    width: int
    samples: bytes


def read_wav(content: bytes) -> Wav:
    """Reads a WAV file.

    Raises:
        AudioError: it is none, or one of a kind that is not understood.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise AudioError("not a WAV file")
    header = b""
    position = 12
    for _ in range(MOST_CHUNKS):
        if position + _CHUNK.size > len(content):
            break
        name, size = _CHUNK.unpack_from(content, position)
        start = position + _CHUNK.size
        if name == b"fmt ":
            header = content[start : start + size]
        elif name == b"data":
            return _wav(header, content[start : start + size])
        # Chunks begin at even offsets.
        position = start + size + size % 2
    raise AudioError("no audio in the WAV file")


def _wav(header: bytes, samples: bytes) -> Wav:
    if len(header) < _FORMAT.size:
        raise AudioError("the WAV file has no format")
    tag, channels, rate, _, _, bits = _FORMAT.unpack_from(header)
    if tag == EXTENSIBLE and len(header) >= _SUBFORMAT_OFFSET + 2:
        # The first two bytes of the sub-format's GUID are the tag of old.
        (tag,) = struct.unpack_from("<H", header, _SUBFORMAT_OFFSET)
    if tag not in list(Coding):
        raise AudioError("the WAV file is neither PCM nor a-law nor u-law")
    coding = Coding(tag)
    widths = (8, 16, 24, 32) if coding is Coding.PCM else (8,)
    if bits not in widths:
        raise AudioError("the WAV file has samples of an odd width")
    if channels not in (1, 2):
        raise AudioError("the WAV file is neither mono nor stereo")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError("the WAV file has an odd sample rate")
    width = bits // 8
    whole = len(samples) - len(samples) % (width * channels)
    if whole == 0:
        raise AudioError("no audio in the WAV file")
    return Wav(coding, channels, rate, width, samples[:whole])
