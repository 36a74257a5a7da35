"""What waits to be played: any pieces in, exact frames out."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from evercall.media.audio import TELEPHONE, AudioFormat, Coding
from evercall.media.playout import MOST_MARKS, Cleared, Frame, Playout, Pressure
from tests.unit.media.samples import QUICK

SILENCE = b"\xff" * 160


def playout(limit: int = 100_000, start_frames: int = 0) -> Playout:
    return Playout(TELEPHONE, limit, start_frames)


def taken(queue: Playout, count: int) -> list[bytes | None]:
    return [queue.take().data for _ in range(count)]


@QUICK
@given(st.lists(st.binary(max_size=700), max_size=12))
def test_frames_together_are_the_pieces_together(pieces: list[bytes]) -> None:
    queue = playout()
    for piece in pieces:
        assert queue.put(piece) == 0
    audio = b"".join(pieces)
    heard = b""
    while (frame := queue.take().data) is not None:
        assert len(frame) == 160
        heard += frame
    assert heard[: len(audio)] == audio
    assert set(heard[len(audio) :]) <= {0xFF}
    assert (queue.queued, queue.played) == (0, len(audio))


def test_a_whole_prompt_comes_out_frame_by_frame() -> None:
    queue = playout()
    prompt = bytes(range(160)) * 50
    queue.put(prompt)
    assert taken(queue, 51) == [*[bytes(range(160))] * 50, None]


def test_a_frame_may_end_within_a_piece() -> None:
    queue = playout()
    queue.put(b"a" * 100)
    queue.put(b"b" * 200)
    assert taken(queue, 2) == [b"a" * 100 + b"b" * 60, b"b" * 140 + SILENCE[:20]]


def test_the_last_frame_is_filled_with_the_formats_silence() -> None:
    queue = Playout(AudioFormat(Coding.LINEAR, 8000), 1000, 0)
    queue.put(b"\1\2")
    assert queue.take() == Frame(b"\1\2" + bytes(318))
    assert queue.played == 2


def test_nothing_is_nothing() -> None:
    queue = playout()
    assert queue.put(b"") == 0
    assert queue.take() == Frame(None)


# -- beginning ---------------------------------------------------------------------------------


def test_playing_begins_when_enough_waits() -> None:
    queue = playout(start_frames=2)
    queue.put(b"a" * 160)
    assert taken(queue, 1) == [None]
    queue.put(b"b" * 160)
    assert taken(queue, 3) == [b"a" * 160, b"b" * 160, None]


def test_less_is_played_when_it_has_waited_as_long() -> None:
    queue = playout(start_frames=2)
    queue.put(b"a" * 160)
    assert taken(queue, 4) == [None, None, b"a" * 160, None]


def test_a_sender_in_real_time_is_heard_without_a_gap_though_it_is_uneven() -> None:
    """Each frame comes up to 19 ms late: two in one tick, none in the next one."""
    queue = playout(start_frames=2)
    heard = []
    for tick in range(100):
        if tick % 2:
            queue.put(bytes((tick,)) * 160)
            queue.put(bytes((tick + 1,)) * 160)
        heard.append(queue.take().data)
    assert None not in heard[2:]


# -- the bound ---------------------------------------------------------------------------------


def test_what_does_not_fit_is_dropped_and_told() -> None:
    queue = playout(limit=400)
    assert queue.put(b"a" * 300) == 0
    assert queue.put(b"b" * 300) == 200
    assert queue.put(b"c") == 1
    assert (queue.queued, queue.overflowed) == (400, 201)
    assert taken(queue, 3) == [b"a" * 160, b"a" * 140 + b"b" * 20, b"b" * 80 + SILENCE[:80]]
    assert queue.put(b"d" * 160) == 0


def test_the_sender_is_told_once_to_pause_and_once_to_go_on() -> None:
    queue = playout(limit=1600)
    told = []
    for _ in range(9):
        queue.put(b"a" * 160)
        told.append(queue.pressure())
    for _ in range(9):
        queue.take()
        told.append(queue.pressure())
    assert told.index(Pressure.PAUSE) == 7
    assert told.index(Pressure.RESUME) == 15
    assert len([one for one in told if one is not None]) == 2


def test_single_bytes_take_no_more_room_than_they_are() -> None:
    queue = playout(limit=50_000)
    for _ in range(50_000):
        queue.put(b"a")
    assert sys.getsizeof(queue._waiting) < 60_000
    assert queue.take().data == b"a" * 160


# -- marks and clearing ------------------------------------------------------------------------


def test_a_mark_is_reached_when_all_before_it_was_played() -> None:
    queue = playout()
    queue.put(b"a" * 160)
    queue.mark("one")
    queue.put(b"b" * 200)
    queue.mark("two")
    queue.mark("three")
    marks = [queue.take().marks for _ in range(4)]
    assert marks == [("one",), (), ("two", "three"), ()]


def test_a_mark_within_a_frame_is_reached_with_that_frame() -> None:
    queue = playout()
    queue.put(b"a" * 100)
    queue.mark("middle")
    queue.put(b"b" * 60)
    assert queue.take() == Frame(b"a" * 100 + b"b" * 60, ("middle",))


def test_a_mark_on_an_empty_queue_is_reached_at_once() -> None:
    queue = playout()
    queue.mark("now")
    assert queue.take() == Frame(None, ("now",))


def test_a_mark_waits_with_the_audio_before_it() -> None:
    queue = playout(start_frames=2)
    queue.put(b"a" * 80)
    queue.mark("end")
    assert [queue.take().marks for _ in range(3)] == [(), (), ("end",)]


def test_marks_are_bounded() -> None:
    queue = playout()
    assert all(queue.mark(str(number)) for number in range(MOST_MARKS))
    assert not queue.mark("one too many")
    assert len(queue.take().marks) == MOST_MARKS


def test_clearing_says_what_was_played_and_what_was_not() -> None:
    queue = playout()
    queue.put(b"a" * 400)
    queue.mark("end")
    queue.take()
    assert queue.clear() == Cleared(played=160, dropped=240, marks=("end",))
    assert taken(queue, 1) == [None]
    queue.put(b"b" * 160)
    assert queue.take().data == b"b" * 160
    assert queue.clear() == Cleared(played=320, dropped=0, marks=())


class PlayoutMachine(RuleBasedStateMachine):
    """Against a model that is one long string of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Playout(TELEPHONE, 2000, 2)
        self.waiting = b""
        self.played = 0
        self.marks: list[tuple[int, str]] = []
        self.names = 0

    @rule(data=st.binary(max_size=900))
    def put(self, data: bytes) -> None:
        room = 2000 - len(self.waiting)
        assert self.queue.put(data) == max(0, len(data) - room)
        self.waiting += data[:room]

    @rule()
    def mark(self) -> None:
        self.names += 1
        self.queue.mark(str(self.names))
        self.marks.append((self.played + len(self.waiting), str(self.names)))

    @rule()
    def take(self) -> None:
        frame = self.queue.take()
        if frame.data is not None:
            expected, self.waiting = self.waiting[:160], self.waiting[160:]
            assert frame.data == expected.ljust(160, b"\xff")
            self.played += len(expected)
        reached = [name for at, name in self.marks if at <= self.played]
        assert frame.marks == tuple(reached)
        self.marks = [(at, name) for at, name in self.marks if at > self.played]

    @rule()
    def clear(self) -> None:
        names = tuple(name for _, name in self.marks)
        assert self.queue.clear() == Cleared(self.played, len(self.waiting), names)
        self.waiting, self.marks = b"", []

    @invariant()
    def counts_agree(self) -> None:
        assert (self.queue.queued, self.queue.played) == (len(self.waiting), self.played)


TestPlayoutMachine = pytest.mark.filterwarnings("error")(PlayoutMachine.TestCase)
TestPlayoutMachine.settings = QUICK
