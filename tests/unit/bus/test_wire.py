"""Our AMQP codec against pamqp's, in both directions."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, header
from pamqp import frame as pamqp_frame

from evercall.bus import wire
from evercall.bus.wire import Confirmed, Content, Delivered, Properties, Reader, Returned, WireError

texts = st.text(max_size=60).filter(lambda text: len(text.encode()) < 256)
optional = st.none() | texts.filter(bool)  # pamqp leaves empty ones out
properties = st.builds(
    Properties,
    type=texts,
    message_id=texts,
    correlation_id=optional,
    reply_to=optional,
    expiration=optional,
    persistent=st.booleans(),
)


def as_pamqp(ours: Properties) -> commands.Basic.Properties:
    return commands.Basic.Properties(
        content_type="application/json",
        message_type=ours.type or None,
        message_id=ours.message_id or None,
        correlation_id=ours.correlation_id,
        reply_to=ours.reply_to,
        expiration=ours.expiration,
        delivery_mode=2 if ours.persistent else 1,
    )


@given(properties, st.binary(max_size=300), texts, texts, st.booleans())
def test_pamqp_understands_what_we_publish(
    ours: Properties, content: bytes, exchange: str, key: str, mandatory: bool
) -> None:
    data = wire.publish(3, exchange, key, ours, content, mandatory=mandatory, frame_max=100)
    frames: list[Any] = []
    while data:
        used, channel, frame = pamqp_frame.unmarshal(data)
        assert channel == 3
        frames.append(frame)
        data = data[used:]
    method, head, *pieces = frames
    assert (method.exchange, method.routing_key, method.mandatory) == (exchange, key, mandatory)
    assert head.body_size == len(content)
    assert dict(head.properties) == dict(as_pamqp(ours))
    assert b"".join(piece.value for piece in pieces) == content
    assert all(len(piece.value) <= 92 for piece in pieces)


@given(properties, st.binary(min_size=1, max_size=300), st.data())
def test_we_understand_what_pamqp_sends_in_any_pieces(
    theirs: Properties, content: bytes, data: st.DataObject
) -> None:
    deliver = commands.Basic.Deliver("c.1", 7, False, "an.exchange", "a.key")
    stream = (
        pamqp_frame.marshal(deliver, 2)
        + pamqp_frame.marshal(header.ContentHeader(0, len(content), as_pamqp(theirs)), 2)
        + pamqp_frame.marshal(body.ContentBody(content), 2)
    )
    reader = Reader()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += list(reader.feed(stream[:size]))
        stream = stream[size:]
    assert found == [
        (2, Delivered("c.1", 7, "a.key")),
        (2, Content(len(content), theirs)),
        (2, content),
    ]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (commands.Basic.Ack(9, True), Confirmed(9, True, False)),
        (commands.Basic.Nack(9, False, False), Confirmed(9, False, True)),
        (commands.Basic.Return(312, "NO_ROUTE", "an.exchange", "a.key"), Returned("a.key")),
    ],
)
def test_confirms_and_returns(method: object, expected: object) -> None:
    data = pamqp_frame.marshal(method, 1)  # type: ignore[arg-type]
    assert list(Reader().feed(data)) == [(1, expected)]


def test_a_property_that_we_do_not_use_is_passed_over() -> None:
    theirs = commands.Basic.Properties(
        content_type="text/plain", headers={"a": "b"}, priority=3, message_type="x", app_id="y"
    )
    data = pamqp_frame.marshal(header.ContentHeader(0, 0, theirs), 1)
    assert list(Reader().feed(data)) == [(1, Content(0, Properties(type="x", persistent=False)))]


def test_an_ack_is_pamqps_ack() -> None:
    assert wire.ack(4, 11, multiple=True) == pamqp_frame.marshal(commands.Basic.Ack(11, True), 4)


def test_other_methods_are_pamqps_and_a_heartbeat_is_nothing() -> None:
    data = pamqp_frame.marshal(commands.Channel.OpenOk(), 5) + wire.HEARTBEAT_FRAME
    (first, opened), second = Reader().feed(data)
    assert (first, type(opened)) == (5, commands.Channel.OpenOk)
    assert second == (0, None)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x01\x00\x01\x00\x00\x00\x02\x00\x3c\x00",
        b"\x01\x00\x01\x00\x00\x00\x05\x00\x3c\x00\x3c\x01\xce",
        b"\x02\x00\x01\x00\x00\x00\x01\x00\xce",
        b"\x07\x00\x01\x00\x00\x00\x00\xce",
        b"\x01\x00\x01\xff\xff\xff\xff\x00",
        b"\x01\x00\x01\x00\x00\x00\x04\x00\x63\x00\x63\xce",
        b"\x01\x00\x01\x00\x00\x00\x04\x00\x0a\x00\x0a\xce",
    ],
)
def test_what_is_not_amqp_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        list(Reader().feed(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_wire_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        list(Reader().feed(data))


def test_a_text_that_is_no_utf_8_is_read_all_the_same() -> None:
    data = pamqp_frame.marshal(
        header.ContentHeader(0, 0, commands.Basic.Properties(message_type="ab")), 1
    )
    [(_, content)] = list(Reader().feed(data.replace(b"\x02ab", b"\x02\xffb")))
    assert content == Content(0, Properties("\ufffdb", persistent=False))
