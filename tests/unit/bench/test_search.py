"""The search for the highest rate ends close below the true one, whatever that is."""

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.search import RateSearch


def search(truth: float, start: float = 25.0) -> tuple[float, int]:
    """Searches a farm that holds everything up to `truth`; returns the finding and the tries."""
    steps, tries = RateSearch(start), 0
    while (rate := steps.next_rate()) is not None:
        tries += 1
        steps.report(rate, held=rate <= truth)
    return steps.held, tries


@given(st.floats(min_value=1.0, max_value=5000.0))
def test_finds_the_rate_from_below_within_a_tenth(truth: float) -> None:
    held, tries = search(truth)
    assert held <= truth
    assert truth - held <= max(1.0, 0.12 * truth)
    assert tries <= 16


def test_a_farm_that_holds_nothing_holds_nothing() -> None:
    assert search(0.5)[0] == 0.0


def test_first_doubles_then_halves_the_gap() -> None:
    steps = RateSearch(25.0)
    rates = []
    for truth in [True, True, True, False, False]:
        rate = steps.next_rate()
        assert rate is not None
        rates.append(rate)
        steps.report(rate, held=truth)
    assert rates == [25.0, 50.0, 100.0, 200.0, 150.0]
    assert steps.held == 100.0
