"""The bus on the real RabbitMQ: requests, refusals, absent services, lost connections."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from deploy.lab.lab import Lab
from evercall.bus import topology
from evercall.bus.bus import Bus, Letter
from evercall.bus.connection import Session
from evercall.bus.wire import Properties
from evercall.contracts.asterisk import Heartbeat
from evercall.contracts.base import Empty, Request, ResourceEvent
from evercall.contracts.route import Number, NumberGet
from evercall.service.errors import DeadlineExceeded, Internal, NotFound, Unavailable
from evercall.service.identity import new_id


class Greet(Request[Empty], frozen=True, kw_only=True):
    how: str


async def greet(request: Greet) -> Empty:
    if request.how == "unknown":
        raise NotFound("nobody_here", "Nobody here", details={"how": request.how})
    if request.how == "break":
        raise RuntimeError("a secret of the inside")
    if request.how == "slow":
        await asyncio.sleep(5)
    return Empty()


@pytest.fixture
async def bus(lab: Lab) -> AsyncIterator[Bus]:
    environment = dict(lab.farm.of_module("flow_manager")[0].environment)
    bus = Bus(environment["EVERCALL_AMQP_URL"], "test")
    running = asyncio.create_task(bus.run())
    while not bus.connected:
        await asyncio.sleep(0.02)
    yield bus
    await bus.close()
    await running


@pytest.fixture
async def service(bus: Bus) -> AsyncIterator[str]:
    name = f"greeter_{new_id().hex[-12:]}"
    await bus.serve(name, {Greet: greet})
    yield name

    async def delete(session: Session) -> None:
        await (await session.channel()).delete_queue(name)

    await bus.attach(delete)


async def test_a_request_is_answered(bus: Bus, service: str) -> None:
    assert await bus.ask(service, Greet(how="well")) == Empty()


async def test_a_refusal_comes_back_as_the_error_that_was_raised(bus: Bus, service: str) -> None:
    with pytest.raises(NotFound) as caught:
        await bus.ask(service, Greet(how="unknown"))
    assert (caught.value.code, caught.value.details) == ("nobody_here", {"how": "unknown"})


async def test_a_fault_of_the_service_does_not_tell_its_inside(bus: Bus, service: str) -> None:
    with pytest.raises(Internal) as caught:
        await bus.ask(service, Greet(how="break"))
    assert "secret" not in str(caught.value)
    assert await bus.ask(service, Greet(how="well")) == Empty()


async def test_what_is_no_request_of_the_service_is_refused_by_name(bus: Bus, service: str) -> None:
    request = NumberGet(id=new_id(), customer_id=new_id())
    with pytest.raises(Exception, match="invalid_argument"):
        await bus.ask(service, request)


async def test_an_absent_service_is_known_at_once_not_after_a_time_out(bus: Bus) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await bus.ask("no_such_service", Greet(how="well"))
    assert caught.value.code == "service_unavailable"
    assert time.monotonic() - began < 1.0


async def test_a_slow_service_is_a_time_out_and_its_late_answer_disturbs_nobody(
    bus: Bus, service: str
) -> None:
    with pytest.raises(DeadlineExceeded):
        await bus.ask(service, Greet(how="slow"), timeout=0.2)
    assert await bus.ask(service, Greet(how="well")) == Empty()


async def test_after_a_lost_connection_callers_fail_at_once_and_all_works_again(
    bus: Bus, service: str
) -> None:
    waiting = asyncio.create_task(bus.ask(service, Greet(how="slow")))
    await asyncio.sleep(0.1)
    session = bus._connection.session
    assert session is not None
    await session.close()
    with pytest.raises(Unavailable, match="broker_unavailable"):
        await waiting
    async with asyncio.timeout(10):
        while not bus.connected:
            await asyncio.sleep(0.02)
        assert await bus.ask(service, Greet(how="well")) == Empty()


async def test_a_channel_that_the_broker_closes_is_replaced(bus: Bus, service: str) -> None:
    async def misbehave(session: Session) -> None:
        channel = await session.channel()
        channel.ack(4711)  # no such delivery: 406 PRECONDITION_FAILED

    session = bus._connection.session
    assert session is not None
    await misbehave(session)
    async with asyncio.timeout(10):
        await session.ended.wait()
        while not bus.connected:
            await asyncio.sleep(0.02)
        assert await bus.ask(service, Greet(how="well")) == Empty()


async def test_events_reach_every_subscriber_that_asked_for_them(bus: Bus) -> None:
    heard: asyncio.Queue[ResourceEvent] = asyncio.Queue()
    await bus.subscribe_events(["*.number.updated"], heard.put)
    customer = new_id()
    now = time.time()
    number = Number(
        id=new_id(), customer_id=customer, number="+4930123456",
        tm_create=_at(now), tm_update=_at(now),
    )  # fmt: skip
    await bus.publish_event("number", "created", customer, number)
    await bus.publish_event("number", "updated", customer, number)
    async with asyncio.timeout(5):
        event = await heard.get()
    assert (event.type, event.customer_id, event.resource_id) == (
        "number_updated", customer, number.id,
    )  # fmt: skip


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def test_heartbeats_are_heard(bus: Bus) -> None:
    heard: asyncio.Queue[Heartbeat] = asyncio.Queue()
    await bus.subscribe_farm(["heartbeat.test-bus"], (Heartbeat,), heard.put)
    beat = Heartbeat(
        asterisk_id="test-bus", role="call", boot_id="1", sip_address="192.0.2.1:5060", connected=True,
        draining=False, channels=0, at=_at(0),
    )  # fmt: skip
    await bus.publish_farm("heartbeat.test-bus", beat)
    async with asyncio.timeout(5):
        assert await heard.get() == beat


async def test_a_consumer_gets_what_has_arrived_in_order(bus: Bus) -> None:
    key = f"asterisk.test-{new_id().hex[-12:]}"
    batches: asyncio.Queue[list[Greet]] = asyncio.Queue()
    await bus.consume(key, (Greet,), batches.put)
    for number in range(20):
        await bus.publish(key, Greet(how=str(number)))
    for body in (b"not json", b'{"type":"greet","how":"\xff"}', b'{"type":' + b"[" * 100_000):
        garbage = Letter(topology.RPC, key, Properties(message_id="garbage"), body)
        assert await bus.publish_all([garbage])
    await bus.publish(key, Greet(how="20"))
    got: list[str] = []
    async with asyncio.timeout(5):
        while len(got) < 21:
            got += [message.how for message in await batches.get()]
    assert got == [str(number) for number in range(21)]

    async def delete(session: Session) -> None:
        await (await session.channel()).delete_queue(key)

    await bus.attach(delete)
