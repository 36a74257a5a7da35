"""The legs of a call's streams at the edges: what comes late, twice, from the wrong owner, or in another order."""

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec import structs

from call_manager.domain.actions import MEDIA_PATIENCE
from call_manager.domain.media import LONGEST_START, RESUME_WINDOW, is_media_channel
from call_manager.domain.messages import CommandRefused, MediaLegGone, MediaLegUp
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
    StreamDigit,
)
from evercall.service.errors import Conflict, PlatformError
from tests.unit.call_manager.stage import (
    CALL_ID,
    CUSTOMER,
    SLEEP,
    Stage,
    action,
    answered_outgoing,
    digits,
    hangup,
    incoming,
    played,
    seen,
)

STREAM = UUID(int=100)
OWN = f"{CALL_ID}.1"
BRIDGE = f"{CALL_ID}.media.{STREAM}"
SNOOP = f"{BRIDGE}.snoop"
LONG_SLEEP = action("sleep", duration=60_000)
FORK = action(
    "external_media_start", external_host="192.0.2.9:4000", transport="udp", encapsulation="rtp"
)

START = ExternalMediaStart(
    id=STREAM,
    call_id=CALL_ID,
    customer_id=CUSTOMER,
    owner="media-1",
    boot="a",
    host="127.0.0.1:4000",
)
MOVED = structs.replace(START, owner="media-2", boot="b", host="127.0.0.1:5000", resume=True)


def leg_up(channel: str = f"{BRIDGE}.1", port: int = 9000, stream: UUID = STREAM) -> MediaLegUp:
    return MediaLegUp(
        stream_id=stream,
        asterisk_id="call-1",
        channel_id=channel,
        rtp_address="127.0.0.1" if port else "",
        rtp_port=port,
    )


def snoop_up() -> MediaLegUp:
    return leg_up(SNOOP, 0)


def leg_gone(channel: str = f"{BRIDGE}.1") -> MediaLegGone:
    return MediaLegGone(stream_id=STREAM, channel_id=channel)


def refused(name: str, status: int, number: int = 1) -> CommandRefused:
    key = f"media-{name}.{STREAM}.{number}"
    return CommandRefused(asterisk_id="call-1", key=key, status=status)


def keys(stage: Stage) -> list[str]:
    """What Asterisk was told since the last time, by key."""
    told = [command.key.replace(str(STREAM), "s") for command in stage.commands]
    stage.commands = []
    return told


def media_pending(stage: Stage) -> set[str]:
    return {key for key in stage.pending if key.startswith("media-")}


def code_of(reply: object) -> str:
    assert isinstance(reply, PlatformError)
    return reply.code


def at(stage: Stage) -> str:
    """The action that the call is at."""
    assert stage.call.work is not None
    return stage.call.work.place


def up_call() -> Stage:
    stage = answered_outgoing(LONG_SLEEP)
    stage.replies.clear()
    assert stage.status() is CallStatus.PROGRESSING
    stage.take_commands()
    return stage


def running() -> Stage:
    """A call with one stream that runs."""
    stage = up_call()
    stage.hear(START, snoop_up(), leg_up())
    keys(stage)
    return stage


def reasons(stage: Stage) -> list[tuple[str, str]]:
    return [(event, media.reason) for event, media in stage.media_events]


# -- beginning -------------------------------------------------------------------------------------


def test_a_leg_is_commanded_and_answered_when_both_channels_are_up() -> None:
    stage = up_call()
    stage.hear(START)
    assert keys(stage) == ["media-silence", "media-snoop.s.1", "media-bridge.s.1", "media-leg.s.1"]
    assert stage.replies == []
    stage.hear(snoop_up())
    assert keys(stage) == ["media-join.s.1"]
    assert stage.late_replies == []
    stage.hear(leg_up())
    assert keys(stage) == ["media-join.s.1"]
    [leg] = stage.late_replies
    assert isinstance(leg, ExternalMediaLeg)
    assert (leg.rtp_address, leg.rtp_port, leg.previous_owner) == ("127.0.0.1", 9000, "")
    assert leg.media.status is MediaStatus.RUNNING
    assert reasons(stage) == [("started", "")]
    assert media_pending(stage) == set()
    assert f"media.{STREAM}" not in stage.timers


