"""The jitter buffer, on networks of all kinds: a table of cases, then simulations."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.jitter import CAPACITY, Gap, JitterBuffer, JitterStatistics
from tests.unit.media.samples import QUICK

FRAME = 160
TICK = 0.02


@dataclass
class Heard:
    """What came out: packets' numbers, gaps, and how long each packet was on its way."""

    frames: list[int | Gap] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        return [frame for frame in self.frames if isinstance(frame, int)]

    def count(self, gap: Gap) -> int:
        return self.frames.count(gap)


@dataclass
class Network:
    """Packets on their way: (arrival, number, timestamp). A tick comes every 20 ms, 3 ms after a packet."""

    buffer: JitterBuffer
    packets: list[tuple[float, int, int]]
    phase: float = 0.003
    sent_at: dict[int, float] = field(default_factory=dict)

    def run(self, seconds: float) -> Heard:
        heard = Heard()
        arrivals = sorted(self.packets)
        for tick in range(round(seconds / TICK)):
            now = self.phase + tick * TICK
            while arrivals and arrivals[0][0] <= now:
                at, number, timestamp = arrivals.pop(0)
                self.buffer.add(number & 0xFFFF, timestamp & 0xFFFFFFFF, b"%d" % number, at)
            frame = self.buffer.get(now)
            if isinstance(frame, Gap):
                heard.frames.append(frame)
            else:
                heard.frames.append(int(frame))
                heard.delays.append(now - self.sent_at.get(int(frame), int(frame) * TICK))
        return heard


def on_time(numbers: Iterable[int], delay: float = 0.01) -> list[tuple[float, int, int]]:
    return [(number * TICK + delay, number, number * FRAME) for number in numbers]


def play(packets: list[tuple[float, int, int]], seconds: float) -> tuple[Heard, JitterStatistics]:
    buffer = JitterBuffer()
    heard = Network(buffer, packets).run(seconds)
    return heard, buffer.statistics()


# -- the table of cases ------------------------------------------------------------------------


def test_packets_in_time_are_played_without_a_gap() -> None:
    heard, counted = play(on_time(range(100)), 3.0)
    begin = heard.frames.index(0)
    assert begin <= 3
    assert heard.frames[begin : begin + 100] == list(range(100))
    assert max(heard.delays) < 0.05
    assert (counted.received, counted.played) == (100, 100)
    assert counted.jitter == pytest.approx(0, abs=1e-6)


def test_numbers_and_timestamps_wrap() -> None:
    packets = [(n * TICK, 65_500 + n, 0xFFFFFFFF - 50 * FRAME + n * FRAME) for n in range(100)]
    heard, counted = play(packets, 3.0)
    assert heard.numbers == list(range(65_500, 65_600))
    assert counted.lost == counted.left_out == counted.restarts == 0


def test_a_lost_packet_is_a_gap_in_its_place() -> None:
    heard, counted = play(on_time(n for n in range(50) if n != 20), 1.5)
    at = heard.frames.index(19)
    assert heard.frames[at : at + 3] == [19, Gap.LOST, 21]
    assert (counted.lost, counted.played) == (1, 49)


def test_several_lost_packets_are_as_many_gaps_as_time() -> None:
    """With a depth of one packet nobody knows yet that the first two are lost; they take their time."""
    heard, counted = play(on_time(n for n in range(50) if n not in (20, 21, 22)), 1.5)
    at = heard.frames.index(19)
    gap = heard.frames[at + 1 : heard.frames.index(23)]
    assert len(gap) == 3
    assert counted.lost == 3


def test_packets_out_of_order_are_put_in_order() -> None:
    packets = on_time(range(50))
    packets[10], packets[11] = (packets[11][0], 10, 1600), (packets[10][0], 11, 1760)
    heard, counted = play(packets, 1.5)
    assert heard.numbers == list(range(50))
    assert (counted.reordered, counted.lost) == (1, 0)


def test_packets_that_come_twice_are_played_once() -> None:
    packets = [packet for packet in on_time(range(50)) for _ in range(2)]
    packets += [(0.9, 3, 3 * FRAME)]
    heard, counted = play(packets, 1.5)
    assert heard.numbers == list(range(50))
    assert (counted.duplicates, counted.late) == (51, 0)


def test_a_late_packet_deepens_the_buffer_for_those_after_it() -> None:
    packets = on_time(range(200))
    packets[50] = (packets[50][0] + 0.09, 50, 50 * FRAME)
    packets[100] = (packets[100][0] + 0.08, 100, 100 * FRAME)
    heard, counted = play(packets, 5.0)
    assert counted.late == 1
    assert 50 not in heard.numbers
    assert 100 in heard.numbers
    assert counted.depth == pytest.approx(0.09, abs=0.025)


def test_a_path_that_becomes_longer_costs_no_packet() -> None:
    packets = on_time(range(50)) + on_time(range(50, 100), delay=0.4)
    heard, counted = play(packets, 3.0)
    assert heard.numbers == list(range(100))
    assert counted.late == counted.left_out == counted.lost == 0


