"""Incoming calls: from the channel in Stasis to the end of the flow."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from call_manager.domain.call import index
from call_manager.domain.ports import AdmitIncoming, PrepareAudio, PrepareSpeech
from evercall.actor.model import Answered, Ask, TimerFired
from evercall.contracts.base import AddressType
from evercall.contracts.call import CallFlowStopped, CallStatus, HangupBy, HangupReason
from evercall.contracts.flow import ActiveflowReferenceEnded, ActiveflowStart, RunAction
from evercall.contracts.ids import affinity, derived_id
from evercall.service.errors import Conflict, NotFound
from tests.unit.call_manager.stage import (
    ANSWER,
    AWAY,
    BYE_BUSY,
    CALL_ID,
    CUSTOMER,
    FLOW,
    HANGUP,
    NO_ROUTE,
    PLAY,
    PROMPT,
    ROUTE,
    SECOND,
    SLEEP,
    START,
    TALK,
    Stage,
    action,
    gone,
    hangup,
    incoming,
    played,
    receive_digits,
    started,
    up,
)


def test_a_plain_call_answers_plays_and_hangs_up() -> None:
    stage = Stage()
    stage.hear(started())
    assert stage.status() is CallStatus.RINGING
    assert stage.event_names == ["created"]
    [route, start] = stage.asks
    assert route.body == AdmitIncoming(call_id=CALL_ID, number="+15550100")
    assert isinstance(start.body, ActiveflowStart)
    assert start.service == "flow_manager"
    assert start.actor == start.body.id == derived_id(CALL_ID, "activeflow")
    assert affinity(start.actor) == affinity(CALL_ID)
    assert (start.body.customer_id, start.body.flow_id) == (CUSTOMER, FLOW)
    assert start.body.reference_id == CALL_ID

    stage.give_run(ANSWER, PLAY)
    # One message carries both: nothing has to happen in between.
    assert stage.take_commands() == [
        "POST channels/<channel>/answer",
        "POST channels/<channel>/play/<call>.1-1?media=sound:http://audio/abc.ulaw",
    ]

    stage.hear(up())
    assert stage.status() is CallStatus.PROGRESSING
    assert stage.call.tm_progressing == START
    stage.hear(played("1-1"))
    assert stage.status() is CallStatus.TERMINATING
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=16"]

    stage.hear(gone())
    stage.assert_over()
    assert (stage.call.hangup_by, stage.call.hangup_reason) == (
        HangupBy.LOCAL,
        HangupReason.NORMAL,
    )
    assert stage.event_names == ["created", "progressing", "hangup"]
    assert [tell.body for tell in stage.tells] == [
        ActiveflowReferenceEnded(activeflow_id=start.actor, sequence=1, executed=2)
    ]
    # StasisStart, the route, the run, the audio, Up, PlaybackFinished, ChannelDestroyed: what was asked
    # of ports is answered within the batch that asked, so five messages and five transactions at most.
    assert stage.decisions == 7


def test_the_flow_knows_who_called_whom() -> None:
    stage = Stage()
    stage.hear(started())
    request = stage.asks[-1].body
    assert isinstance(request, ActiveflowStart)
    assert request.variables["voipbin.call.id"] == str(CALL_ID)
    assert request.variables["voipbin.call.direction"] == "incoming"
    assert request.variables["voipbin.call.source.type"] == "tel"
    assert request.variables["voipbin.call.source.target"] == "+15550199"
    assert request.variables["voipbin.call.source.target_name"] == "Alice"
    assert request.variables["voipbin.call.destination.target"] == "+15550100"


def test_a_caller_without_a_number_is_a_sip_address() -> None:
    stage = Stage()
    stage.hear(replace(started(), caller_number="alice"))
    assert stage.call.source.type is AddressType.SIP
    assert stage.call.source.target == "sip:alice@192.0.2.7"


@pytest.mark.parametrize("destination", ["15550100", "+15550100"])
def test_a_number_counts_with_and_without_plus(destination: str) -> None:
    stage = Stage()
    stage.hear(started(destination))
    assert stage.call.destination.target == "+15550100"


@pytest.mark.parametrize("destination", ["", "alice", "+1", "0" * 16, "5550100#", "٣٤٥٦٧٨٩"])
def test_what_is_no_number_is_not_found(destination: str) -> None:
    stage = Stage()
    stage.hear(started(destination))
    assert stage.state is None
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=1"]


def test_a_number_without_a_route_is_not_found_and_nobody_sees_a_call() -> None:
    stage = Stage(routes=NO_ROUTE)
    stage.hear(started())
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=1"]
    assert stage.event_names == []
    assert index(stage.call).hidden
    stage.assert_over()


def test_a_route_that_cannot_be_looked_up_is_a_503() -> None:
    stage = Stage(routes=AWAY)
    stage.hear(started())
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=34"]
    stage.assert_over()


def test_a_slow_route_is_waited_for() -> None:
    stage = Stage(routes=None)
    stage.hear(started())
    assert index(stage.call).hidden
    assert index(stage.call).live
    stage.answer("route", ROUTE)
    assert not index(stage.call).hidden
    assert index(stage.call).customer_id == CUSTOMER
    assert stage.event_names == ["created"]


def test_a_caller_who_gives_up_before_the_route_is_known_leaves_nothing() -> None:
    stage = Stage(routes=None)
    stage.hear(started(), gone())
    assert stage.event_names == []
    stage.assert_over()
    stage.hear(hangup())
    assert isinstance(stage.replies[-1], NotFound)


def test_a_caller_who_gives_up_while_it_rings() -> None:
    stage = Stage()
    stage.hear(started(), gone())
    stage.assert_over()
    assert (stage.call.hangup_by, stage.call.hangup_reason) == (
        HangupBy.REMOTE,
        HangupReason.NORMAL,
    )
    assert stage.tells[0].body == ActiveflowReferenceEnded(
        activeflow_id=derived_id(CALL_ID, "activeflow"), sequence=0, executed=0
    )


def test_the_caller_hangs_up_during_a_prompt() -> None:
    stage = incoming(ANSWER, PLAY, SLEEP)
    stage.hear(up())
    stage.take_commands()
    # Asterisk reports the broken playback first. It must not be taken for its end.
    stage.hear(played("1-1", failed=True))
    stage.wait(timedelta(milliseconds=100))
    stage.hear(gone())
    stage.assert_over()
    assert stage.take_commands() == []
    assert stage.call.hangup_by is HangupBy.REMOTE


def test_a_prompt_that_breaks_off_while_the_caller_stays_does_not_stop_the_flow() -> None:
    stage = incoming(ANSWER, PLAY, HANGUP)
    stage.hear(up(), played("1-1", failed=True))
    stage.wait(SECOND)
    assert stage.status() is CallStatus.TERMINATING


def test_an_unanswered_call_can_be_refused_as_busy() -> None:
    stage = incoming(BYE_BUSY)
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=17"]
    stage.hear(gone(17))
    assert stage.call.hangup_reason is HangupReason.BUSY
    assert stage.call.hangup_by is HangupBy.LOCAL
    assert stage.call.tm_progressing is None
    stage.assert_over()


def test_a_sleep_before_the_answer_lets_the_caller_hear_ringing() -> None:
    stage = incoming(SLEEP, ANSWER)
    assert stage.take_commands() == ["POST channels/<channel>/ring"]
    stage.wait(3 * SECOND)
    assert stage.take_commands() == ["POST channels/<channel>/answer"]


def test_a_prompt_before_the_answer_is_early_media() -> None:
    stage = incoming(PLAY, ANSWER)
    assert len(stage.take_commands()) == 1
    assert stage.status() is CallStatus.RINGING
    stage.hear(played("1-0"))
    assert stage.take_commands() == ["POST channels/<channel>/answer"]


def test_a_flow_that_only_answers_waits_for_the_answer_before_it_hangs_up() -> None:
    stage = incoming(ANSWER)
    assert stage.take_commands() == ["POST channels/<channel>/answer"]
    stage.hear(up())
    assert stage.event_names == ["created", "progressing"]
    assert stage.status() is CallStatus.TERMINATING


@pytest.mark.parametrize("last", [HANGUP, action("hangup", reason="nonsense")])
def test_a_hangup_right_after_the_answer_waits_too(last: RunAction) -> None:
    stage = incoming(ANSWER, last)
    assert len(stage.take_commands()) == 1
    stage.hear(up())
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=16"]


def test_an_empty_final_run_hangs_up() -> None:
    assert incoming().status() is CallStatus.TERMINATING


def test_prompts_are_prepared_ahead() -> None:
    stage = incoming(ANSWER, PLAY, TALK, audio=None)
    asked = [ask.body for ask in stage.asks if ask.service == "audio"]
    assert asked == [
        PrepareAudio(customer_id=CUSTOMER, urls=["http://192.0.2.80/a.wav"]),
        PrepareSpeech(customer_id=CUSTOMER, text="hello", language="en-US"),
    ]
    stage.answer("audio.1-2", PROMPT)
    assert stage.take_commands() == ["POST channels/<channel>/answer"]
    stage.answer("audio.1-1", PROMPT)
    assert len(stage.take_commands()) == 1
    stage.hear(up(), played("1-1"))
    assert "1-2" in stage.take_commands()[0]


def test_a_prompt_that_cannot_be_had_is_skipped() -> None:
    stage = incoming(ANSWER, PLAY, SLEEP, audio=NotFound("audio_unavailable", "no"))
    assert stage.take_commands() == ["POST channels/<channel>/answer"]
    assert stage.call.work is not None
    assert stage.call.work.position == 2


def test_a_prompt_whose_end_is_never_reported_ends_by_its_length() -> None:
    stage = incoming(ANSWER, PLAY, SLEEP)
    stage.hear(up())
    stage.wait(6 * SECOND)
    assert stage.call.work is not None
    assert stage.call.work.position == 1
    stage.take_commands()
    stage.wait(2 * SECOND)
    assert stage.call.work.position == 2
    # Should Asterisk only begin with it now, it must not.
    assert stage.take_commands() == ["DELETE playbacks/<call>.1-1"]


def test_an_unknown_action_is_skipped() -> None:
    stage = incoming(action("dance"), ANSWER)
    assert stage.take_commands() == ["POST channels/<channel>/answer"]


def test_a_run_that_is_not_final_asks_for_the_next() -> None:
    stage = incoming(ANSWER, final=False)
    ask = stage.asks[-1]
    assert isinstance(ask, Ask)
    assert ask.key == "run.2"
    stage.hear(up())
    stage.give_run(SLEEP, sequence=2)
    stage.wait(3 * SECOND)
    assert stage.status() is CallStatus.TERMINATING
    stage.hear(gone())
    assert stage.tells[0].body == ActiveflowReferenceEnded(
        activeflow_id=derived_id(CALL_ID, "activeflow"), sequence=2, executed=1
    )


def test_a_run_is_taken_once() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.take_commands()
    again = stage.call
    assert again.activeflow_id is not None
    stage.pending["run.1"] = stage.asks[-1]
    stage.give_run(ANSWER, SLEEP)
    assert stage.call == again
    assert stage.take_commands() == []


def test_flow_manager_being_away_is_waited_for() -> None:
    stage = Stage()
    stage.hear(started())
    for _ in range(3):
        stage.fail("run.1", AWAY)
        stage.wait(SECOND)
    assert [ask.key for ask in stage.asks].count("run.1") == 4
    stage.give_run(ANSWER, final=False)
    stage.fail("run.2", AWAY)
    stage.wait(SECOND)
    stage.give_run(SLEEP, sequence=2)
    assert stage.status() is CallStatus.RINGING


def test_a_flow_that_is_not_there_ends_the_call_as_failed() -> None:
    stage = Stage()
    stage.hear(started())
    stage.fail("run.1", NotFound("flow_not_found", "There is no such flow"))
    assert stage.status() is CallStatus.TERMINATING
    stage.hear(gone())
    assert stage.call.hangup_reason is HangupReason.FAILED


def test_a_flow_that_was_stopped_ends_the_call_normally() -> None:
    stage = incoming(ANSWER, final=False)
    stage.hear(up())
    stage.fail("run.2", Conflict("activeflow_already_stopped", "stopped"))
    stage.hear(gone())
    assert stage.call.hangup_reason is HangupReason.NORMAL


def test_a_flow_that_is_stopped_from_outside_ends_the_call() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up())
    own = derived_id(CALL_ID, "activeflow")
    stage.hear(CallFlowStopped(id=CALL_ID, activeflow_id=FLOW))
    assert stage.status() is CallStatus.PROGRESSING
    stage.hear(CallFlowStopped(id=CALL_ID, activeflow_id=own))
    assert stage.status() is CallStatus.TERMINATING
    stage.hear(gone())
    stage.assert_over()


def test_the_longest_duration_ends_a_call() -> None:
    stage = incoming(ANSWER, receive_digits(duration=10_000_000))
    stage.hear(up())
    stage.wait(timedelta(hours=1))
    assert stage.status() is CallStatus.TERMINATING
    stage.hear(gone(16))
    assert stage.call.hangup_reason is HangupReason.TIMEOUT


def test_signs_of_life_after_the_end_are_hung_up() -> None:
    stage = incoming(ANSWER)
    stage.hear(gone())
    stage.take_commands()
    before = stage.call
    stage.hear(up(), started())
    assert stage.take_commands() == ["DELETE channels/<channel>?reason_code=16"] * 2
    assert stage.call == before
    stage.assert_over()


def test_a_sleep_of_no_time_is_over_at_once() -> None:
    stage = incoming(action("sleep", duration=0), ANSWER)
    assert stage.take_commands() == ["POST channels/<channel>/answer"]


def test_what_comes_too_late_changes_nothing() -> None:
    stage = incoming(ANSWER, PLAY, final=False, audio=None)
    stage.answer("audio.1-1", PROMPT)
    stage.hear(up(), played("1-1"))
    stage.give_run(SLEEP, sequence=2)
    before, asked = stage.call, len(stage.asks)
    stage.take_commands()
    stage.hear(
        Answered(key="audio.1-1", body=PROMPT),
        TimerFired(name="ask"),
        played("2-0"),
        started(),
    )
    assert stage.call.work is not None
    assert before.work is not None
    assert stage.call.work.position == before.work.position
    assert (len(stage.asks), stage.take_commands()) == (asked, [])
