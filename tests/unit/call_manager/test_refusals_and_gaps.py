"""What Asterisk refuses, what was missed while nobody listened, and what happens twice."""

from collections.abc import Iterable

import pytest

from call_manager.domain.outgoing import MOST_TRIED
from call_manager.domain.ports import FARM, ChooseAsterisk, ChosenAsterisk
from evercall.contracts.base import Message
from evercall.contracts.call import CallStatus, HangupBy, HangupReason
from tests.unit.call_manager.stage import (
    ANSWER,
    ASTERISK,
    AWAY,
    CALL_ID,
    PLAY,
    SECOND,
    SLEEP,
    START,
    Stage,
    answered_outgoing,
    create,
    digits,
    gone,
    hangup,
    incoming,
    lost,
    played,
    receive_digits,
    refused,
    ringing,
    seen,
    started,
    up,
)

OUT = f"{CALL_ID}.1"


@pytest.mark.parametrize("key", ["answer", "play.1-1"])
def test_a_channel_that_is_not_found_has_hung_up(key: str) -> None:
    stage = incoming(ANSWER, PLAY)
    stage.hear(refused(key, 404))
    stage.assert_over()
    assert stage.call.hangup_by is HangupBy.REMOTE
    # The event that should have told so may still come.
    before = stage.call
    stage.hear(gone())
    assert stage.call == before


def test_hanging_up_what_is_gone_already_is_the_end() -> None:
    stage = incoming(ANSWER, PLAY)
    stage.hear(up(), hangup(), refused("hangup", 404))
    stage.assert_over()
    assert stage.call.hangup_by is HangupBy.LOCAL


def test_a_call_that_cannot_be_answered_fails() -> None:
    stage = incoming(ANSWER, PLAY)
    stage.hear(refused("answer", 500))
    assert stage.status() is CallStatus.TERMINATING
    stage.hear(gone())
    assert stage.call.hangup_reason is HangupReason.FAILED


def test_a_prompt_that_asterisk_refuses_is_skipped() -> None:
    stage = incoming(ANSWER, PLAY, SLEEP)
    stage.hear(up(), refused("play.1-1", 500))
    assert stage.call.work is not None
    assert stage.call.work.position == 2
    stage.hear(refused("play.1-1", 500))
    assert stage.call.work.position == 2


@pytest.mark.parametrize("key", ["answer", "play.1-1", "hangup", "stop.1-1"])
@pytest.mark.parametrize(
    "reason", ["expired", "asterisk_not_connected", "connection_lost", "no_answer"]
)
def test_no_answer_from_asterisk_proves_nothing(key: str, reason: str) -> None:
    stage = incoming(ANSWER, PLAY)
    before = stage.call
    stage.hear(refused(key, 0, reason))
    assert stage.call == before
    assert "answer" in stage.pending


@pytest.mark.parametrize("key", ["stop.1-1", "ring", "stray", "hangup"])
def test_what_came_too_late_is_not_missed(key: str) -> None:
    stage = incoming(ANSWER, PLAY)
    before = stage.call
    stage.hear(refused(key, 409))
    assert stage.call == before


@pytest.mark.parametrize(
    ("status", "expected"),
    [(0, CallStatus.DIALING), (409, CallStatus.DIALING), (400, CallStatus.HANGUP)],
)
def test_a_refused_dial(status: int, expected: CallStatus) -> None:
    stage = Stage()
    stage.hear(create(), refused("create", status))
    assert stage.status() is expected
    if expected is CallStatus.HANGUP:
        stage.assert_over()
        assert stage.call.hangup_reason is HangupReason.FAILED


def test_a_dial_for_a_life_of_asterisk_that_is_over_goes_to_another() -> None:
    stage = Stage()
    stage.hear(create())
    stage.ports[FARM] = ChosenAsterisk(asterisk_id="call-2", boot_id="boot-5")
    stage.hear(refused("create", 0, "wrong_boot"))
    assert stage.status() is CallStatus.DIALING
    assert stage.asks[-1].body == ChooseAsterisk(call_id=CALL_ID, tried=[ASTERISK])
    assert stage.told[-1] == ("call-2", "boot-5")
    assert stage.commands[-1].uri == f"channels/{CALL_ID}.2"
    stage.hear(ringing(2))
    assert stage.status() is CallStatus.RINGING