def test_depth_is_given_back_when_the_path_is_calm_again() -> None:
    packets = on_time(range(1500))
    packets[50:54] = [(packets[50][0] + 0.12, n, n * FRAME) for n in range(50, 54)]
    heard, counted = play(packets, 31.0)
    assert counted.depth < 0.05
    assert 1 <= counted.left_out <= 8
    assert heard.delays[-1] < 0.06
    assert max(heard.delays) > 0.1


def test_depth_is_limited() -> None:
    packets = on_time(range(300))
    packets[50] = (packets[50][0] + 1.5, 50, 50 * FRAME)
    heard, counted = play(packets, 7.0)
    assert counted.depth <= 0.22
    assert heard.numbers[-1] == 299


def test_a_pause_with_timestamps_that_go_on_is_silence() -> None:
    packets = [
        *on_time(range(20)),
        *((3.0 + n * TICK, 20 + n, 150 * FRAME + n * FRAME) for n in range(20)),
    ]
    heard, counted = play(packets, 4.0)
    assert heard.numbers == list(range(40))
    assert (counted.lost, counted.left_out) == (0, 0)


def test_a_pause_with_timestamps_that_stand_still_is_silence_too() -> None:
    packets = [
        *on_time(range(20)),
        *((3.0 + n * TICK, 20 + n, (20 + n) * FRAME) for n in range(20)),
    ]
    heard, counted = play(packets, 4.0)
    assert heard.numbers == list(range(40))
    assert (counted.lost, counted.left_out) == (0, 0)
    # What was before the pause says nothing of the path after it.
    assert counted.depth == pytest.approx(0.02, abs=0.011)


def test_after_a_pause_less_is_waited_for_at_no_cost() -> None:
    spurts = [on_time(range(10)), on_time(range(310, 320)), on_time(range(620, 650))]
    spurts[0][4] = (spurts[0][4][0] + 0.15, 4, 4 * FRAME)
    packets = [packet for spurt in spurts for packet in spurt]
    numbered = [(at, number, stamp) for number, (at, _, stamp) in enumerate(packets)]
    buffer = JitterBuffer()
    sent = {number: stamp / 8000 for number, (_, _, stamp) in enumerate(packets)}
    heard = Network(buffer, numbered, sent_at=sent).run(14.0)
    assert heard.numbers[-40:] == list(range(10, 50))
    assert buffer.statistics().left_out <= 1
    assert heard.delays[15] > 0.15
    assert max(heard.delays[-28:]) < 0.06


def test_after_a_stall_of_the_path_the_delay_is_soon_bounded() -> None:
    """Most of a second of packets at once: what is over the greatest depth is left out at once."""
    packets = on_time(range(300))
    packets[50:90] = [(1.8, n, n * FRAME) for n in range(50, 90)]
    heard, _ = play(packets, 7.0)
    after = [delay for n, delay in zip(heard.numbers, heard.delays, strict=True) if n >= 91]
    assert max(after) < 0.25
    assert heard.numbers == sorted(heard.numbers)


def test_a_sender_may_number_anew() -> None:
    packets = on_time(range(20))
    packets += [(0.4 + n * TICK, 30_000 + n, (20 + n) * FRAME) for n in range(20)]
    heard, counted = play(packets, 1.5)
    # One packet may be astray; the second one proves it. What still waits by then is left out.
    assert heard.numbers == [*range(19), *range(30_001, 30_020)]
    assert (counted.restarts, counted.left_out) == (1, 2)


def test_a_packet_astray_changes_nothing() -> None:
    packets = [*on_time(range(50)), (0.5, 40_000, 7)]
    heard, counted = play(packets, 1.5)
    assert heard.numbers == list(range(50))
    assert (counted.restarts, counted.left_out) == (0, 1)


@pytest.mark.parametrize("jump", [10_000_000, -10_000_000, 1 << 30])
def test_a_sender_may_set_its_clock(jump: int) -> None:
    packets = on_time(range(20))
    packets += [(at, n, stamp + jump) for at, n, stamp in on_time(range(20, 200))]
    heard, counted = play(packets, 5.0)
    assert heard.numbers[-150:] == list(range(50, 200))
    assert counted.lost <= 3
    assert counted.depth < 0.05
    assert max(heard.delays[-150:]) < 0.06


def test_one_wild_timestamp_does_not_stop_the_stream() -> None:
    packets = [packet for packet in on_time(range(100)) if packet[1] != 21]
    packets[20] = (packets[20][0], 20, 20 * FRAME + 1_000_000)
    heard, counted = play(packets, 3.0)
    assert heard.numbers[-70:] == list(range(30, 100))
    assert counted.lost <= 3


def test_another_source_is_a_fresh_start() -> None:
    buffer = JitterBuffer()
    Network(buffer, on_time(range(20))).run(0.3)
    waiting = len(buffer)
    buffer.reset()
    assert (len(buffer), buffer.get(0.4)) == (0, Gap.NOTHING_DUE)
    for n in range(5):
        buffer.add(500 + n, 77, b"%d" % n, 0.5)
    assert buffer.statistics().left_out == waiting
    assert buffer.statistics().restarts == 0


