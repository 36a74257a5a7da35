"""The errors of the media library, typed once.

    MediaError            code, message
    ├── FrameError        bytes from outside that are not what they should be
    ├── FormatError       audio of a kind that is not handled: the caller's mistake
    └── CodecUnavailable  a codec whose system library is not installed

Whatever bytes come from outside, a parser answers with a value or with a `FrameError`, never with anything
else. `code` is stable; `message` is static English and holds nothing of the audio.
"""

from enum import StrEnum


class Code(StrEnum):
    """What was wrong. docs/media-library.md explains each."""

    # RTP
    RTP_TOO_SHORT = "rtp_too_short"
    RTP_VERSION = "rtp_version"
    RTP_IS_RTCP = "rtp_is_rtcp"
    RTP_CSRC = "rtp_csrc"
    RTP_EXTENSION = "rtp_extension"
    RTP_PADDING = "rtp_padding"
    RTP_PAYLOAD_TYPE = "rtp_payload_type"
    RTP_FIELD = "rtp_field"
    EVENT_LENGTH = "event_length"
    EVENT_FIELD = "event_field"
    # AudioSocket
    AUDIOSOCKET_KIND = "audiosocket_kind"
    AUDIOSOCKET_LENGTH = "audiosocket_length"
    AUDIOSOCKET_DIGIT = "audiosocket_digit"
    AUDIOSOCKET_RATE = "audiosocket_rate"
    AUDIOSOCKET_CROWD = "audiosocket_crowd"
    # Audio
    ODD_LENGTH = "odd_length"
    FRAME_LENGTH = "frame_length"
    UNSUPPORTED_RATE = "unsupported_rate"
    UNSUPPORTED_ENCAPSULATION = "unsupported_encapsulation"
    UNKNOWN_KEY = "unknown_key"
    # Codecs and files
    OPUS_PACKET = "opus_packet"
    CODEC_UNAVAILABLE = "codec_unavailable"
    WAV_NOT_WAV = "wav_not_wav"
    WAV_FORMAT = "wav_format"
    WAV_EMPTY = "wav_empty"


class MediaError(Exception):
    """Base of all errors of this library."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class FrameError(MediaError):
    """Bytes from outside that are not what they should be."""


class FormatError(MediaError):
    """Audio of a kind that is not handled."""


class CodecUnavailable(MediaError):
    """The codec's system library is not installed."""
