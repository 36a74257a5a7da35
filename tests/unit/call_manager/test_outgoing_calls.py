"""Outgoing calls: placed, rung, answered, refused, given up."""

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from call_manager.domain.addresses import caller_id, dialable_uri
from evercall.actor.model import Answered
from evercall.contracts.base import Address, AddressType, Message
from evercall.contracts.call import Call, CallDelete, CallStatus, HangupBy, HangupReason
from evercall.contracts.flow import ActiveflowStart
from evercall.service.errors import Conflict, InvalidRequest, NotFound
from tests.unit.call_manager.stage import (
    ASTERISK,
    AWAY,
    CALL_ID,
    CUSTOMER,
    PLAY,
    PROMPT,
    SECOND,
    Stage,
    answered_outgoing,
    create,
    gone,
    hangup,
    played,
    ringing,
    started,
    up,
)

OUT = f"{CALL_ID}.1"


def test_placing_a_call() -> None:
    stage = Stage()
    stage.hear(create())
    assert stage.status() is CallStatus.DIALING
    assert isinstance(stage.replies[0], Call)
    assert stage.event_names == ["created"]
    [command] = stage.commands
    assert command.method == "POST"
    assert command.uri == f"channels/{OUT}"
    assert command.query["endpoint"] == "PJSIP/call-out/sip:bob@192.0.2.9"
    assert command.query["callerId"] == '"Acme" <+15550100>'
    assert command.body == {
        "variables": {"CALL_ID": str(CALL_ID), "TIMEOUT(absolute)": str(60 + 3600 + 300)}
    }


@pytest.mark.parametrize(
    ("anonymous", "source", "withheld"),
    [
        ("yes", "sip:desk@acme.example", True),
        ("no", "sip:desk@acme.example", False),
        ("auto", "sip:desk@acme.example", False),
        ("auto", "sip:anonymous@anonymous.invalid", True),
    ],
)
def test_a_withheld_caller_is_nobody(anonymous: str, source: str, withheld: bool) -> None:
    stage = Stage()
    nobody = Address(type=AddressType.SIP, target=source, target_name="Acme")
    stage.hear(replace(create(), source=nobody, anonymous=anonymous))
    [command] = stage.commands
    assert command.body is not None
    variables = command.body["variables"]
    assert (command.query["callerId"] == '"Anonymous" <anonymous>') is withheld
    assert (variables.get("SIPFROMDOMAIN") == "anonymous.invalid") is withheld
    assert (variables.get("PJSIP_HEADER(add,Privacy)") == "id") is withheld
    assert ("Acme" in str(command)) is not withheld


def test_an_answered_call_runs_its_flow() -> None:
    stage = Stage()
    stage.hear(create(), ringing())
    assert stage.status() is CallStatus.RINGING
    assert stage.pending == {}
    # Up comes first, but the channel can be told something only when it is in Stasis.
    stage.hear(up(OUT))
    assert stage.status() is CallStatus.RINGING
    stage.hear(started(context="call-out", channel_id=OUT))
    assert stage.status() is CallStatus.PROGRESSING
    request = stage.asks[-1].body
    assert isinstance(request, ActiveflowStart)
    assert request.variables["order"] == "17"
    assert request.variables["voipbin.call.direction"] == "outgoing"
    stage.take_commands()
    stage.give_run(PLAY)
    assert stage.take_commands() == [
        "POST channels/<call>.1/play/<call>.1-0?media=sound:http://audio/abc.ulaw"
    ]
    stage.hear(played("1-0"), gone(channel_id=OUT))
    stage.assert_over()
    assert stage.event_names == ["created", "ringing", "progressing", "hangup"]
    assert stage.call.hangup_by is HangupBy.LOCAL


