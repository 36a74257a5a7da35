"""A call's streams: their legs come, move, go, and leave nothing behind."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from call_manager.domain.media import (
    LONGEST_START,
    RESUME_WINDOW,
    SNOOP_GRACE,
    is_media_channel,
)
from call_manager.domain.messages import CommandRefused, MediaLegGone, MediaLegUp
from call_manager.domain.turn import Rules
from evercall.contracts.call import CallStatus
from evercall.contracts.media import (
    ExternalMediaLeg,
    ExternalMediaOwnerGone,
    ExternalMediaStart,
    ExternalMediaStop,
    MediaAccepted,
    MediaConnect,
    MediaDirection,
    MediaStatus,
)
from evercall.service.errors import Conflict, Forbidden, NotFound, Unavailable
from tests.unit.call_manager.stage import (
    ANSWER,
    CALL_ID,
    CUSTOMER,
    PLAY,
    SECOND,
    SLEEP,
    Stage,
    action,
    digits,
    gone,
    hangup,
    incoming,
    played,
    refused,
    seen,
    up,
)

STREAM, OTHER = UUID(int=100), UUID(int=101)
BASE = f"{CALL_ID}.media.{STREAM}"
LONG = action("sleep", duration=600_000)
MILLISECOND = timedelta(milliseconds=1)


def start(stream: UUID = STREAM, **fields: Any) -> ExternalMediaStart:
    given: dict[str, Any] = {
        "id": stream,
        "call_id": CALL_ID,
        "customer_id": CUSTOMER,
        "owner": "m1",
        "boot": "b1",
        "host": "192.0.2.51:4000",
        **fields,
    }
    return ExternalMediaStart(**given)


def stop(stream: UUID = STREAM, owner: str = "m1", boot: str = "b1") -> ExternalMediaStop:
    return ExternalMediaStop(
        id=stream, call_id=CALL_ID, owner=owner, boot=boot, reason="application_closed"
    )


def leg(suffix: str, stream: UUID = STREAM, port: int = 0) -> MediaLegUp:
    return MediaLegUp(
        stream_id=stream,
        asterisk_id="call-1",
        boot_id="boot-1",
        channel_id=f"{CALL_ID}.media.{stream}.{suffix}",
        rtp_address="192.0.2.3" if port else "",
        rtp_port=port,
    )


def command_refused(name: str, status: int, number: int = 1) -> CommandRefused:
    key = f"media-{name}.{STREAM}.{number}"
    return refused(key, status)


def moved(**fields: Any) -> ExternalMediaStart:
    """Another process asks for the stream."""
    return start(owner="m2", boot="b9", host="192.0.2.52:4000", resume=True, **fields)


def leg_gone(suffix: str, stream: UUID = STREAM) -> MediaLegGone:
    return MediaLegGone(stream_id=stream, channel_id=f"{CALL_ID}.media.{stream}.{suffix}")


def progressing(*actions: Any) -> Stage:
    """A call that is up and idle."""
    stage = incoming(ANSWER, *(actions or (LONG,)))
    stage.hear(up())
    stage.take_commands()
    return stage


def running(stream: UUID = STREAM, stage: Stage | None = None, **fields: Any) -> Stage:
    """A call with a stream."""
    stage = stage or progressing()
    stage.hear(start(stream, **fields), leg("snoop", stream), leg("1", stream, port=7000))
    stage.take_commands()
    return stage


def told(stage: Stage) -> list[str]:
    """What Asterisk was told, in short."""
    return [
        command.replace(f"<call>.media.{STREAM}", "<stream>").partition("?")[0]
        for command in stage.take_commands()
    ]


def refusal(stage: Stage) -> Any:
    """The error of the last request."""
    return stage.replies[-1]


# -- beginnings ------------------------------------------------------------------------------------


def test_a_stream_is_a_snoop_a_bridge_and_an_external_channel() -> None:
    stage = progressing()
    stage.hear(start())
    assert told(stage) == [
        "POST channels/<channel>/silence",
        "POST channels/<channel>/snoop/<stream>.snoop",
        "POST bridges/<stream>",
        "POST channels/externalMedia",
    ]
    assert stage.replies == []


def test_each_channel_joins_when_it_is_there_and_both_make_the_leg() -> None:
    stage = progressing()
    stage.hear(start())
    stage.take_commands()
    stage.hear(leg("snoop"))
    assert told(stage) == ["POST bridges/<stream>/addChannel"]
    assert stage.late_replies == []
    stage.hear(leg("1", port=7000))
    assert told(stage) == ["POST bridges/<stream>/addChannel"]
    [answer] = stage.late_replies
    assert isinstance(answer, ExternalMediaLeg)
    assert (answer.rtp_address, answer.rtp_port, answer.previous_owner) == ("192.0.2.3", 7000, "")
    [(event, media)] = stage.media_events
    assert (event, media.status, media.reference_id) == ("started", MediaStatus.RUNNING, CALL_ID)
    assert "media" not in " ".join(stage.pending)
    assert f"media.{STREAM}" not in stage.timers


def test_the_channels_may_come_in_any_order() -> None:
    stage = progressing()
    stage.hear(start())
    stage.commands.clear()
    stage.hear(leg("1", port=7000), leg("snoop"))
    joined = [command.query["channel"] for command in stage.commands]
    assert joined == [f"{BASE}.1", f"{BASE}.snoop"]
    assert len(stage.late_replies) == 1


def test_directions_are_those_of_the_snoop() -> None:
    stage = progressing()
    stage.hear(start(direction_listen=MediaDirection.IN, direction_speak=MediaDirection.NONE))
    [snoop] = [command for command in stage.commands if "snoop" in command.uri]
    assert (snoop.query["spy"], snoop.query["whisper"]) == ("in", "none")
    assert not [command for command in stage.commands if "silence" in command.uri]


def test_a_stream_that_asks_again_hears_the_same() -> None:
    stage = running()
    stage.hear(start())
    answer = refusal(stage)
    assert isinstance(answer, ExternalMediaLeg)
    assert answer.rtp_port == 7000
    assert told(stage) == ["POST bridges/<stream>/addChannel"]


def test_asked_again_while_it_starts_nothing_is_commanded_twice() -> None:
    stage = progressing()
    stage.hear(start())
    stage.take_commands()
    stage.hear(start())
    assert told(stage) == []
    stage.hear(leg("snoop"), leg("1", port=7000))
    assert len(stage.late_replies) == 1


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"customer_id": UUID(int=99)}, NotFound, "call_not_found"),
        ({"resume": True}, NotFound, "media_stream_not_found"),
        ({"from_flow": True}, NotFound, "media_stream_not_found"),
    ],
)
def test_who_may_not_is_told_why(fields: dict[str, Any], error: type[Exception], code: str) -> None:
    stage = progressing()
    stage.hear(start(**fields))
    assert isinstance(refusal(stage), error)
    assert refusal(stage).code == code
    assert stage.commands == []


def test_a_call_that_is_not_up_has_no_audio() -> None:
    stage = incoming(ANSWER, LONG)
    stage.hear(start())
    assert isinstance(refusal(stage), Conflict)
    assert refusal(stage).details == {"status": "ringing"}


def test_a_call_that_hangs_up_begins_no_stream() -> None:
    stage = progressing()
    stage.hear(hangup(), start())
    assert refusal(stage).code == "call_not_progressing"
    assert stage.call.media == {}


def test_nobody_streams_a_call_that_does_not_exist() -> None:
    stage = Stage()
    stage.hear(start())
    assert refusal(stage).code == "call_not_found"


def test_the_number_of_streams_is_bounded() -> None:
    stage = progressing()
    stage.rules = Rules(media_streams=1)
    running(stage=stage)
    stage.hear(start(OTHER))
    assert refusal(stage).code == "media_stream_limit_reached"
    stage.hear(stop(), start(OTHER))
    assert f"media-waiter.{OTHER}" in stage.deferred


def test_a_leg_that_does_not_come_up_is_given_up() -> None:
    stage = progressing()
    stage.hear(start())
    stage.take_commands()
    stage.wait(LONGEST_START - MILLISECOND)
    assert stage.late_replies == []
    stage.wait(MILLISECOND)
    [error] = stage.late_replies
    assert isinstance(error, Unavailable)
    assert "DELETE channels/<stream>.1" in told(stage)
    assert stage.call.media == {}


@pytest.mark.parametrize("name", ["snoop", "bridge", "join", "leg"])
@pytest.mark.parametrize("status", [404, 422, 500])
def test_a_refused_command_ends_the_stream(name: str, status: int) -> None:
    stage = progressing()
    stage.hear(start(), command_refused(name, status))
    assert isinstance(stage.late_replies[0], Unavailable)
    assert stage.media_events[-1][1].reason == "asterisk_refused"
    assert stage.call.media == {}
    assert stage.status() is CallStatus.PROGRESSING


def test_a_bridge_that_is_there_already_is_fine() -> None:
    stage = progressing()
    stage.hear(start(), command_refused("bridge", 409))
    assert f"media-bridge.{STREAM}.1" not in stage.pending
    assert str(STREAM) in stage.call.media


# -- moves -----------------------------------------------------------------------------------------


def test_a_new_owner_gets_another_channel_in_the_same_bridge() -> None:
    stage = running()
    stage.hear(moved())
    assert told(stage) == ["DELETE channels/<stream>.1", "POST channels/externalMedia"]
    stage.hear(leg("1", port=7000), leg_gone("1"))  # of the former channel: neither counts
    assert len(stage.late_replies) == 1
    stage.take_commands()
    stage.hear(leg("2", port=7002))
    answer = stage.late_replies[-1]
    assert (answer.rtp_port, answer.previous_owner) == (7002, "m1")
    assert told(stage) == ["POST bridges/<stream>/addChannel"]
    assert [event for event, _ in stage.media_events] == ["started"]


def test_a_stream_that_moves_stays_what_it_was() -> None:
    stage = progressing()
    stage.hear(start(encapsulation="sln", rate=16_000, direction_speak=MediaDirection.NONE))
    stage.hear(leg("snoop"), leg("1", port=7000))
    stage.hear(moved(encapsulation="rtp", rate=8000), leg("2", port=7002))
    media = stage.late_replies[-1].media
    assert (media.encapsulation, media.rate) == ("sln", 16_000)
    assert (media.direction_listen, media.direction_speak) == ("both", "")


def test_a_refusal_for_a_channel_that_was_replaced_is_not_heard() -> None:
    stage = running()
    stage.hear(moved(), command_refused("leg", 500))
    assert str(STREAM) in stage.call.media


@pytest.mark.parametrize("other", [stop(), stop(owner="m2"), stop(owner="m2", boot="b1")])
def test_only_its_present_owner_ends_it(other: ExternalMediaStop) -> None:
    stage = running()
    stage.hear(moved(), other)
    assert refusal(stage).code == "media_stream_not_found"
    assert str(STREAM) in stage.call.media


def test_a_stream_without_an_owner_waits_ten_seconds() -> None:
    stage = running()
    stage.hear(ExternalMediaOwnerGone(owner="m1"))
    stage.wait(RESUME_WINDOW - MILLISECOND)
    assert str(STREAM) in stage.call.media
    stage.wait(MILLISECOND)
    assert stage.media_events[-1][1].reason == "owner_lost"
    assert stage.call.media == {}


def test_a_new_owner_in_time_keeps_it() -> None:
    stage = running()
    stage.hear(ExternalMediaOwnerGone(owner="m1"), moved(), leg("2", port=7002))
    stage.wait(2 * RESUME_WINDOW)
    assert str(STREAM) in stage.call.media


def test_streams_of_the_owners_present_life_are_left_alone() -> None:
    stage = running()
    stage.hear(ExternalMediaOwnerGone(owner="m1", alive_boot="b1"))
    stage.hear(ExternalMediaOwnerGone(owner="m2"))
    stage.wait(20 * SECOND)
    assert str(STREAM) in stage.call.media


# -- ends ------------------------------------------------------------------------------------------


def test_the_end_takes_everything_away_and_is_told() -> None:
    stage = running()
    stage.hear(stop())
    assert told(stage) == [
        "POST channels/<channel>/silence",
        "DELETE bridges/<stream>",
        "DELETE channels/<stream>.1",
        "DELETE channels/<stream>.snoop",
    ]
    assert refusal(stage).status is MediaStatus.STOPPED
    event, media = stage.media_events[-1]
    assert (event, media.reason) == ("stopped", "application_closed")
    stage.hear(leg_gone("1"), leg_gone("snoop"))
    assert told(stage) == ["DELETE channels/<channel>/silence"]
    stage.hear(
        refused(f"media-dissolve.{STREAM}", 404),
    )
    assert "media" not in " ".join(stage.pending)


def test_silence_stays_while_another_may_speak() -> None:
    stage = running(OTHER, running())
    stage.hear(stop(), leg_gone("snoop"))
    assert "DELETE channels/<channel>/silence" not in told(stage)


def test_a_lost_channel_ends_its_stream_alone() -> None:
    stage = running(OTHER, running())
    stage.hear(leg_gone("1"))
    assert list(stage.call.media) == [str(OTHER)]
    assert stage.media_events[-1][1].reason == "resource_lost"
    assert stage.status() is CallStatus.PROGRESSING


def test_a_lost_snoop_ends_its_stream_where_the_call_goes_on() -> None:
    stage = running()
    stage.hear(leg_gone("snoop"))
    stage.wait(SNOOP_GRACE - MILLISECOND)
    assert str(STREAM) in stage.call.media
    stage.wait(MILLISECOND)
    assert stage.media_events[-1][1].reason == "resource_lost"
    assert stage.status() is CallStatus.PROGRESSING


def test_a_snoop_that_goes_before_its_call_tells_of_the_calls_end() -> None:
    stage = running()
    stage.hear(leg_gone("snoop"), gone())
    assert [media.reason for _, media in stage.media_events] == ["", "call_ended"]
    assert f"media.{STREAM}" not in stage.timers


@pytest.mark.parametrize("by_us", [True, False])
def test_all_streams_end_with_the_call(by_us: bool) -> None:
    stage = running(OTHER, running())
    stage.hear(*([hangup(), gone()] if by_us else [gone()]))
    assert stage.call.media == {}
    assert [media.reason for event, media in stage.media_events if event == "stopped"] == [
        "call_ended",
        "call_ended",
    ]
    assert stage.status() is CallStatus.HANGUP


def test_a_leg_that_comes_up_too_late_is_hung_up() -> None:
    stage = progressing()
    stage.hear(leg("1", port=7000))
    assert told(stage) == ["DELETE channels/<stream>.1"]
    stage.hear(gone())
    stage.take_commands()
    stage.hear(leg("snoop"))
    assert told(stage) == ["DELETE channels/<stream>.snoop"]


# -- gaps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "missing"), [("1", "snoop"), ("snoop", "1")])
def test_after_a_gap_what_is_missing_is_looked_for_and_found_gone(there: str, missing: str) -> None:
    stage = running()
    stage.hear(seen(**{"own": "Up", f"{BASE}.{there}": "Up"}))
    assert told(stage) == [f"GET channels/<stream>.{missing}"]
    stage.hear(command_refused("look", 404))
    assert stage.media_events[-1][1].reason == "resource_lost"


def test_after_a_gap_what_nobody_wants_is_hung_up() -> None:
    stage = running()
    channels = {
        "own": "Up",
        f"{BASE}.1": "Up",
        f"{BASE}.snoop": "Up",
        f"{CALL_ID}.media.{OTHER}.1": "Up",
    }
    stage.hear(seen(**channels))
    assert told(stage) == [f"DELETE channels/<call>.media.{OTHER}.1"]


# -- what the call does meanwhile ------------------------------------------------------------------


def test_silence_is_begun_again_after_a_prompt() -> None:
    stage = running(stage=progressing(PLAY, SLEEP))
    stage.hear(played("1-1"))
    assert told(stage) == ["POST channels/<channel>/silence"]


def test_the_owner_hears_of_keys() -> None:
    stage = running()
    stage.hear(*digits("5"))
    [notice] = stage.notices
    assert notice.queue == "media_manager.m1"
    assert (notice.body.digit, notice.body.duration_ms) == ("5", 100)  # type: ignore[attr-defined]


# -- flows -----------------------------------------------------------------------------------------

CONNECT = action("external_media_start", url="wss://app.example/", encapsulation="sln")


def connecting(stage: Stage) -> MediaConnect:
    """What media_manager was asked."""
    asked = stage.asks[-1].body
    assert isinstance(asked, MediaConnect)
    return asked


def test_a_flow_goes_on_when_media_manager_has_accepted() -> None:
    stage = progressing(CONNECT, LONG)
    asked = connecting(stage)
    assert (asked.target, asked.encapsulation) == ("wss://app.example/", "sln")
    assert stage.call.work is not None
    assert stage.call.work.position == 1
    stage.answer("media.1-1", MediaAccepted(id=asked.id))
    assert stage.call.work.position == 2
    stage.hear(start(asked.id, from_flow=True))
    assert str(asked.id) in stage.call.media


def test_a_flow_goes_on_when_the_target_is_refused_or_nobody_answers() -> None:
    refusing = progressing(CONNECT, LONG)
    refusing.fail("media.1-1", Forbidden("media_target_refused", "no"))
    waiting = progressing(CONNECT, LONG)
    waiting.wait(6 * SECOND)
    for stage in (refusing, waiting):
        assert stage.call.work is not None
        assert stage.call.work.position == 2
        assert "media.1-1" not in stage.pending


def test_before_the_answer_there_is_nothing_to_stream() -> None:
    stage = incoming(CONNECT, SLEEP)
    assert not [ask for ask in stage.asks if isinstance(ask.body, MediaConnect)]


def test_stop_ends_the_streams_of_flows_and_no_others() -> None:
    stage = progressing(CONNECT, SLEEP, action("external_media_stop"), LONG)
    asked = connecting(stage)
    stage.answer("media.1-1", MediaAccepted(id=asked.id))
    running(asked.id, stage, from_flow=True)
    running(stage=stage)
    stage.wait(4 * SECOND)
    assert list(stage.call.media) == [str(STREAM)]
    assert stage.media_events[-1][1].reason == "stopped_by_flow"
    stage.hear(start(asked.id, from_flow=True))
    assert refusal(stage).code == "media_stream_not_found"


def test_a_flows_stream_is_connected_anew_when_its_owner_is_gone() -> None:
    stage = progressing(CONNECT, LONG)
    asked = connecting(stage)
    stage.answer("media.1-1", MediaAccepted(id=asked.id))
    running(asked.id, stage, from_flow=True)
    stage.hear(ExternalMediaOwnerGone(owner="m1"))
    assert stage.asks[-1].key == f"media-again.{asked.id}"
    assert connecting(stage) == asked
    stage.answer(f"media-again.{asked.id}", MediaAccepted(id=asked.id))
    stage.hear(start(asked.id, owner="m2", boot="b2", host="192.0.2.52:1", from_flow=True))
    stage.hear(leg("2", asked.id, port=7002))
    stage.wait(20 * SECOND)
    assert stage.call.media[str(asked.id)].owner == "m2"


def test_channels_of_streams_are_known_by_their_name() -> None:
    assert is_media_channel(f"{BASE}.snoop")
    assert not is_media_channel(f"{CALL_ID}.1")
