"""A leak is seen through noise; a restless, a warming and a shrinking curve are no leaks."""

import random

import pytest

from tests.bench.soak.trend import Point, Trend, trend

HOUR, STEP = 3600, 5
SHORTEST = 480.0
LIMIT = 10.0


def series(slope: float, noise: float, seed: int = 1, seconds: int = HOUR) -> list[Point]:
    """Around 100, growing by `slope` in an hour."""
    chance = random.Random(seed)
    return [
        (float(at), 100 + slope * at / HOUR + chance.uniform(-noise, noise))
        for at in range(0, seconds, STEP)
    ]


def found(points: list[Point]) -> Trend:
    """The trend, which there must be."""
    it = trend(points, SHORTEST)
    assert it is not None
    return it


@pytest.mark.parametrize("slope", [2 * LIMIT, 500.0])
def test_a_leak_is_seen_through_noise_as_large_as_the_limit(slope: float) -> None:
    """The same two hundred series each time: their errors have a standard deviation of 1.5."""
    trends = [found(series(slope, LIMIT, seed)) for seed in range(200)]
    assert [it.growth for it in trends] == pytest.approx([slope] * 200, abs=0.75 * LIMIT)
    assert all(it.exceeds(LIMIT) for it in trends)


def test_noise_alone_is_hardly_ever_a_leak() -> None:
    """Once in a thousand series, although the noise is five times the limit."""
    leaks = [found(series(0.0, 5 * LIMIT, seed)).exceeds(LIMIT) for seed in range(1000)]
    assert sum(leaks) <= 1


def test_a_growth_below_the_limit_is_let_pass() -> None:
    assert not found(series(LIMIT - 1, 0.1)).exceeds(LIMIT)


def test_what_shrinks_does_not_grow() -> None:
    assert not found(series(-50.0, 1.0)).exceeds(LIMIT)


def test_one_jump_is_no_leak_and_a_hundred_are() -> None:
    jump = [(float(at), 100.0 + 50 * (at > 600)) for at in range(0, HOUR, STEP)]
    assert not found(jump).exceeds(LIMIT)
    stairs = [(float(at), 100.0 + at // 36) for at in range(0, HOUR, STEP)]
    assert found(stairs).exceeds(LIMIT)


def test_a_warm_up_that_ends_is_no_leak() -> None:
    warming = [(float(at), 100 + 50 * min(1.0, at / 1500)) for at in range(0, HOUR, STEP)]
    assert not found(warming).exceeds(LIMIT)


def test_outliers_do_not_decide() -> None:
    points = series(0.0, 1.0)
    points[-20:] = [(at, 10_000.0) for at, _ in points[-20:]]
    assert found(points).growth == pytest.approx(0.0, abs=2.0)


def test_what_is_too_short_or_too_sparse_is_not_told() -> None:
    assert trend(series(500.0, 0.0, seconds=475), SHORTEST) is None
    assert trend(series(500.0, 0.0)[::40], SHORTEST) is None
    assert trend([], SHORTEST) is None