def test_a_call_may_be_answered_without_ringing() -> None:
    stage = Stage()
    stage.hear(create(), started(context="call-out", channel_id=OUT))
    assert stage.status() is CallStatus.PROGRESSING
    assert "create" not in stage.pending
    assert stage.timers.keys() == {"duration"}


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (17, HangupReason.BUSY),
        (19, HangupReason.NOANSWER),
        (21, HangupReason.NOANSWER),
        (1, HangupReason.FAILED),
        (0, HangupReason.DIALOUT),
    ],
)
@pytest.mark.parametrize("rang", [False, True])
def test_a_call_that_is_not_answered(cause: int, reason: HangupReason, rang: bool) -> None:
    stage = Stage()
    stage.hear(create())
    if rang:
        stage.hear(ringing())
    stage.hear(gone(cause, OUT))
    stage.assert_over()
    assert (stage.call.hangup_by, stage.call.hangup_reason) == (HangupBy.REMOTE, reason)
    assert stage.tells == []
    assert stage.call.activeflow_id is None


def test_nobody_answers_for_too_long() -> None:
    stage = Stage()
    stage.hear(create(), ringing())
    stage.take_commands()
    stage.wait(60 * SECOND)
    assert stage.status() is CallStatus.CANCELING
    assert stage.take_commands() == ["DELETE channels/<call>.1?reason_code=19"]
    stage.hear(gone(19, OUT))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.NOANSWER
    assert stage.call.hangup_by is HangupBy.LOCAL


def test_canceling_a_call() -> None:
    stage = Stage()
    stage.hear(create(), ringing(), hangup())
    assert stage.status() is CallStatus.CANCELING
    answer = stage.replies[-1]
    assert isinstance(answer, Call)
    assert answer.status is CallStatus.CANCELING
    # The answer of the far end may cross it.
    stage.hear(started(context="call-out", channel_id=OUT))
    assert stage.status() is CallStatus.CANCELING
    stage.hear(gone(16, OUT))
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.CANCEL


def test_hanging_up_an_answered_call() -> None:
    stage = answered_outgoing(PLAY)
    stage.hear(hangup())
    assert stage.status() is CallStatus.TERMINATING
    stage.hear(hangup())
    assert isinstance(stage.replies[-1], Call)
    stage.hear(gone(channel_id=OUT))
    assert stage.call.hangup_reason is HangupReason.NORMAL
    stage.hear(hangup())
    assert isinstance(stage.replies[-1], Conflict)
    assert stage.replies[-1].code == "call_already_hangup"


def test_no_asterisk_is_there() -> None:
    stage = Stage(farm=AWAY)
    stage.hear(create())
    stage.assert_over()
    assert (stage.call.hangup_by, stage.call.hangup_reason) == (
        HangupBy.LOCAL,
        HangupReason.FAILED,
    )
    assert stage.event_names == ["created", "hangup"]
    # Who placed the call learns of it as it was made; its end is an event.
    assert isinstance(stage.replies[0], Call)


def test_canceling_before_an_asterisk_is_chosen() -> None:
    stage = Stage(farm=None)
    stage.hear(create(), hangup())
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.CANCEL


def test_saying_create_twice_creates_one_call() -> None:
    stage = Stage()
    stage.hear(create(), create())
    assert len(stage.commands) == 1
    assert len(stage.replies) == 2
    assert stage.event_names == ["created"]


def test_a_call_is_not_over_while_its_channel_may_be_up() -> None:
    stage = answered_outgoing(PLAY)
    stage.hear(hangup())
    stage.wait(stage.rules.floor - SECOND)
    assert stage.status() is CallStatus.TERMINATING
    assert list(stage.pending) == ["hangup"]
    stage.wait(SECOND)
    stage.assert_over()
    assert stage.call.hangup_reason is HangupReason.NORMAL


def test_an_outgoing_call_is_cut_after_the_longest_duration_from_its_answer() -> None:
    stage = Stage()
    stage.hear(create())
    stage.wait(50 * SECOND)
    stage.hear(started(context="call-out", channel_id=OUT))
    stage.wait(timedelta(hours=1) - SECOND)
    assert stage.status() is CallStatus.PROGRESSING
    stage.wait(SECOND)
    assert stage.status() is CallStatus.TERMINATING