def test_each_channel_joins_by_itself_in_whatever_order_they_come() -> None:
    stage = up_call()
    stage.hear(START)
    stage.commands = []
    stage.hear(leg_up(), snoop_up())
    assert [command.query["channel"] for command in stage.commands] == [f"{BRIDGE}.1", SNOOP]
    assert len(stage.late_replies) == 1


def test_who_only_listens_needs_no_silence() -> None:
    stage = up_call()
    stage.hear(structs.replace(START, direction_speak=MediaDirection.NONE))
    assert keys(stage) == ["media-snoop.s.1", "media-bridge.s.1", "media-leg.s.1"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (structs.replace(START, customer_id=UUID(int=99)), "call_not_found"),
        (structs.replace(START, resume=True), "media_stream_not_found"),
        (structs.replace(START, from_flow=True), "media_stream_not_found"),
    ],
)
def test_what_may_not_begin_is_refused(request_: ExternalMediaStart, code: str) -> None:
    stage = up_call()
    stage.hear(request_)
    assert [code_of(reply) for reply in stage.replies] == [code]
    assert keys(stage) == []
    assert stage.call.media == {}


def test_a_call_that_is_not_up_has_no_streams() -> None:
    stage = incoming(SLEEP)
    stage.hear(START)
    assert code_of(stage.replies[-1]) == "call_not_progressing"
    assert stage.call.media == {}


def test_a_call_that_is_over_is_not_found() -> None:
    stage = up_call()
    stage.hear(hangup(), START)
    assert code_of(stage.replies[-1]) in ("call_not_found", "call_not_progressing")
    assert stage.call.media == {}


def test_streams_of_a_call_are_limited() -> None:
    stage = up_call()
    most = stage.rules.media_streams
    stage.hear(*(structs.replace(START, id=UUID(int=200 + i)) for i in range(most)))
    assert stage.replies == []
    stage.hear(START)
    assert code_of(stage.replies[-1]) == "media_stream_limit_reached"
    assert len(stage.call.media) == most


def test_asked_again_while_it_starts_nothing_is_commanded_twice() -> None:
    stage = up_call()
    stage.hear(START)
    keys(stage)
    stage.hear(START)
    assert keys(stage) == []
    stage.hear(snoop_up(), leg_up())
    assert len(stage.late_replies) == 1


def test_asked_again_while_it_runs_it_is_answered_at_once() -> None:
    stage = running()
    stage.hear(START)
    assert isinstance(stage.replies[-1], ExternalMediaLeg)
    assert keys(stage) == ["media-join.s.1"]
    assert reasons(stage) == [("started", "")]


def test_a_new_owner_gets_a_channel_of_its_own_in_the_same_bridge() -> None:
    stage = running()
    stage.hear(MOVED)
    assert keys(stage) == [f"media-drop.{BRIDGE}.1".replace(str(STREAM), "s"), "media-leg.s.2"]
    stage.hear(leg_up(), leg_gone())  # of the former channel: neither counts
    assert len(stage.late_replies) == 1
    stage.hear(leg_up(f"{BRIDGE}.2", 9002))
    leg = stage.late_replies[-1]
    assert (leg.rtp_port, leg.previous_owner) == (9002, "media-1")
    assert reasons(stage) == [("started", "")]


# -- ends ------------------------------------------------------------------------------------------


def stop(owner: str = "media-1", boot: str = "a") -> ExternalMediaStop:
    return ExternalMediaStop(id=STREAM, call_id=CALL_ID, owner=owner, boot=boot, reason="bye")


def test_its_owner_ends_a_stream_and_nothing_is_left() -> None:
    stage = running()
    stage.hear(stop())
    assert stage.replies[-1].status is MediaStatus.STOPPED
    assert sorted(command.method for command in stage.commands) == ["DELETE"] * 3 + ["POST"]
    assert reasons(stage)[-1] == ("stopped", "bye")
    stage.hear(
        leg_gone(),
        leg_gone(SNOOP),
        CommandRefused(asterisk_id="call-1", key=f"media-dissolve.{STREAM}", status=404),
    )
    assert media_pending(stage) == set()
    assert stage.call.media == {}
    assert stage.commands[-1].method == "DELETE"
    assert stage.commands[-1].uri.endswith("/silence")


