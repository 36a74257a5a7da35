"""What /proc, rabbitmqctl and SIPp write is read rightly; kills are planned as told."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.soak.kills import SHORTEST_PAUSE, plan_kills
from tests.bench.soak.reading import PAGE_BYTES, own_bytes, parse_calls, parse_queues
from tests.bench.soak.record import CallSample, QueueSample

NAMES = ["call_manager-1", "call_manager-2", "asterisk_proxy-1"]


def test_memory_is_what_is_resident_and_not_shared() -> None:
    assert own_bytes("64961 22109 5269 1 0 25241 0\n") == (22109 - 5269) * PAGE_BYTES


def test_queues_that_live_with_a_connection_are_one_line() -> None:
    text = (
        "amq.gen-zR4bc\t2\nasterisk.call-1\t0\namq.gen-dc4Y4\t1\ncall_manager.shard.1\t17\n"
        "Error: a line that is none\n\n"
    )
    assert parse_queues(text, 5.0) == QueueSample(
        5.0, {"amq.gen": 3, "asterisk.call-1": 0, "call_manager.shard.1": 17}, 4
    )


def test_calls_are_the_callers_cumulative_counts() -> None:
    row = {
        "OutgoingCall(C)": "120",
        "OutgoingCall(P)": "20",
        "SuccessfulCall(C)": "90",
        "FailedCall(C)": "1",
        "CurrentCall": "29",
    }
    assert parse_calls(row, 6.0) == CallSample(6.0, 120, 90, 1, 29)


@given(st.integers(), st.floats(30.0, 7200.0), st.floats(1.0, 600.0))
def test_kills_are_apart_and_leave_both_ends_alone(seed: int, seconds: float, every: float) -> None:
    kills = plan_kills(NAMES, seconds, every, seed)
    margin = min(60.0, seconds / 4)
    assert kills == plan_kills(NAMES, seconds, every, seed)
    assert all(margin < kill.at <= seconds - margin and kill.name in NAMES for kill in kills)
    assert all(later.at - kill.at >= SHORTEST_PAUSE - 1e-6 for kill, later in pairwise(kills))


def test_kills_come_as_often_as_told() -> None:
    kills = plan_kills(NAMES, 100_000.0, 100.0, seed=3)
    assert len(kills) == pytest.approx(1000, rel=0.1)
    assert {kill.name for kill in kills} == set(NAMES)


def test_no_kills_when_none_are_wanted() -> None:
    assert plan_kills(NAMES, 3600.0, 0.0, seed=3) == []
