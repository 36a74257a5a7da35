"""The client against a broker that is played: alarms, slow sockets, refusals, missing confirms.

What a real RabbitMQ does is asked in `tests/contract/bus` and `tests/contract/broker`.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pamqp import commands
from pamqp import frame as pamqp_frame

from evercall.bus import amqp
from evercall.bus.amqp import AmqpConnection, Channel, Closed, Congested, Declined, Refused
from evercall.bus.wire import Properties, Reader
from evercall.service.errors import InvalidRequest, TooLarge

BODY = Properties(message_id="1")


class Broker(asyncio.Transport):
    """A socket whose other end does only what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = AmqpConnection()
        self.reader = Reader()
        self.heard: list[tuple[int, Any]] = []
        self.waiting = 0
        self.aborted = False
        self.limits = (0, 0)
        self.connection.connection_made(self)

    def write(self, data: Any) -> None:
        self.heard += list(self.reader.feed(bytes(data)))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high or 0, low or 0)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def say(self, method: Any, channel: int) -> None:
        self.connection.data_received(pamqp_frame.marshal(method, channel))

    def methods(self, channel: int) -> list[str]:
        return [
            frame.name
            for number, frame in self.heard
            if number == channel and hasattr(frame, "name")
        ]


@pytest.fixture
async def broker() -> Broker:
    return Broker()


@pytest.fixture
async def channel(broker: Broker) -> AsyncIterator[Channel]:
    opening = asyncio.ensure_future(broker.connection.channel(confirms=True))
    await asyncio.sleep(0)
    broker.say(commands.Channel.OpenOk(), 1)
    await asyncio.sleep(0)
    broker.say(commands.Confirm.SelectOk(), 1)
    yield await opening
    broker.connection.fail("the test is over")


def publish(channel: Channel, body: bytes = b"x") -> "asyncio.Future[None]":
    return channel.publish("", "queue", BODY, body)


async def test_a_blocked_connection_refuses_messages_but_not_acks(
    broker: Broker, channel: Channel
) -> None:
    broker.say(commands.Connection.Blocked("low on memory"), 0)
    assert broker.connection.congested
    assert broker.connection.blocked == "low on memory"
    with pytest.raises(Congested, match="low on memory"):
        publish(channel)
    channel.ack(1)

    broker.say(commands.Connection.Unblocked(), 0)
    assert not broker.connection.congested
    publish(channel)


async def test_a_slow_socket_is_congested_and_bounded(broker: Broker, channel: Channel) -> None:
    broker.connection.pause_writing()
    assert broker.connection.congested
    publish(channel)
    broker.waiting = amqp.MOST_UNSENT + 1
    with pytest.raises(Congested):
        publish(channel)
    channel.ack(1)
    waiting = asyncio.ensure_future(channel.room())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    broker.waiting = 0
    broker.connection.resume_writing()
    await waiting
    publish(channel)


async def test_what_one_turn_of_the_loop_writes_is_bounded_too(channel: Channel) -> None:
    piece = b"x" * (amqp.LARGEST_BODY // 2)
    for _ in range(amqp.MOST_UNSENT // len(piece)):
        publish(channel, piece)
    with pytest.raises(Congested):
        publish(channel, piece)
    assert channel.full
    await channel.room()
    assert not channel.full
    publish(channel, piece)


async def test_who_waits_for_room_hears_of_the_end(broker: Broker, channel: Channel) -> None:
    broker.connection.pause_writing()
    waiting = asyncio.ensure_future(channel.room())
    await asyncio.sleep(0)
    broker.connection.connection_lost(None)
    with pytest.raises(Closed):
        await waiting


async def test_confirms_that_nobody_waits_for_are_forgotten(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp, "MOST_UNCONFIRMED", 3)
    for _ in range(30):
        publish(channel).cancel()
    waiting = [publish(channel) for _ in range(3)]
    with pytest.raises(Congested):
        publish(channel)
    assert not any(future.done() for future in waiting)


async def test_confirms_reach_those_who_wait(broker: Broker, channel: Channel) -> None:
    first, second, third = (publish(channel) for _ in range(3))
    broker.say(commands.Basic.Ack(2, multiple=True), 1)
    assert (first.done(), second.done(), third.done()) == (True, True, False)
    broker.say(commands.Basic.Nack(3), 1)
    assert isinstance(third.exception(), Refused)


async def test_a_message_that_is_too_large_is_refused_and_the_connection_lives(
    broker: Broker, channel: Channel
) -> None:
    with pytest.raises(TooLarge, match="message_too_large"):
        publish(channel, b"x" * (amqp.LARGEST_BODY + 1))
    with pytest.raises(InvalidRequest, match="message_header_too_long"):
        channel.send("", "k" * 256, BODY, b"")
    await channel.room()
    assert broker.methods(1) == ["Channel.Open", "Confirm.Select"]
    assert channel.open


async def test_a_refused_declaration_costs_its_channel_only(broker: Broker) -> None:
    opening = asyncio.ensure_future(broker.connection.channel())
    await asyncio.sleep(0)
    broker.say(commands.Channel.OpenOk(), 1)
    channel = await opening
    declaring = asyncio.ensure_future(channel.declare_queue("queue"))
    await asyncio.sleep(0)
    broker.say(commands.Channel.Close(406, "PRECONDITION_FAILED", 50, 10), 1)
    with pytest.raises(Declined, match="406") as caught:
        await declaring
    assert caught.value.code == 406
    assert not channel.open
    with pytest.raises(Closed):
        channel.send("", "queue", BODY, b"")
    assert not broker.connection.ended.is_set()
    await asyncio.sleep(0)
    assert broker.methods(1)[-1] == "Channel.CloseOk"

    again = asyncio.ensure_future(broker.connection.channel())
    await asyncio.sleep(0)
    broker.say(commands.Channel.OpenOk(), 1)
    assert (await again).open


async def test_a_channel_that_holds_messages_ends_the_connection_with_it(
    broker: Broker, channel: Channel
) -> None:
    unconfirmed = publish(channel)
    broker.say(commands.Channel.Close(404, "NOT_FOUND", 60, 40), 1)
    assert broker.connection.ended.is_set()
    assert isinstance(unconfirmed.exception(), Closed)
