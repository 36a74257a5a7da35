"""Commands that must be given only once."""

from uuid import UUID

import pytest

from asterisk_proxy.domain.repeats import Repeats, is_once
from evercall.ari import commands
from evercall.ari.protocol import command_id
from evercall.contracts.asterisk import AriCommand

A = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e2e8f7")
PLAY = commands.play(A, "play.1", "c", f"{A}.p1", ["sound:a"])


class FakeMemory:
    """Slots that outlive a `Repeats`."""

    def __init__(self, size: int = 8) -> None:
        self.slots = [0] * size
        self.count = 0

    def given(self) -> dict[int, int]:
        return {number: slot for slot, number in enumerate(self.slots) if number}

    def remember(self, number: int) -> int:
        slot = self.count % len(self.slots)
        self.count += 1
        self.slots[slot] = number
        return slot

    def forget(self, slot: int) -> None:
        self.slots[slot] = 0


def test_a_play_is_given_once_even_by_the_next_process() -> None:
    memory = FakeMemory()
    repeats = Repeats(memory)
    assert not repeats.is_repeated(PLAY)
    assert repeats.is_repeated(PLAY)
    assert Repeats(memory).is_repeated(PLAY)


def test_another_playback_is_another_play() -> None:
    repeats = Repeats(FakeMemory())
    assert not repeats.is_repeated(PLAY)
    assert not repeats.is_repeated(commands.play(A, "play.1", "c", f"{A}.p2", ["sound:a"]))
    assert not repeats.is_repeated(commands.play(A, "play.2", "c", f"{A}.p1", ["sound:a"]))


def test_a_refused_play_may_be_given_again() -> None:
    memory = FakeMemory()
    repeats = Repeats(memory)
    repeats.is_repeated(PLAY)
    repeats.refused(command_id(PLAY), PLAY.uri)
    repeats.refused(command_id(PLAY), PLAY.uri)
    assert memory.given() == {}
    assert not repeats.is_repeated(PLAY)
    assert repeats.is_repeated(PLAY)


def test_the_oldest_are_forgotten_first() -> None:
    repeats = Repeats(FakeMemory(3))
    plays = [commands.play(A, f"play.{n}", "c", f"{A}.p{n}", ["sound:a"]) for n in range(5)]
    assert not any(repeats.is_repeated(play) for play in plays)
    assert [repeats.is_repeated(play) for play in plays[2:]] == [True, True, True]
    assert not repeats.is_repeated(plays[0])


@pytest.mark.parametrize(
    ("command", "once"),
    [
        (PLAY, True),
        (commands.dial(A, "k", "c"), True),
        (commands.snoop(A, "k", "c", "s", app="a"), True),
        (commands.external_media(A, "k", "c", "h:1", app="a"), True),
        (commands.answer(A, "k", "c"), False),
        (commands.hangup(A, "k", "c"), False),
        (commands.originate(A, "k", "c", "e", app="a"), False),
        (commands.create(A, "k", "c", "e", app="a"), False),
        (commands.stop_playback(A, "k", "p"), False),
        (commands.send_dtmf(A, "k", "c", "1"), False),
        (commands.create_bridge(A, "k", "b"), False),
        (commands.set_variable(A, "k", "c", "dial", "play/1"), False),
        (commands.answer(A, "k", "dial"), False),
    ],
    ids=lambda value: getattr(value, "uri", str(value)),
)
def test_which_commands_those_are(command: AriCommand, once: bool) -> None:
    assert is_once(command.uri) == once
    repeats = Repeats(FakeMemory())
    assert not repeats.is_repeated(command)
    assert repeats.is_repeated(command) == once
