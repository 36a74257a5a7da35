"""The builders: what they say over and above what the contract tests ask Asterisk about."""

from uuid import UUID

import pytest

from evercall.ari import commands
from evercall.ari.commands import Cause, Direction

ACTOR = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e2e8f7")


def test_ids_cannot_leave_their_place_in_a_path() -> None:
    command = commands.answer(ACTOR, "answer", "a/../b?c=d#e f")
    assert command.uri == "channels/a%2F..%2Fb%3Fc%3Dd%23e%20f/answer"


def test_a_cause_travels_as_its_number() -> None:
    assert commands.hangup(ACTOR, "h", "c", Cause.USER_BUSY).query == {"reason_code": "17"}
    assert commands.hangup(ACTOR, "h", "c").query == {"reason_code": "16"}


def test_media_is_a_list() -> None:
    command = commands.play(ACTOR, "p", "c", f"{ACTOR}.p", ["sound:a", "tone:ring"])
    assert command.query == {"media": "sound:a,tone:ring"}
    assert command.uri == f"channels/c/play/{ACTOR}.p"


def test_a_comma_in_a_media_uri_would_make_two_of_it() -> None:
    with pytest.raises(ValueError, match="comma"):
        commands.play(ACTOR, "p", "c", "p", ["sound:http://host/a,b"])


def test_offset_and_language_only_where_they_are_given() -> None:
    command = commands.play(ACTOR, "p", "c", "p", ["sound:a"], offset_ms=1500, language="de")
    assert command.query == {"media": "sound:a", "offsetms": "1500", "lang": "de"}


def test_no_variables_no_body() -> None:
    assert commands.originate(ACTOR, "o", "c", "e", app="a").body is None
    assert commands.originate(ACTOR, "o", "c", "e", app="a", variables={}).body is None


def test_an_outgoing_call_with_everything() -> None:
    command = commands.originate(
        ACTOR,
        "create",
        f"{ACTOR}.0",
        "PJSIP/call-out/sip:bob@example.test",
        app="evercall",
        app_args="a,b",
        caller_id='"Alice" <+15550100>',
        timeout=30,
        formats="ulaw",
        variables={"CALL_ID": str(ACTOR)},
    )
    assert command.query == {
        "endpoint": "PJSIP/call-out/sip:bob@example.test",
        "app": "evercall",
        "appArgs": "a,b",
        "callerId": '"Alice" <+15550100>',
        "timeout": "30",
        "formats": "ulaw",
    }
    assert command.body == {"variables": {"CALL_ID": str(ACTOR)}}


def test_channels_beside_a_call() -> None:
    snoop = commands.snoop(ACTOR, "s", "c", "s1", app="a", spy=Direction.IN)
    assert (snoop.uri, snoop.query) == (
        "channels/c/snoop/s1",
        {"app": "a", "spy": "in", "whisper": "none"},
    )
    media = commands.external_media(ACTOR, "m", "m1", "127.0.0.1:4000", app="a")
    assert media.query["external_host"] == "127.0.0.1:4000"
    assert media.query["format"] == "ulaw"


def test_bridges() -> None:
    assert commands.create_bridge(ACTOR, "b", "b1", name="n").query == {
        "type": "mixing",
        "name": "n",
    }
    added = commands.add_to_bridge(ACTOR, "a", "b1", ["c1", "c2"], mute=True)
    assert added.query == {"channel": "c1,c2", "mute": "true"}
    assert commands.remove_from_bridge(ACTOR, "r", "b1", ["c1"]).query == {"channel": "c1"}


def test_continuing_names_a_place() -> None:
    command = commands.continue_in_dialplan(ACTOR, "c", "c1", "amd")
    assert command.query == {"context": "amd", "extension": "s", "priority": "1"}


def test_digits() -> None:
    command = commands.send_dtmf(ACTOR, "d", "c", "12#", duration_ms=100)
    assert command.query == {"dtmf": "12#", "duration": "100"}