@pytest.mark.parametrize("other", [stop(owner="media-2"), stop(boot="b")])
def test_nobody_else_ends_it(other: ExternalMediaStop) -> None:
    stage = running()
    stage.hear(other)
    assert code_of(stage.replies[-1]) == "media_stream_not_found"
    assert list(stage.call.media) == [str(STREAM)]


@pytest.mark.parametrize("channel", [SNOOP, f"{BRIDGE}.1"])
def test_a_lost_channel_ends_the_stream_and_not_the_call(channel: str) -> None:
    stage = running()
    stage.hear(leg_gone(channel))
    assert reasons(stage)[-1] == ("stopped", "resource_lost")
    assert stage.status() is CallStatus.PROGRESSING


@pytest.mark.parametrize("name", ["snoop", "bridge", "join", "leg"])
@pytest.mark.parametrize("status", [422, 500, 404])
def test_a_refused_command_ends_it_and_whoever_waits_hears(name: str, status: int) -> None:
    stage = up_call()
    stage.hear(START, refused(name, status))
    assert [code_of(reply) for reply in stage.late_replies] == ["asterisk_unavailable"]
    assert reasons(stage) == [("stopped", "asterisk_refused")]
    assert stage.call.media == {}


def test_a_bridge_that_is_there_already_is_fine() -> None:
    stage = up_call()
    stage.hear(START, refused("bridge", 409))
    assert f"media-bridge.{STREAM}.1" not in stage.pending
    assert list(stage.call.media) == [str(STREAM)]


def test_a_refusal_for_a_channel_that_was_replaced_is_not_heard() -> None:
    stage = running()
    stage.hear(MOVED, refused("leg", 500, number=1))
    assert list(stage.call.media) == [str(STREAM)]


def test_a_leg_that_does_not_come_up_in_time_has_failed() -> None:
    stage = up_call()
    stage.hear(START)
    stage.wait(LONGEST_START - timedelta(milliseconds=1))
    assert stage.late_replies == []
    stage.wait(timedelta(milliseconds=1))
    assert [code_of(reply) for reply in stage.late_replies] == ["asterisk_unavailable"]
    assert reasons(stage) == [("stopped", "asterisk_unavailable")]


def test_the_end_of_the_call_ends_its_streams() -> None:
    stage = running()
    stage.hear(hangup())
    assert reasons(stage)[-1] == ("stopped", "call_ended")
    assert stage.call.media == {}


# -- owners ----------------------------------------------------------------------------------------


def test_a_stream_waits_for_a_new_owner_and_then_ends() -> None:
    stage = answered_outgoing(LONG_SLEEP)
    stage.hear(START, snoop_up(), leg_up(), ExternalMediaOwnerGone(owner="media-1"))
    stage.wait(RESUME_WINDOW - timedelta(milliseconds=1))
    assert reasons(stage) == [("started", "")]
    stage.wait(timedelta(milliseconds=1))
    assert reasons(stage)[-1] == ("stopped", "owner_lost")


def test_a_new_owner_in_time_keeps_it() -> None:
    stage = answered_outgoing(LONG_SLEEP)
    stage.hear(START, snoop_up(), leg_up(), ExternalMediaOwnerGone(owner="media-1"), MOVED)
    stage.hear(leg_up(f"{BRIDGE}.2"))
    stage.wait(RESUME_WINDOW * 2)
    assert reasons(stage) == [("started", "")]


@pytest.mark.parametrize(
    "gone",
    [
        ExternalMediaOwnerGone(owner="media-2"),
        ExternalMediaOwnerGone(owner="media-1", alive_boot="a"),
    ],
)
def test_the_end_of_another_owner_or_run_does_not_matter(gone: ExternalMediaOwnerGone) -> None:
    stage = running()
    stage.hear(gone)
    assert f"media.{STREAM}" not in stage.timers


# -- what is seen and heard ------------------------------------------------------------------------


def test_after_a_gap_what_is_missing_is_looked_for_and_strays_are_hung_up() -> None:
    stage = running()
    stray = f"{CALL_ID}.media.{UUID(int=5)}.1"
    stage.hear(seen("boot-1", **{"out": "Up", SNOOP: "Up", stray: "Up"}))
    assert keys(stage) == ["media-look.s.1", "stray"]
    stage.hear(refused("look", 404))
    assert reasons(stage)[-1] == ("stopped", "resource_lost")