@pytest.mark.parametrize("live", [False, True])
def test_deleting_a_call(live: bool) -> None:
    stage = answered_outgoing(PLAY)
    if not live:
        stage.hear(gone(channel_id=OUT))
    request = CallDelete(id=CALL_ID, customer_id=CUSTOMER)
    stage.hear(request)
    assert isinstance(stage.replies[-1], Call)
    assert stage.call.tm_delete == stage.now
    assert stage.status() is (CallStatus.TERMINATING if live else CallStatus.HANGUP)
    stage.hear(request)
    assert isinstance(stage.replies[-1], NotFound)


@pytest.mark.parametrize("kind", [CallDelete, type(hangup())])
def test_a_stranger_sees_no_call(kind: type) -> None:
    stage = answered_outgoing(PLAY)
    before = stage.call
    stage.hear(kind(id=CALL_ID, customer_id=UUID(int=99)))
    assert isinstance(stage.replies[-1], NotFound)
    assert stage.replies[-1].code == "call_not_found"
    assert stage.call == before


@pytest.mark.parametrize("kind", [CallDelete, type(hangup())])
def test_there_is_no_such_call(kind: type) -> None:
    stage = Stage()
    stage.hear(kind(id=CALL_ID, customer_id=CUSTOMER))
    assert isinstance(stage.replies[-1], NotFound)
    assert stage.state is None


def test_numbers_are_refused_until_there_are_providers() -> None:
    stage = Stage()
    stage.hear(create("+15550123", AddressType.TEL))
    error = stage.replies[0]
    assert isinstance(error, InvalidRequest)
    assert error.details == {"field": "destination.type"}
    assert stage.state is None


GOOD = [
    "sip:bob@192.0.2.9",
    "bob@example.com:5070",
    "sip:+15550100@example.com;transport=tcp",
    "sip:bob@[2001:db8::1]:5060",
]
BAD = [
    "",
    "sip:bob",
    "sip:@example.com",
    "sips:bob@example.com",
    "sip:bob@example.com?Replaces=x",
    "sip:bob@example.com,PJSIP/other",
    "sip:bob@example.com&Local/x",
    "sip:bob@example.com/x",
    "sip:bob smith@example.com",
    "sip:bob@example.com\r\nX: y",
    "sip:bob@exa mple.com",
    'sip:"bob"@example.com',
    "sip:" + "b" * 200 + "@example.com",
]


@pytest.mark.parametrize("target", GOOD)
def test_what_can_be_dialed(target: str) -> None:
    uri = dialable_uri(Address(type=AddressType.SIP, target=target))
    assert uri == "sip:" + target.removeprefix("sip:")


@pytest.mark.parametrize("target", BAD)
def test_what_cannot_be_dialed(target: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        dialable_uri(Address(type=AddressType.SIP, target=target))
    assert caught.value.details == {"field": "destination.target"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Address(type=AddressType.TEL, target="+15550100"), '"" <+15550100>'),
        (
            Address(type=AddressType.SIP, target="sip:alice@example.com", target_name="Al"),
            '"Al" <alice>',
        ),
        (
            Address(type=AddressType.TEL, target="+1555", target_name='A"<x>\r\nB\\'),
            '"AxB" <+1555>',
        ),
    ],
)
def test_the_caller_id_holds_nothing_that_breaks_out(source: Address, expected: str) -> None:
    assert caller_id(source) == expected


def test_a_call_is_dialed_once_however_often_an_asterisk_is_chosen() -> None:
    stage = Stage()
    stage.hear(create(), Answered(key="asterisk", body=ASTERISK), played("1-0"))
    assert len(stage.commands) == 1
    stage.hear(ringing(), played("1-0"), Answered(key="audio.1-0", body=PROMPT))
    assert stage.status() is CallStatus.RINGING
    assert stage.call.work is None


def test_messages_that_no_call_understands_are_errors() -> None:
    class Odd(Message, frozen=True):
        pass

    stage = Stage()
    stage.hear(create())
    with pytest.raises(ValueError, match="Odd"):
        stage.hear(Odd())
