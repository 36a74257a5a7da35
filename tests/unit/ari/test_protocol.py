"""Requests, answers, and what is still open."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from evercall.ari import commands
from evercall.ari.events import decode
from evercall.ari.frames import decode_head
from evercall.ari.protocol import (
    OpenRequests,
    command_id,
    encode_command,
    encode_request,
    explanation,
    no_answer,
    refusal,
)
from evercall.contracts.asterisk import NO_ANSWER, ProxyReason, RefusedCommand

DATA = Path(__file__).parents[2] / "data" / "ari"
ACTOR = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e2e8f7")


def body_of(frame: bytes) -> dict[str, Any]:
    head = decode_head(frame)
    assert head is not None
    body: dict[str, Any] = json.loads(frame[head.size :])
    return body


def test_a_command_as_asterisk_wants_it() -> None:
    command = commands.originate(
        ACTOR, "create", f"{ACTOR}.0", "PJSIP/a", app="evercall", variables={"A": "é, \u0000"}
    )
    body = body_of(encode_command(command))
    assert body.pop("message_body") == '{"variables":{"A":"é, \\u0000"}}'
    assert body == {
        "type": "RESTRequest",
        "request_id": f"{ACTOR}create",
        "method": "POST",
        "uri": f"channels/{ACTOR}.0",
        "query_strings": [
            {"name": "endpoint", "value": "PJSIP/a"},
            {"name": "app", "value": "evercall"},
            {"name": "timeout", "value": "-1"},
        ],
        "content_type": "application/json",
    }


def test_what_is_empty_is_left_out() -> None:
    body = body_of(encode_request("=channels", "GET", "channels"))
    assert body == {
        "type": "RESTRequest",
        "request_id": "=channels",
        "method": "GET",
        "uri": "channels",
    }


def test_a_recorded_refusal() -> None:
    response = decode((DATA / "rest_response_refused.json").read_bytes())
    assert refusal(response) == RefusedCommand(
        actor=ACTOR, key="hangup", status=404, reason="Channel not found"
    )


def test_recorded_successes_refuse_nothing() -> None:
    for name in ("no_content", "created", "channels", "info", "filter"):
        assert refusal(decode((DATA / f"rest_response_{name}.json").read_bytes())) is None


def test_an_explanation_without_a_message_is_the_reason_phrase() -> None:
    for body in ("", "[]", '{"other":1}', "{"):
        response = {"type": "RESTResponse", "reason_phrase": "Conflict", "message_body": body}
        assert explanation(decode(json.dumps(response).encode())) == "Conflict"


def test_questions_of_our_own_are_nobody_s_command() -> None:
    assert no_answer("=info", ProxyReason.UNANSWERED) is None


@given(st.uuids(), st.text(max_size=40))
def test_an_id_says_whose_command_it_was(actor: UUID, key: str) -> None:
    command = commands.answer(actor, key, "channel")
    refused = no_answer(command_id(command), ProxyReason.UNANSWERED)
    assert refused == RefusedCommand(actor=actor, key=key, status=NO_ANSWER, reason="no_answer")


def test_open_requests_grow_old_in_order() -> None:
    requests = OpenRequests(10.0)
    requests.sent("a", "uri/a", now=0.0)
    requests.sent("b", "uri/b", now=5.0)
    requests.sent("c", "uri/c", now=6.0)
    requests.answered("b")
    requests.answered("never asked")
    assert list(requests.take_overdue(9.9)) == []
    assert list(requests.take_overdue(10.0)) == [("a", "uri/a")]
    assert len(requests) == 1
    assert requests.take_all() == [("c", "uri/c")]
    assert list(requests.take_overdue(1000.0)) == []


def test_a_request_that_is_repeated_waits_from_then_on() -> None:
    requests = OpenRequests(10.0)
    requests.sent("a", "uri", now=0.0)
    requests.sent("b", "uri", now=1.0)
    requests.sent("a", "uri", now=2.0)
    assert list(requests.take_overdue(11.0)) == [("b", "uri")]
    assert list(requests.take_overdue(12.0)) == [("a", "uri")]