def test_events_are_passed_over() -> None:
    buffer = JitterBuffer()
    buffer.pass_over(7)
    for n in range(10):
        if n in (4, 5):
            buffer.pass_over(n)
            buffer.pass_over(n)
        else:
            buffer.add(n, n * FRAME, b"%d" % n, n * TICK)
    buffer.pass_over(40_000)
    heard = [buffer.get(n * TICK + 0.021) for n in range(10)]
    assert [int(one) for one in heard if isinstance(one, bytes)] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert buffer.statistics().lost == 0
    assert len(buffer) == 0


def test_a_packet_lost_among_events_is_lost() -> None:
    buffer = JitterBuffer()
    for n in (0, 1):
        buffer.add(n, n * FRAME, b"%d" % n, n * TICK)
    for n in (3, 4):
        buffer.pass_over(n)
    heard = [buffer.get(0.021 + n * TICK) for n in range(5)]
    assert heard == [b"0", b"1", Gap.LOST, Gap.NOTHING_DUE, Gap.NOTHING_DUE]


def test_a_player_that_stalls_leaves_out_what_is_overdue() -> None:
    buffer = JitterBuffer()
    for n in range(30):
        buffer.add(n, n * FRAME, b"%d" % n, n * TICK)
        if n < 10:
            buffer.get(n * TICK + 0.021)
    assert buffer.get(30 * TICK) == b"28"
    assert buffer.statistics().left_out == 18


def test_a_buffer_that_nobody_empties_is_bounded() -> None:
    buffer = JitterBuffer()
    for n in range(1000):
        buffer.add(n, n * FRAME, b"x", n * TICK)
        assert len(buffer) <= CAPACITY


# -- simulations -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_jitter_within_the_depth_costs_only_the_first_seconds(seed: int) -> None:
    chance = random.Random(seed)
    packets = [(n * TICK + chance.uniform(0, 0.06), n, n * FRAME) for n in range(1500)]
    heard, counted = play(packets, 31.0)
    steady = heard.frames[250:-60]
    assert steady.count(Gap.LOST) == 0
    assert steady.count(Gap.NOTHING_DUE) <= 2
    assert heard.numbers == sorted(heard.numbers)
    assert 0.05 < counted.depth < 0.09
    assert 0.01 < counted.jitter < 0.03


@pytest.mark.parametrize("parts_per_million", [-300, -100, 100, 300])
def test_a_clock_that_drifts_is_followed(parts_per_million: int) -> None:
    """Ten minutes at 300 ppm are 180 ms: nine packets too much or too few."""
    pace = TICK * (1 + parts_per_million / 1e6)
    chance = random.Random(1)
    packets = [(n * pace + chance.uniform(0, 0.01), n, n * FRAME) for n in range(30_000)]
    buffer = JitterBuffer()
    sent = {n: n * pace for n in range(30_000)}
    heard = Network(buffer, packets, sent_at=sent).run(600 - 1)
    counted = buffer.statistics()
    assert max(heard.delays) < 0.09
    expected = 9 if abs(parts_per_million) == 300 else 3
    if parts_per_million > 0:
        assert abs(heard.count(Gap.NOTHING_DUE) - expected) <= 4
        assert counted.left_out <= 1
    else:
        assert abs(counted.left_out - expected) <= 4
    assert counted.late == 0
    assert counted.lost == 0


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
def test_loss_costs_what_was_lost(share: float) -> None:
    chance = random.Random(2)
    packets = [
        (n * TICK + chance.uniform(0, 0.03), n, n * FRAME)
        for n in range(3000)
        if chance.random() > share or n == 2999
    ]
    heard, counted = play(packets, 61.0)
    assert counted.lost + len(packets) == 3000
    assert len(heard.numbers) >= len(packets) - 3


Packet = tuple[int, int, float, bool]
PACKETS = st.lists(
    st.tuples(
        st.integers(0, 0xFFFF) | st.integers(0, 130),
        st.integers(0, 0xFFFFFFFF) | st.integers(0, 20_000),
        st.floats(0, 0.1),
        st.booleans(),
    ),
    max_size=80,
)


@QUICK
@given(PACKETS)
def test_whatever_comes_the_buffer_recovers(packets: list[Packet]) -> None:
    """Every packet is counted once, and after any rubbish a good stream is heard again."""
    buffer = JitterBuffer()
    now = 0.0
    for sequence, timestamp, later, is_audio in packets:
        now += later
        if is_audio:
            buffer.add(sequence, timestamp, b"rubbish", now)
        else:
            buffer.pass_over(sequence)
        buffer.get(now)
        assert 0 <= len(buffer) <= CAPACITY
    heard = []
    for n in range(200):
        now += TICK
        buffer.add(20_000 + n, 5_000_000 + n * FRAME, b"%d" % n, now)
        heard.append(buffer.get(now))
    good = [int(one) for one in heard if isinstance(one, bytes) and one != b"rubbish"]
    assert good[-50:] == list(range(good[-1] - 49, good[-1] + 1))
    assert good[-1] >= 185
    counted = buffer.statistics()
    settled = counted.played + counted.late + counted.duplicates + counted.left_out
    assert settled + len(buffer) >= counted.received