def test_a_dial_that_asterisk_did_not_hear_goes_to_another_and_leaves_nothing_behind() -> None:
    stage = Stage()
    stage.hear(create())
    stage.take_commands()
    stage.hear(refused("create", 0, "asterisk_not_connected"))
    assert [line.partition("?")[0] for line in stage.take_commands()] == [
        "DELETE channels/<call>.1",
        "POST channels/<call>.2",
    ]
    assert list(stage.pending) == ["create"]


def test_a_dial_is_not_tried_for_ever() -> None:
    stage = Stage()
    stage.hear(create())
    for _ in range(MOST_TRIED):
        assert stage.status() is CallStatus.DIALING
        stage.hear(refused("create", 0, "wrong_boot"))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.FAILED


def test_a_dial_that_finds_no_other_asterisk_fails() -> None:
    stage = Stage()
    stage.hear(create())
    stage.ports[FARM] = AWAY
    stage.hear(refused("create", 0, "asterisk_not_connected"))
    stage.assert_over()
    assert (stage.call.hangup_by, stage.call.hangup_reason) == (
        HangupBy.LOCAL,
        HangupReason.FAILED,
    )


def test_what_a_former_asterisk_refuses_is_not_about_this_one() -> None:
    stage = Stage()
    stage.hear(create(), refused("create", 0, "wrong_boot"))
    before = stage.call
    for key in ("create", "hangup", "look"):
        for status in (404, 500):
            stage.hear(refused(key, status, boot_id="boot-9"))
            stage.hear(refused(key, status, asterisk_id="call-2"))
    assert stage.call == before


def test_a_channel_of_a_former_try_is_hung_up() -> None:
    stage = Stage()
    stage.hear(create(), refused("create", 0, "asterisk_not_connected"))
    stage.take_commands()
    stage.hear(started(context="call-out", channel_id=OUT, boot_id="boot-7"))
    assert stage.status() is CallStatus.DIALING
    assert stage.take_commands() == ["DELETE channels/<call>.1?reason_code=16"]
    assert stage.told[-1] == ("call-1", "boot-7")


def test_a_hangup_while_another_asterisk_is_looked_for() -> None:
    stage = Stage()
    stage.hear(create())
    stage.ports[FARM] = None
    stage.hear(refused("create", 0, "wrong_boot"), ringing(), hangup())
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.CANCEL


@pytest.mark.parametrize("key", ["play.1-1", "hangup", "look"])
def test_a_call_whose_asterisk_lives_another_life_is_lost(key: str) -> None:
    stage = incoming(ANSWER, PLAY)
    stage.hear(up(), refused(key, 0, "wrong_boot"))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.LOST


def test_a_dial_that_was_given_up_before_it_was_heard_is_over() -> None:
    stage = Stage()
    stage.hear(create(), hangup(), refused("hangup", 0, "wrong_boot"))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.CANCEL


def test_the_life_in_which_a_channel_is_ours_is_the_one_that_counts() -> None:
    stage = Stage()
    stage.hear(create(), started(context="call-out", channel_id=OUT, boot_id="boot-2"))
    assert stage.status() is CallStatus.PROGRESSING
    stage.hear(seen("boot-2", out="Up"))
    assert stage.status() is CallStatus.PROGRESSING
    stage.hear(hangup())
    assert stage.told[-1] == ("call-1", "boot-2")


def test_a_dial_that_is_refused_after_it_was_given_up() -> None:
    stage = Stage()
    stage.hear(create(), hangup(), refused("create", 500))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.CANCEL


