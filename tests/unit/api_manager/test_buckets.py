"""Token buckets against a plain model of them."""

from hypothesis import given
from hypothesis import strategies as st

from api_manager.domain.buckets import AtOnce, Buckets, Limit


def test_a_burst_goes_through_and_then_the_rate() -> None:
    buckets = Buckets(Limit(rate=2.0, burst=3.0))
    assert [buckets.take("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("a", 0.25) == 0.25
    assert buckets.take("a", 0.5) == 0.0
    assert buckets.take("a", 0.5) == 0.5


def test_everybody_has_a_bucket_of_their_own() -> None:
    buckets = Buckets(Limit(rate=1.0, burst=1.0))
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.0) > 0.0


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    buckets = Buckets(Limit(rate=1.0, burst=1.0))
    buckets.take("a", 100.0)
    assert buckets.take("a", 50.0) == 1.0


def test_memory_is_bounded_and_who_was_seen_last_is_kept() -> None:
    buckets = Buckets(Limit(rate=1.0, burst=1.0), capacity=10)
    for number in range(100):
        buckets.take(number, 0.0)
    assert len(buckets) == 10
    assert buckets.take(99, 0.0) > 0.0


@given(
    rate=st.floats(0.5, 100.0),
    burst=st.floats(1.0, 50.0),
    gaps=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=200),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: float, gaps: list[float]) -> None:
    buckets = Buckets(Limit(rate, burst))
    now = 0.0
    allowed = 0
    for gap in gaps:
        now += gap
        wait = buckets.take("a", now)
        assert wait >= 0.0
        allowed += not wait
    assert allowed <= burst + rate * now + 1e-6


@given(rate=st.floats(0.5, 100.0), burst=st.floats(1.0, 10.0))
def test_who_waits_as_long_as_told_gets_in(rate: float, burst: float) -> None:
    buckets = Buckets(Limit(rate, burst))
    now = 0.0
    while not (wait := buckets.take("a", now)):
        pass
    assert buckets.take("a", now + wait + 1e-6) == 0.0


def test_only_so_many_are_under_way_and_only_those_are_remembered() -> None:
    at_once = AtOnce(2)
    assert [at_once.enter("a") for _ in range(3)] == [True, True, False]
    assert at_once.enter("b")
    at_once.leave("a")
    assert at_once.enter("a")
    for key in "aab":
        at_once.leave(key)
    assert len(at_once) == 0
