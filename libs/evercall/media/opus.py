"""Opus (RFC 6716) by the system's libopus, where there is one: `apt install libopus0`.

An optional extra: nothing else here needs it, and importing this file does not look for the library. It is
used through ctypes, which releases the interpreter while it works; encoding is by far the dearest thing in
this library (docs/media-library.md), so that whoever offers Opus plans for it.

RTP counts Opus at 48,000 a second at every rate (RFC 7587 §4.1): 960 for 20 ms.
"""

import ctypes
import weakref
from functools import lru_cache

from evercall.media.errors import Code, CodecUnavailable, FormatError, FrameError

RATES = (8000, 12_000, 16_000, 24_000, 48_000)
CLOCK_RATE = 48_000

_LIBRARIES = ("libopus.so.0", "libopus.so", "libopus.0.dylib", "opus.dll")
_VOIP = 2048
_SET_BITRATE, _SET_INBAND_FEC, _SET_PACKET_LOSS = 4002, 4012, 4014
# RFC 6716 §3.2.5: a packet holds at most 120 ms; §3.4: a frame at most 1275 bytes.
_LONGEST_MILLISECONDS = 120
_LONGEST_PACKET = 1275
_SHORTEST_IN_LONGEST = 48
# RFC 6716 §2.1.4: frames of 2.5, 5, 10, 20, 40 and 60 ms, in half milliseconds.
_FRAME_LENGTHS = (5, 10, 20, 40, 80, 120)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """Not `ctypes.util.find_library`, which starts processes to find out."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.opus_encoder_create.restype = ctypes.c_void_p
        library.opus_decoder_create.restype = ctypes.c_void_p
        return library
    raise CodecUnavailable(Code.CODEC_UNAVAILABLE, "libopus is not installed (libopus0)")


def available() -> bool:
    """Whether the library is there."""
    try:
        _library()
    except CodecUnavailable:
        return False
    return True


class OpusEncoder:
    """One direction of one stream, for speech."""

    def __init__(self, rate: int, bit_rate: int = 24_000, *, expected_loss: int = 0) -> None:
        """Makes an encoder.

        Args:
            rate: one of `RATES`.
            bit_rate: bits per second, 6000 to 510,000.
            expected_loss: percent of packets that get lost; above 0, a packet also tells, coarsely, what
                the one before it held (RFC 6716 §2.1.7).

        Raises:
            CodecUnavailable: the library is missing.
            FormatError: no such rate.
        """
        self._library = _library()
        _check_rate(rate)
        self._rate = rate
        error = ctypes.c_int()
        state = self._library.opus_encoder_create(rate, 1, _VOIP, ctypes.byref(error))
        self._state = ctypes.c_void_p(state)
        weakref.finalize(self, self._library.opus_encoder_destroy, self._state)
        self._set(_SET_BITRATE, bit_rate)
        self._set(_SET_INBAND_FEC, int(expected_loss > 0))
        self._set(_SET_PACKET_LOSS, expected_loss)
        self._packet = ctypes.create_string_buffer(_LONGEST_PACKET)

    def encode(self, data: bytes) -> bytes:
        """A frame of linear audio to a packet.

        Raises:
            FormatError: no frame of 2.5, 5, 10, 20, 40 or 60 ms.
        """
        samples = len(data) // 2
        if len(data) % 2 or samples * 2000 not in (self._rate * n for n in _FRAME_LENGTHS):
            raise FormatError(Code.FRAME_LENGTH, "Opus has no frame of this length")
        length = self._library.opus_encode(
            self._state, data, samples, self._packet, _LONGEST_PACKET
        )
        return self._packet.raw[:length]

    def _set(self, request: int, value: int) -> None:
        # A variadic function: what it is to take is not known to ctypes.
        if self._library.opus_encoder_ctl(self._state, request, ctypes.c_int(value)) != 0:
            raise FormatError(Code.UNSUPPORTED_RATE, "Opus has no such bit rate or loss")


class OpusDecoder:
    """The other direction."""

    def __init__(self, rate: int) -> None:
        """Makes a decoder.

        Raises:
            CodecUnavailable: the library is missing.
            FormatError: no such rate.
        """
        self._library = _library()
        _check_rate(rate)
        self._longest = rate * _LONGEST_MILLISECONDS // 1000
        error = ctypes.c_int()
        state = self._library.opus_decoder_create(rate, 1, ctypes.byref(error))
        self._state = ctypes.c_void_p(state)
        weakref.finalize(self, self._library.opus_decoder_destroy, self._state)
        self._samples = ctypes.create_string_buffer(2 * self._longest)

    def decode(self, packet: bytes) -> bytes:
        """A packet to linear audio.

        Raises:
            FrameError: it is no packet of Opus.
        """
        if not packet:
            raise FrameError(Code.OPUS_PACKET, "an Opus packet is not empty")
        return self._decode(packet, len(packet), self._longest, 0)

    def conceal(self, samples: int, following: bytes | None = None) -> bytes:
        """Audio in place of a lost packet: from what the following one tells of it, else made up.

        Raises:
            FrameError: the following one is no packet of Opus.
            FormatError: the codec makes up multiples of 2.5 ms, up to 120 ms.
        """
        if not 0 < samples <= self._longest or samples % (self._longest // _SHORTEST_IN_LONGEST):
            raise FormatError(Code.FRAME_LENGTH, "Opus has no frame of this length")
        if following:
            return self._decode(following, len(following), samples, 1)
        return self._decode(None, 0, samples, 0)

    def _decode(self, packet: bytes | None, length: int, samples: int, fec: int) -> bytes:
        count = self._library.opus_decode(self._state, packet, length, self._samples, samples, fec)
        if count < 0:
            raise FrameError(Code.OPUS_PACKET, "not a packet of Opus")
        return self._samples.raw[: 2 * count]


def _check_rate(rate: int) -> None:
    if rate not in RATES:
        raise FormatError(Code.UNSUPPORTED_RATE, "Opus has no such rate")
