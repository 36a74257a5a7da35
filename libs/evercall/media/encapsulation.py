"""The framings that there are, by the names that applications use."""

from collections.abc import Callable, Mapping

from evercall.media import rtp
from evercall.media.audio import TELEPHONE
from evercall.media.audiosocket import AudioSocketFraming
from evercall.media.errors import Code, FormatError
from evercall.media.framing import Encapsulation, Framing
from evercall.media.rtp import RtpSender
from evercall.media.rtp_framing import RtpFraming
from evercall.media.sln import SlnFraming

RATES: Mapping[Encapsulation, tuple[int, ...]] = {
    Encapsulation.RTP: (TELEPHONE.rate,),
    Encapsulation.SLN: (8000, 16_000),
    Encapsulation.AUDIOSOCKET: (8000, 16_000),
}
"""The rates at which an application may have each; the first one is the default."""

_OPEN: Mapping[Encapsulation, Callable[[int, int], Framing]] = {
    Encapsulation.RTP: lambda _, seed: _rtp(seed),
    Encapsulation.SLN: lambda rate, _: SlnFraming(rate),
    Encapsulation.AUDIOSOCKET: lambda rate, _: AudioSocketFraming(rate),
}


def open_framing(name: str, rate: int | None = None, *, seed: int) -> Framing:
    """The framing of a new stream.

    Args:
        name: one of `Encapsulation`.
        rate: one of `RATES`; None for the default.
        seed: 80 random bits, of which RTP takes its first numbers (RFC 3550 §5.1).

    Raises:
        FormatError: there is no such encapsulation, or not at this rate.
    """
    if name not in list(Encapsulation):
        raise FormatError(Code.UNSUPPORTED_ENCAPSULATION, "no such encapsulation")
    encapsulation = Encapsulation(name)
    chosen = RATES[encapsulation][0] if rate is None else rate
    if chosen not in RATES[encapsulation]:
        raise FormatError(Code.UNSUPPORTED_RATE, "not at this rate in this encapsulation")
    return _OPEN[encapsulation](chosen, seed)


def _rtp(seed: int) -> Framing:
    ssrc, timestamp, sequence = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, seed >> 64 & 0xFFFF
    return RtpFraming(RtpSender(ssrc, rtp.PCMU, sequence=sequence, timestamp=timestamp))