def test_a_channel_that_nobody_wants_is_hung_up() -> None:
    stage = up_call()
    stage.hear(leg_up())
    [told] = stage.take_commands()
    assert told.startswith(f"DELETE channels/<call>.media.{STREAM}.1")


def test_owners_hear_of_keys() -> None:
    stage = running()
    stage.hear(*(structs.replace(key, channel_id=OWN) for key in digits("5")))
    [notice] = stage.notices
    assert notice.queue == "media_manager.media-1"
    assert isinstance(notice.body, StreamDigit)
    assert (notice.body.id, notice.body.digit) == (STREAM, "5")


def test_silence_goes_on_after_a_playback() -> None:
    stage = answered_outgoing(action("play", stream_urls=["http://192.0.2.80/a.wav"]))
    stage.hear(START, snoop_up(), leg_up())
    keys(stage)
    assert stage.call.work is not None
    stage.hear(played(stage.call.work.place))
    assert "media-silence" in keys(stage)


# -- flow actions ----------------------------------------------------------------------------------


def connecting() -> tuple[Stage, MediaConnect]:
    stage = answered_outgoing(FORK, SLEEP)
    [ask] = [ask for ask in stage.asks if ask.service == "media_manager"]
    assert isinstance(ask.body, MediaConnect)
    return stage, ask.body


def test_a_flow_asks_for_a_connection_and_goes_on_when_it_is_accepted() -> None:
    stage, connect = connecting()
    assert (connect.target, connect.transport) == ("192.0.2.9:4000", "udp")
    assert stage.call.work is not None
    stage.answer(stage.call.work.media_key, MediaAccepted(id=connect.id))
    assert at(stage) == "1-1"
    stage.hear(structs.replace(START, id=connect.id, from_flow=True))
    assert [each.from_flow for each in stage.call.media.values()] == [True]
    assert stage.call.connecting == {}


def test_a_refused_connection_leaves_the_flow_alone() -> None:
    stage, _ = connecting()
    assert stage.call.work is not None
    stage.fail(stage.call.work.media_key, Conflict("media_target_refused", ""))
    assert at(stage) == "1-1"
    assert stage.status() is CallStatus.PROGRESSING


def test_nobody_waits_for_ever_for_a_connection() -> None:
    stage, _ = connecting()
    stage.wait(MEDIA_PATIENCE - timedelta(milliseconds=1))
    assert at(stage) == "1-0"
    stage.wait(timedelta(milliseconds=1))
    assert at(stage) == "1-1"


def test_without_an_answer_there_is_nothing_to_stream() -> None:
    stage = incoming(FORK, SLEEP)
    assert [ask for ask in stage.asks if ask.service == "media_manager"] == []
    assert at(stage) == "1-1"


def test_a_stream_of_the_flow_is_connected_again_when_its_owner_is_gone() -> None:
    stage, connect = connecting()
    external = f"{CALL_ID}.media.{connect.id}"
    stage.hear(
        structs.replace(START, id=connect.id, from_flow=True),
        leg_up(f"{external}.snoop", 0, connect.id),
        leg_up(f"{external}.1", 9000, connect.id),
        ExternalMediaOwnerGone(owner="media-1"),
    )
    assert stage.asks[-1].key == f"media-again.{connect.id}"
    assert stage.asks[-1].body == connect


def test_the_flow_stops_only_what_the_flow_started() -> None:
    stage = answered_outgoing(FORK, action("external_media_stop"), SLEEP)
    connect = stage.asks[-1].body
    assert isinstance(connect, MediaConnect)
    assert stage.call.work is not None
    stage.hear(START, structs.replace(START, id=connect.id, from_flow=True))
    stage.answer(stage.call.work.media_key, MediaAccepted(id=connect.id))
    assert list(stage.call.media) == [str(STREAM)]
    assert [media.id for _, media in stage.media_events] == [connect.id]
    assert reasons(stage) == [("stopped", "stopped_by_flow")]


def test_channels_of_streams_are_known_by_their_name() -> None:
    assert is_media_channel(SNOOP)
    assert not is_media_channel(OWN)
