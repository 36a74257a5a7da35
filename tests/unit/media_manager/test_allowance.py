"""The token bucket of a connection."""

from hypothesis import given
from hypothesis import strategies as st

from media_manager.domain.allowance import Allowance


def test_a_burst_is_free_and_what_is_beyond_it_has_to_wait() -> None:
    allowance = Allowance(100.0, 10.0)
    assert allowance.spend(10, 0.0) == 0.0
    assert allowance.spend(5, 0.0) == 0.05
    assert allowance.spend(0, 0.05) == 0.0


def test_a_debt_is_made_good_by_time_alone() -> None:
    allowance = Allowance(100.0, 10.0)
    assert allowance.spend(1010, 0.0) == 10.0
    assert allowance.spend(0, 4.0) == 6.0
    assert (
        allowance.spend(10, 1000.0) == 0.0
    )  # however long it was idle, no more than a burst is saved
    assert allowance.spend(1, 1000.0) > 0.0


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0.0, 1.0)), min_size=1, max_size=50))
def test_who_waits_as_long_as_he_is_told_never_gets_more_than_the_rate(
    spent: list[tuple[int, float]],
) -> None:
    allowance, now, total = Allowance(100.0, 10.0), 0.0, 0
    for tokens, idle in spent:
        now += allowance.spend(tokens, now) + idle
        total += tokens
    assert total <= 10.0 + 100.0 * now + 1e-6
