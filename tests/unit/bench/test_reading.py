"""What the kernel and SIPp write is read rightly."""

import pytest

from tests.bench.accounting import TICKS, Reading, Usage, between, group_of, parse_stat
from tests.bench.errors import MeasurementFailed
from tests.bench.load import answer_times, echoed_packets, offered_seconds

STAT = (
    "8170 (a (strange) name) S 8169 8170 8170 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 41 0 100 1 2"
)


def test_a_stat_line_gives_parent_and_time_with_children() -> None:
    assert parse_stat(STAT) == (8169, 250 / TICKS)


@pytest.mark.parametrize(
    ("name", "group"),
    [("asterisk-call-2", "asterisk-call"), ("nginx", "nginx"), ("call_manager-1", "call_manager")],
)
def test_replicas_are_one_group(name: str, group: str) -> None:
    assert group_of(name) == group


def test_idling_is_taken_off() -> None:
    used = Usage(20.0, {"a-1": 5.0, "a-2": 1.0, "b": 0.1}, 9.0)
    idle = Usage(10.0, {"a-1": 1.0, "a-2": 0.0, "b": 1.0}, 2.0)
    assert used.minus_idle(idle).by_group() == {"a": 4.0, "b": 0.0}


def test_a_restart_spoils_the_measurement() -> None:
    before = Reading(0.0, {"a": 1}, {"a": 0.0}, 0.0)
    after = Reading(1.0, {"a": 2}, {"a": 0.5}, 0.0)
    with pytest.raises(MeasurementFailed, match="restarted while measuring: a"):
        between(before, after)


def test_calls_are_begun_when_their_number_no_longer_grows() -> None:
    counts = [("0", "00:00:00:000000"), ("40", "00:00:02:000000"), ("40", "00:00:03:000000")]
    rows = [{"OutgoingCall(C)": count, "ElapsedTime(C)": at} for count, at in counts]
    assert offered_seconds(rows) == 2


def test_answer_times_are_those_of_the_answer() -> None:
    text = (
        "Date_ms;response_time_ms;rtd_no\n53.8;1.413;answer\n54.0;9.0;other\n104.8;1.166;answer\n"
    )
    assert answer_times(text) == [1.413, 1.166]


def test_the_last_screen_counts() -> None:
    screen = (
        "  5 Total echo RTP pckts 1st stream      0.000 last period RTP rate (kB/s)\n"
        "  51 Total echo RTP pckts 1st stream      0.000 last period RTP rate (kB/s)\n"
        "  0 Total echo RTP pckts 2nd stream      0.000 last period RTP rate (kB/s)\n"
    )
    assert echoed_packets(screen) == 51
    assert echoed_packets("") == 0
