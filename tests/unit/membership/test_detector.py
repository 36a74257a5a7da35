"""The judgement over members: lost only where there is no sign of life and we could have heard one."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from evercall.membership.detector import DEAFNESS, FORGOTTEN_AFTER, SUSPICION, Detector

AFTER = 10.0


class Hall:
    """A detector and its time. `wait` lets time pass in steps, with echoes unless it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.detector = Detector(AFTER)
        self.detector.echoed(self.now)

    def beat(self, life: str = "boot", *, alive: bool = True, member: str = "call-1") -> None:
        self.detector.heard(member, life, self.now, alive=alive)

    def wait(
        self, seconds: float, *, echo: bool = True, alive: bool | None = None, step: float = 0.5
    ) -> list[float]:
        """Returns after how many seconds somebody was lost."""
        start, lost = self.now, []
        while self.now < start + seconds:
            self.now += step
            if echo:
                self.detector.echoed(self.now)
            if alive is not None:
                self.beat(alive=alive)
            if self.detector.lost(self.now):
                lost.append(self.now - start)
        return lost

    def lost(self) -> list[tuple[str, str]]:
        return self.detector.lost(self.now)


def test_silence_is_suspicious_and_then_it_is_the_end() -> None:
    hall = Hall()
    hall.beat()
    assert hall.wait(SUSPICION - 0.5) == []
    assert hall.detector.suspects(hall.now) == []
    hall.wait(0.5)
    assert hall.detector.suspects(hall.now) == ["call-1"]
    lost = hall.wait(AFTER)
    assert lost[0] == AFTER - SUSPICION
    assert hall.lost() == [("call-1", "boot")]


def test_a_proxy_that_lost_its_asterisk_is_no_sign_of_life() -> None:
    hall = Hall()
    hall.beat()
    assert hall.wait(AFTER + 1, alive=False)[0] == AFTER


def test_heartbeats_keep_it_alive() -> None:
    hall = Hall()
    assert hall.wait(100, alive=True) == []
    assert hall.detector.suspects(hall.now) == []


def test_without_a_proxy_an_answer_keeps_it_alive() -> None:
    hall = Hall()
    hall.beat()
    for _ in range(20):
        assert hall.wait(AFTER - 1) == []
        hall.detector.answered("call-1", hall.now)
    hall.detector.answered("unknown", hall.now)


def test_who_does_not_hear_judges_nobody_and_begins_anew_when_he_hears() -> None:
    hall = Hall()
    hall.beat()
    assert hall.wait(100, echo=False) == []
    assert hall.detector.suspects(hall.now) == []
    assert hall.wait(AFTER) == []
    assert hall.wait(1.0)[0] <= 1.0


def test_short_deafness_changes_nothing() -> None:
    hall = Hall()
    hall.beat()
    hall.wait(5.0)
    hall.wait(DEAFNESS - 0.5, echo=False)
    assert hall.wait(5.0)[0] == AFTER - 5.0 - (DEAFNESS - 0.5)


def test_a_new_life_starts_from_nothing() -> None:
    hall = Hall()
    hall.beat()
    hall.wait(AFTER - 1)
    hall.beat("next")
    assert hall.wait(AFTER - 1) == []
    hall.wait(1.0)
    assert hall.lost() == [("call-1", "next")]


def test_a_lost_one_that_comes_back_is_not_lost() -> None:
    hall = Hall()
    hall.beat()
    hall.wait(AFTER)
    assert hall.lost() == [("call-1", "boot")]
    hall.beat()
    assert hall.lost() == []


def test_who_was_never_heard_alive_is_judged_from_the_first_word_on() -> None:
    hall = Hall()
    hall.beat("", alive=False)
    hall.wait(2 * AFTER)
    assert hall.lost() == []
    assert hall.wait(AFTER + 1, alive=False)[0] == AFTER + 0.5


def test_the_others_are_untouched() -> None:
    hall = Hall()
    hall.beat()
    for _ in range(30):
        hall.wait(0.5)
        hall.beat("other", member="call-2")
    assert hall.lost() == [("call-1", "boot")]


def test_it_is_forgotten_at_last() -> None:
    hall = Hall()
    hall.beat()
    hall.wait(AFTER + FORGOTTEN_AFTER - 1, step=1.0)
    assert hall.lost() == [("call-1", "boot")]
    hall.wait(2.0, step=1.0)
    assert hall.lost() == []
    assert hall.detector.suspects(hall.now) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alive", "away", "answer", "echo", "nothing"]),
            st.floats(min_value=0.0, max_value=4.0),
        ),
        max_size=60,
    )
)
def test_nobody_is_lost_who_gave_a_sign_or_whom_we_could_not_hear(
    steps: list[tuple[str, float]],
) -> None:
    detector, now = Detector(AFTER), 0.0
    signs: list[float] = []
    echoes: list[float] = []
    detector.heard("a", "boot", now, alive=True)
    signs.append(now)
    for what, pause in steps:
        now += pause
        match what:
            case "alive":
                detector.heard("a", "boot", now, alive=True)
                signs.append(now)
            case "away":
                detector.heard("a", "boot", now, alive=False)
            case "answer":
                detector.answered("a", now)
                signs.append(now)
            case "echo":
                detector.echoed(now)
                echoes.append(now)
        if detector.lost(now):
            assert now - signs[-1] >= AFTER
            heard = [at for at in echoes if at > now - AFTER] + [now]
            assert now - AFTER >= echoes[0]
            assert all(b - a <= DEAFNESS for a, b in itertools.pairwise(heard))
