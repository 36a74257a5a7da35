from datetime import timedelta
from uuid import UUID

import pytest

from evercall.bus.envelope import Origin, answer_decoder, encode, error_body, properties, tag_of
from evercall.contracts.base import Page, Request
from evercall.contracts.call import Call, CallGet, CallList
from evercall.service.errors import NotFound

ID = UUID(int=7)


def test_the_type_of_a_message_is_its_class_name_in_snake_case() -> None:
    assert tag_of(CallGet(id=ID, customer_id=ID)) == "call_get"


def test_a_request_class_says_what_answers_it() -> None:
    assert answer_decoder(CallGet).type is Call
    assert answer_decoder(CallList).type == Page[Call]


def test_a_request_that_does_not_say_is_an_error() -> None:
    with pytest.raises(TypeError, match="does not say"):
        answer_decoder(Request)


def test_the_properties_carry_the_deadline_and_the_way_back() -> None:
    made = properties("x", message_id="1", origin=Origin("q", "c"), expires=timedelta(seconds=1.5))
    assert (made.type, made.message_id) == ("x", "1")
    assert (made.reply_to, made.correlation_id, made.expiration) == ("q", "c", "1500")


def test_an_error_body_is_error_data() -> None:
    error = NotFound("call_not_found", "No such call", details={"id": "7"})
    assert error_body(error) == encode(error.to_data())
