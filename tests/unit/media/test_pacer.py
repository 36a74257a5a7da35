"""One ticker for all streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.pacer import CATCH_UP, INTERVAL, SLOTS, Pacer
from tests.unit.media.samples import QUICK


def joined(*streams: str, slots: int = SLOTS, now: float = 0.0) -> Pacer[str]:
    pacer: Pacer[str] = Pacer(now, slots)
    for stream in streams:
        pacer.add(stream)
    pacer.due(now)
    return pacer


def owed(pacer: Pacer[str], now: float) -> dict[str, tuple[int, int]]:
    """Frames and skipped frames of each stream."""
    return {stream: (due.frames, due.skipped) for due in pacer.due(now) for stream in due.streams}


def test_every_stream_owes_one_frame_each_20_ms() -> None:
    pacer = joined("a", "b", "c", "d", "e", "f")
    frames = dict.fromkeys("abcdef", 0)
    for step in range(1, 401):
        for stream, (count, skipped) in owed(pacer, step * 0.005).items():
            frames[stream] += count
            assert (count, skipped) == (1, 0)
    assert set(frames.values()) == {100}


def test_streams_are_spread_over_the_interval() -> None:
    pacer = joined(*"abcdefgh")
    sizes = [len(owed(pacer, (step + 1) * INTERVAL / SLOTS)) for step in range(SLOTS)]
    assert sizes == [2, 2, 2, 2]


def test_the_next_slot_is_told_and_does_not_drift() -> None:
    pacer = joined("a", now=100.0)
    now = 100.0
    for step in range(1, 10_001):
        now = pacer.next_at()
        assert now == pytest.approx(100.0 + step * 0.005, abs=1e-9)
        pacer.due(now)
    assert now == pytest.approx(150.0)


def test_nothing_is_due_before_its_time() -> None:
    pacer = joined("a", slots=1)
    assert owed(pacer, 0.0199) == {}
    assert owed(pacer, 0.02) == {"a": (1, 0)}
    assert owed(pacer, 0.02) == {}
    assert owed(pacer, 0.01) == {}


def test_a_short_stall_is_made_up_for() -> None:
    pacer = joined("a", slots=1)
    assert owed(pacer, 0.02 * CATCH_UP) == {"a": (CATCH_UP, 0)}
    assert owed(pacer, 0.02 * (CATCH_UP + 1)) == {"a": (1, 0)}


def test_a_long_stall_is_skipped() -> None:
    pacer = joined("a", slots=1)
    assert owed(pacer, 1.0) == {"a": (CATCH_UP, 50 - CATCH_UP)}
    assert owed(pacer, 1.02) == {"a": (1, 0)}


def test_who_joins_owes_nothing_for_the_time_before() -> None:
    pacer = joined("a", slots=1)
    pacer.add("late")
    assert owed(pacer, 1.0) == {"a": (CATCH_UP, 50 - CATCH_UP)}
    assert owed(pacer, 1.02) == {"a": (1, 0), "late": (1, 0)}


def test_who_leaves_owes_nothing() -> None:
    pacer = joined("a", "b", slots=1)
    pacer.add("c")
    pacer.remove("c")
    pacer.remove("a")
    pacer.remove("nobody")
    assert owed(pacer, 0.02) == {"b": (1, 0)}
    assert (len(pacer), "a" in pacer, "b" in pacer) == (1, False, True)


def test_who_joins_twice_is_there_once() -> None:
    pacer = joined("a", slots=1)
    pacer.add("a")
    pacer.add("b")
    pacer.add("b")
    assert ("b" in pacer, len(pacer)) == (True, 2)
    assert list(owed(pacer, 0.02)) == ["a"]
    assert sorted(owed(pacer, 0.04)) == ["a", "b"]


def test_streams_may_come_and_go_while_their_frames_are_sent() -> None:
    pacer = joined("a", "b", slots=1)
    for due in pacer.due(0.02):
        for stream in due.streams:
            pacer.remove(stream)
            pacer.add(stream + "2")
    pacer.due(0.04)
    assert list(owed(pacer, 0.06)) == ["a2", "b2"]


@QUICK
@given(st.integers(1, 6), st.lists(st.floats(0, 0.3), max_size=40))
def test_no_time_is_lost_however_late_the_ticks_come(slots: int, steps: list[float]) -> None:
    pacer = joined("a", "b", "c", slots=slots)
    total = dict.fromkeys("abc", 0)
    now = 0.0
    for step in steps:
        now += step
        for stream, (frames, skipped) in owed(pacer, now).items():
            assert 1 <= frames <= CATCH_UP
            assert skipped == 0 or frames == CATCH_UP
            total[stream] += frames + skipped
    for count in total.values():
        assert abs(count - now / INTERVAL) <= 1.001
