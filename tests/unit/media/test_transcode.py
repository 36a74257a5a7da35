"""From any format to any other."""

import itertools

import pytest

from evercall.media.audio import AudioFormat, Coding
from evercall.media.errors import FormatError
from evercall.media.g711 import alaw_to_ulaw, linear_to_ulaw, ulaw_to_alaw, ulaw_to_linear
from evercall.media.l16 import linear_to_l16
from evercall.media.transcode import transcoder
from tests.unit.media.samples import sine, spectrum_peak

FORMATS = [AudioFormat(coding, rate) for coding in Coding for rate in (8000, 16_000)]


@pytest.mark.parametrize(("source", "target"), list(itertools.product(FORMATS, FORMATS)))
def test_a_tone_stays_a_tone(source: AudioFormat, target: AudioFormat) -> None:
    linear = AudioFormat(Coding.LINEAR, source.rate)
    audio = transcoder(linear, source)(sine(1000, 0.2, source.rate))
    assert len(audio) == 10 * source.frame_bytes
    heard = transcoder(source, target)(audio)
    assert len(heard) == 10 * target.frame_bytes
    back = transcoder(target, AudioFormat(Coding.LINEAR, target.rate))(heard)
    assert spectrum_peak(back, target.rate) == pytest.approx(1000, abs=2)


def test_the_shortest_way_is_taken() -> None:
    ulaw, alaw, linear, l16 = (AudioFormat(coding, 8000) for coding in Coding)
    assert (ulaw.coding, alaw.coding, linear.coding, l16.coding) == tuple(Coding)
    assert transcoder(ulaw, alaw) is ulaw_to_alaw
    assert transcoder(alaw, ulaw) is alaw_to_ulaw
    assert transcoder(ulaw, linear) is ulaw_to_linear
    assert transcoder(linear, ulaw) is linear_to_ulaw
    assert transcoder(linear, l16) is linear_to_l16
    data = b"\1\2"
    assert transcoder(ulaw, ulaw)(data) is data


def test_there_is_no_way_between_odd_rates() -> None:
    with pytest.raises(FormatError):
        transcoder(AudioFormat(Coding.ULAW, 8000), AudioFormat(Coding.LINEAR, 11_025))
