"""Mixing, against sums made one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.errors import Code, FormatError
from evercall.media.mix import add, mix, mix_minus
from tests.unit.media.samples import QUICK

SAMPLES = st.integers(-32768, 32767)


@st.composite
def parties(draw: st.DrawFn) -> list[list[int]]:
    length = draw(st.integers(0, 8))
    frame = st.lists(SAMPLES, min_size=length, max_size=length)
    return draw(st.lists(frame, max_size=6))


def frame(samples: list[int]) -> bytes:
    return np.array(samples, "<i2").tobytes()


def saturated(columns: list[tuple[int, ...]]) -> bytes:
    return frame([max(-32768, min(32767, sum(column))) for column in columns])


@QUICK
@given(parties())
def test_each_party_hears_all_others(samples: list[list[int]]) -> None:
    expected = [
        saturated(list(zip(*samples[:n], *samples[n + 1 :], strict=True)) or [()] * len(own))
        for n, own in enumerate(samples)
    ]
    assert mix_minus([frame(own) for own in samples]) == expected


@QUICK
@given(parties())
def test_a_listener_hears_all(samples: list[list[int]]) -> None:
    expected = saturated(list(zip(*samples, strict=True)))
    assert mix([frame(own) for own in samples]) == expected


@QUICK
@given(st.lists(st.tuples(SAMPLES, SAMPLES), max_size=20))
def test_two_are_added(pairs: list[tuple[int, int]]) -> None:
    one, other = ([pair[n] for pair in pairs] for n in (0, 1))
    assert add(frame(one), frame(other)) == saturated(list(pairs))


def test_twenty_loud_parties_are_clipped_and_do_not_wrap() -> None:
    loud = frame([32767, -32768])
    assert mix_minus([loud] * 20) == [loud] * 20


@pytest.mark.parametrize("frames", [[b"\0\0", b"\0\0\0\0"], [b"\0", b"\0"]])
def test_frames_that_do_not_fit_each_other_are_refused(frames: list[bytes]) -> None:
    for mixer in (mix, mix_minus):
        with pytest.raises(FormatError) as caught:
            mixer(frames)
        assert caught.value.code is Code.FRAME_LENGTH
    with pytest.raises(FormatError):
        add(*frames)
