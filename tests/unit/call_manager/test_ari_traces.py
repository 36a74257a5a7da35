"""Golden traces: the JSON that Asterisk sends, through the mapping and `decide`, to what is told to it."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from call_manager.domain.messages import ChannelsSeen
from call_manager.subscriptions import KIND, UNUSED, receive
from evercall.actor.model import Actor, ActorKind
from evercall.actor.turn import LiveActors
from evercall.contracts.asterisk import (
    AsteriskEvents,
    AsteriskSnapshot,
    CommandsRefused,
    LiveChannel,
    OwnedEvent,
    RefusedCommand,
)
from evercall.contracts.call import CallStatus, HangupBy, HangupReason
from tests.unit.call_manager.stage import (
    ANSWER,
    CALL_ID,
    CHANNEL,
    PLAY,
    SLEEP,
    Stage,
    create,
    gone,
    hangup,
    incoming,
    receive_digits,
    refused,
)


def channel(state: str, name: str = "PJSIP/call-in-00000001", identifier: str = CHANNEL) -> Any:
    """A channel as Asterisk 22.10 writes it."""
    return {
        "id": identifier,
        "name": name,
        "state": state,
        "protocol_id": "1-2345@192.0.2.7",
        "caller": {"name": "Alice", "number": "+15550199"},
        "connected": {"name": "", "number": ""},
        "accountcode": "",
        "dialplan": {
            "context": "call-in",
            "exten": "+15550100",
            "priority": 8,
            "app_name": "Stasis",
            "app_data": "evercall,context=call-in",
        },
        "creationtime": "2026-03-04T05:06:07.000+0000",
        "language": "en",
        "channelvars": {"CALL_ID": str(CALL_ID)},
    }


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "timestamp": "2026-03-04T05:06:07.250+0000",
        **fields,
        "asterisk_id": "02:42:ac:11:00:02",
        "application": "evercall",
    }


ARGUMENTS = [
    "context=call-in",
    f"call_id={CALL_ID}",
    "destination=%2B15550100",
    "domain=pstn.example.com",
    "source=192.0.2.7",
    "transport=udp",
    "sip_call_id=1-2345%40192.0.2.7",
    "sip_pai=",
    "sip_privacy=",
]


def hear(stage: Stage, *events: dict[str, Any]) -> None:
    message = AsteriskEvents(
        asterisk_id="call-1",
        boot_id="boot-1",
        events=[
            OwnedEvent(actor=CALL_ID, event=msgspec.Raw(msgspec.json.encode(one))) for one in events
        ],
    )
    for delivery in receive(message, LiveActors({})):
        assert (delivery.kind, delivery.actor) == (KIND, CALL_ID)
        stage.hear(delivery.body)


def playback(state: str, place: str) -> dict[str, Any]:
    return {
        "id": f"{CALL_ID}.{place}",
        "media_uri": "sound:http://audio/abc.ulaw",
        "target_uri": f"channel:{CHANNEL}",
        "language": "en",
        "state": state,
    }


def test_an_incoming_call_that_plays_and_collects() -> None:
    stage = Stage()
    hear(stage, event("StasisStart", args=ARGUMENTS, channel=channel("Ring")))
    assert stage.call.destination.target == "+15550100"
    assert stage.call.source.target_name == "Alice"
    assert stage.call.leg is not None
    assert stage.call.leg.sip_call_id == "1-2345@192.0.2.7"
    assert stage.call.leg.source_ip == "192.0.2.7"
    stage.give_run(ANSWER, PLAY, receive_digits(2))
    assert len(stage.take_commands()) == 2

    hear(
        stage,
        event("ChannelStateChange", channel=channel("Up")),
        event("ChannelDtmfReceived", digit="4", duration_ms=120, channel=channel("Up")),
        event("PlaybackFinished", playback=playback("done", "1-1")),
        event("ChannelDtmfReceived", digit="2", duration_ms=120, channel=channel("Up")),
    )
    assert stage.status() is CallStatus.TERMINATING
    assert stage.take_commands() == [
        "DELETE playbacks/<call>.1-1",
        "DELETE channels/<channel>?reason_code=16",
    ]
    hear(
        stage,
        event("StasisEnd", channel=channel("Up")),
        event("ChannelDestroyed", cause=16, cause_txt="Normal Clearing", channel=channel("Up")),
    )
    stage.assert_over()
    assert stage.call.tm_hangup is not None


def test_the_caller_hangs_up_while_a_prompt_plays() -> None:
    stage = Stage()
    hear(stage, event("StasisStart", args=ARGUMENTS, channel=channel("Ring")))
    stage.give_run(ANSWER, PLAY, SLEEP)
    hear(stage, event("ChannelStateChange", channel=channel("Up")))
    stage.take_commands()
    hear(
        stage,
        event("PlaybackFinished", playback=playback("failed", "1-1")),
        event("StasisEnd", channel=channel("Up")),
        event("ChannelDestroyed", cause=16, cause_txt="Normal Clearing", channel=channel("Up")),
    )
    stage.assert_over()
    assert stage.call.hangup_by is HangupBy.REMOTE
    assert stage.take_commands() == []


def test_an_outgoing_call_that_is_busy() -> None:
    stage = Stage()
    stage.hear(create())
    out = channel("Ringing", "PJSIP/call-out-00000002", f"{CALL_ID}.1")
    hear(stage, event("ChannelStateChange", channel=out))
    assert stage.status() is CallStatus.RINGING
    hear(stage, event("ChannelDestroyed", cause=17, cause_txt="User busy", channel=out))
    assert stage.call.hangup_reason is HangupReason.BUSY
    stage.assert_over()


@pytest.mark.parametrize(
    "odd",
    [
        event("StasisEnd", channel=channel("Up")),
        event("ChannelStateChange", channel=channel("Dialing")),
        event("ChannelVarset", variable="X", value="1", channel=channel("Up")),
        event("ChannelDtmfReceived", channel=channel("Up")),
        {"no": "type"},
    ],
)
def test_events_that_mean_nothing_are_counted_and_left_out(odd: dict[str, Any]) -> None:
    before = UNUSED._value.get()
    stage = incoming(ANSWER, SLEEP)
    decisions = stage.decisions
    hear(stage, odd)
    assert stage.decisions == decisions
    assert UNUSED._value.get() == before + 1


# -- the other messages --------------------------------------------------------------------------

OTHER = UUID(int=CALL_ID.int + 1)


def live(*stages: Stage) -> LiveActors:
    kind: ActorKind[Any] = ActorKind(KIND, type(stages[0].call), lambda *_: None, lambda _: None)  # type: ignore[arg-type, return-value]
    actors = {stage.call.id: Actor(stage.call.id, kind, stage.call) for stage in stages}
    return LiveActors(actors)


def snapshot(*channels: LiveChannel, asterisk_id: str = "call-1") -> AsteriskSnapshot:
    return AsteriskSnapshot(asterisk_id=asterisk_id, boot_id="boot-1", channels=list(channels))


def seen(deliveries: Any) -> dict[UUID, dict[str, str]]:
    bodies = {delivery.actor: delivery.body for delivery in deliveries}
    assert all(isinstance(body, ChannelsSeen) for body in bodies.values())
    assert all(body.call_id == actor for actor, body in bodies.items())
    return {actor: body.channels for actor, body in bodies.items()}


def test_a_snapshot_reaches_every_live_call_of_its_asterisk_and_every_stray() -> None:
    stage = incoming(ANSWER, SLEEP)
    mine = LiveChannel(actor=CALL_ID, channel_id=CHANNEL, state="Up")
    stray = LiveChannel(actor=OTHER, channel_id="x", state="Ring")
    assert seen(receive(snapshot(mine, stray), live(stage))) == {
        CALL_ID: {CHANNEL: "Up"},
        OTHER: {"x": "Ring"},
    }
    assert seen(receive(snapshot(), live(stage))) == {CALL_ID: {}}
    assert seen(receive(snapshot(asterisk_id="call-2"), live(stage))) == {}


def test_a_call_without_a_channel_hears_no_snapshot() -> None:
    stage = Stage(farm=None)
    stage.hear(create())
    assert seen(receive(snapshot(), live(stage))) == {}


def test_refusals_and_requests_reach_their_calls() -> None:
    told = CommandsRefused(
        asterisk_id="call-1",
        boot_id="boot-1",
        refused=[RefusedCommand(actor=CALL_ID, key="answer", status=404, reason="Not Found")],
    )
    [delivery] = receive(told, LiveActors({}))
    assert delivery.actor == CALL_ID
    assert delivery.body == refused("answer", 404, "Not Found")
    for request in (create(), hangup()):
        [delivery] = receive(request, LiveActors({}))
        assert (delivery.actor, delivery.body) == (CALL_ID, request)


def test_the_time_of_the_end_is_asterisks() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.wait(stage.rules.dial_timeout)
    stage.hear(gone())
    assert stage.call.tm_hangup is not None
    assert stage.call.tm_hangup < stage.now