# -- an Asterisk that is lost --------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_the_calls_of_a_lost_asterisk_are_lost_once(number: int) -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up())
    stage.take_commands()
    stage.hear(*[lost()] * number)
    stage.assert_over()
    assert (stage.call.hangup_by, stage.call.hangup_reason) == (
        HangupBy.LOCAL,
        HangupReason.LOST,
    )
    assert stage.event_names.count("hangup") == 1
    # Should it live all the same.
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=16"]


def test_a_call_that_was_hung_up_already_keeps_its_reason() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up(), hangup(), lost())
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.NORMAL


def test_a_dial_that_a_lost_asterisk_never_confirmed_goes_to_another() -> None:
    stage = Stage()
    stage.hear(create())
    stage.ports[FARM] = ChosenAsterisk(asterisk_id="call-2", boot_id="boot-5")
    stage.hear(lost())
    assert stage.status() is CallStatus.DIALING
    assert stage.told[-1] == ("call-2", "boot-5")
    stage.hear(lost())
    assert stage.status() is CallStatus.DIALING


def test_a_dial_that_was_given_up_is_over_with_its_asterisk() -> None:
    stage = Stage()
    stage.hear(create(), hangup(), lost())
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.CANCEL


def test_a_verdict_over_another_life_or_another_moment_is_not_heard() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up())
    before = stage.call
    stage.hear(lost("boot-0"), lost("boot-2"), lost(at=START - 11 * SECOND))
    assert stage.call == before


# -- after a gap ---------------------------------------------------------------------------------


def test_a_channel_that_is_missing_is_looked_for() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up())
    stage.take_commands()
    stage.hear(seen())
    # The snapshot may be older than the channel.
    assert stage.status() is CallStatus.PROGRESSING
    assert stage.take_commands() == ["GET channels/<channel>"]
    stage.hear(refused("look", 404))
    stage.assert_over()
    assert (stage.call.hangup_by, stage.call.hangup_reason) == (
        HangupBy.REMOTE,
        HangupReason.NORMAL,
    )


def test_another_boot_is_a_crash() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up(), seen("boot-2"))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.LOST


def test_a_call_that_is_all_there_goes_on() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up())
    stage.take_commands()
    before = stage.call
    stage.hear(seen(own="Up"))
    assert stage.call == before
    assert stage.take_commands() == []


def test_an_answer_that_was_missed() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(seen(own="Up"))
    assert stage.status() is CallStatus.PROGRESSING
    assert stage.event_names[-1] == "progressing"
    assert "answer" not in stage.pending


def test_an_answer_that_was_never_given_is_given_again() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.take_commands()
    stage.hear(seen(own="Ring"))
    assert stage.take_commands() == ["POST channels/<channel>/answer"]


def test_a_hangup_that_was_never_carried_out_is_repeated() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up(), hangup())
    stage.take_commands()
    stage.hear(seen(own="Up"))
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=16"]


@pytest.mark.parametrize("asterisk_id", ["call-1", "call-2"])
def test_a_channel_of_a_former_try_that_is_seen_is_hung_up(asterisk_id: str) -> None:
    stage = Stage()
    stage.hear(create())
    stage.ports[FARM] = ChosenAsterisk(asterisk_id=asterisk_id, boot_id="boot-1")
    stage.hear(refused("create", 0, "asterisk_not_connected"), ringing(2))
    stage.take_commands()
    stage.hear(seen(out="Up"))
    assert stage.status() is CallStatus.RINGING
    told = stage.take_commands()
    assert told[0] == "DELETE channels/<call>.1?reason_code=16"
    assert stage.told[-len(told)] == ("call-1", "boot-1")
    # In the list of its own Asterisk the call misses its own channel.
    assert told[1:] == (["GET channels/<call>.2"] if asterisk_id == "call-1" else [])


def test_a_channel_of_a_try_whose_successor_is_not_chosen_yet_is_hung_up() -> None:
    stage = Stage()
    stage.hear(create())
    stage.ports[FARM] = None
    stage.hear(refused("create", 0, "asterisk_not_connected"))
    stage.take_commands()
    stage.hear(seen(out="Ringing"))
    assert stage.take_commands() == ["DELETE channels/<call>.1?reason_code=16"]


