"""L16: linear audio in network byte order (RFC 3551 §4.5.11), as RTP carries it."""

from evercall.media._audioop import audioop
from evercall.media.errors import Code, FormatError


def linear_to_l16(data: bytes) -> bytes:
    """Little-endian to network order.

    Raises:
        FormatError: the audio ends within a sample.
    """
    try:
        return audioop.byteswap(data, 2)
    except audioop.error as error:
        raise FormatError(Code.ODD_LENGTH, "audio ends within a sample") from error


def l16_to_linear(data: bytes) -> bytes:
    """Network order to little-endian.

    Raises:
        FormatError: the audio ends within a sample.
    """
    return linear_to_l16(data)
