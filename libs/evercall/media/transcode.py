"""From one format of audio to another: the shortest way between two codings at two rates."""

from collections.abc import Callable, Mapping

from evercall.media.audio import AudioFormat, Coding
from evercall.media.g711 import (
    alaw_to_linear,
    alaw_to_ulaw,
    linear_to_alaw,
    linear_to_ulaw,
    ulaw_to_alaw,
    ulaw_to_linear,
)
from evercall.media.l16 import l16_to_linear, linear_to_l16
from evercall.media.resample import Resampler

Transcode = Callable[[bytes], bytes]


def _same(data: bytes) -> bytes:
    return data


_TO_LINEAR: Mapping[Coding, Transcode] = {
    Coding.LINEAR: _same,
    Coding.ULAW: ulaw_to_linear,
    Coding.ALAW: alaw_to_linear,
    Coding.L16: l16_to_linear,
}
_FROM_LINEAR: Mapping[Coding, Transcode] = {
    Coding.LINEAR: _same,
    Coding.ULAW: linear_to_ulaw,
    Coding.ALAW: linear_to_alaw,
    Coding.L16: linear_to_l16,
}
_DIRECT: Mapping[tuple[Coding, Coding], Transcode] = {
    (Coding.ULAW, Coding.ALAW): ulaw_to_alaw,
    (Coding.ALAW, Coding.ULAW): alaw_to_ulaw,
}


def transcoder(source: AudioFormat, target: AudioFormat) -> Transcode:
    """What turns audio of one format into the other, for one direction of one stream. At different rates it
    remembers what came before, and gives what makes whole blocks (`resample`).

    Raises:
        FormatError: no way between these rates.
    """
    decode, encode = _TO_LINEAR[source.coding], _FROM_LINEAR[target.coding]
    if source.rate != target.rate:
        resample = Resampler(source.rate, target.rate).resample
        return lambda data: encode(resample(decode(data)))
    if source.coding == target.coding:
        return _same
    direct = _DIRECT.get((source.coding, target.coding))
    if direct is not None:
        return direct
    if target.coding is Coding.LINEAR:
        return decode
    if source.coding is Coding.LINEAR:
        return encode
    return lambda data: encode(decode(data))