def test_a_channel_that_a_repeated_dial_found_counts_as_seen() -> None:
    stage = Stage()
    stage.hear(create(), refused("create", 409))
    assert "create" not in stage.pending
    stage.hear(seen("boot-2"))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.LOST


def test_a_dial_that_was_given_up_and_never_made_is_over_when_asterisk_knows_no_channel() -> None:
    stage = Stage()
    stage.hear(create(), hangup())
    stage.take_commands()
    stage.hear(seen())
    assert stage.take_commands() == ["GET channels/<call>.1"]
    stage.hear(refused("look", 404))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.CANCEL


def test_ringing_and_answer_of_an_outgoing_call_that_were_missed() -> None:
    stage = Stage()
    stage.hear(create(), seen(out="Ringing"))
    assert stage.status() is CallStatus.RINGING
    stage.hear(seen(out="Up"))
    assert stage.status() is CallStatus.PROGRESSING
    assert stage.asks[-1].key == "run.1"


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
def test_a_channel_that_nobody_has_seen_yet_is_not_judged(boot_id: str) -> None:
    stage = Stage()
    stage.hear(create())
    before = stage.call
    stage.hear(seen(boot_id))
    assert stage.call == before


def test_a_call_without_a_channel_yet_is_not_judged() -> None:
    stage = Stage(farm=None)
    stage.hear(create(), seen())
    assert stage.status() is CallStatus.DIALING


def test_a_channel_that_outlived_its_call_is_hung_up() -> None:
    stage = incoming(ANSWER)
    stage.hear(gone())
    stage.take_commands()
    stage.hear(seen(own="Up"))
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=16"]
    stage.assert_over()


def test_a_channel_of_no_call_is_hung_up_unless_it_is_young() -> None:
    stage = Stage()
    stage.hear(seen(own="Ring"))
    assert stage.take_commands() == []
    stage.wait(11 * SECOND)
    stage.hear(seen(own="Ring"))
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=16"]
    assert stage.state is None


def test_an_unrouted_call_is_not_judged() -> None:
    stage = Stage(routes=None)
    stage.hear(started(), seen())
    assert stage.status() is CallStatus.RINGING
    assert list(stage.pending) == ["route"]


# -- twice ---------------------------------------------------------------------------------------


def test_every_event_of_a_call_may_come_twice() -> None:
    once, twice = Stage(), Stage()
    steps: list[Iterable[Message]] = [
        [started()],
        [up()],
        [played("1-1")],
        digits("12#"),
        [gone()],
    ]
    for stage, repeat in ((once, 1), (twice, 2)):
        for number, messages in enumerate(steps):
            for _ in range(1 if number == 3 else repeat):
                stage.hear(*messages)
            if number == 0:
                stage.give_run(ANSWER, PLAY, receive_digits(4, "#"), SLEEP)
    assert twice.call == once.call
    assert twice.event_names == once.event_names
    assert len(twice.commands) == len(once.commands)
    assert len(twice.tells) == len(once.tells)


def test_every_event_of_an_outgoing_call_may_come_twice() -> None:
    once, twice = Stage(), Stage()
    for stage, repeat in ((once, 1), (twice, 2)):
        for message in (
            create(),
            ringing(),
            started(context="call-out", channel_id=OUT),
            gone(channel_id=OUT),
        ):
            for _ in range(repeat):
                stage.hear(message)
    assert twice.call == once.call
    assert twice.event_names == once.event_names
    assert len(twice.commands) == len(once.commands)


def test_what_is_sent_again_when_the_call_is_taken_over() -> None:
    stage = incoming(ANSWER, PLAY, receive_digits())
    assert list(stage.pending) == ["answer", "play.1-1"]
    stage.hear(up())
    assert list(stage.pending) == ["play.1-1"]
    stage.hear(*digits("1"))
    assert list(stage.pending) == ["hangup"]
    assert list(answered_outgoing(SLEEP).pending) == []
