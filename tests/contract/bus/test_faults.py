"""One message, one queue or one handler that is at fault costs itself only, on the real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from deploy.lab.lab import Lab
from evercall.bus import topology
from evercall.bus.amqp import LARGEST_BODY, Delivery
from evercall.bus.bus import Bus, Letter
from evercall.bus.connection import Session
from evercall.bus.envelope import Origin, properties
from evercall.bus.wire import Properties
from evercall.contracts.base import Empty, Message, Request, ResourceEvent
from evercall.service.errors import Internal, TooLarge, Unavailable
from evercall.service.identity import new_id


class Echoed(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class Echo(Request[Echoed], frozen=True, kw_only=True):
    text: str = ""
    size: int = 0


class Other(Request[Empty], frozen=True, kw_only=True):
    pass


class Note(Message, frozen=True, kw_only=True):
    number: int


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    id: object


async def echo(request: Echo) -> Echoed:
    return Echoed(text=request.text or "x" * request.size)


@pytest.fixture
async def bus(lab: Lab) -> AsyncIterator[Bus]:
    url = dict(lab.farm.of_module("flow_manager")[0].environment)["EVERCALL_AMQP_URL"]
    bus = Bus(url, "test")
    running = asyncio.create_task(bus.run())
    assert await bus.wait_connected(10.0)
    yield bus
    await bus.close()
    await running


@pytest.fixture
async def name(bus: Bus) -> AsyncIterator[str]:
    """Of a queue that does not outlive the test."""
    made = f"faults.{new_id().hex[-12:]}"
    yield made

    async def delete(session: Session) -> None:
        await (await session.channel()).delete_queue(made)

    await bus.attach(delete)


def session_of(bus: Bus) -> Session:
    session = bus._connection.session
    assert session is not None
    return session


async def test_what_is_too_large_is_refused_and_the_session_goes_on(bus: Bus, name: str) -> None:
    session = session_of(bus)
    await bus.serve(name, {Echo: echo})
    with pytest.raises(TooLarge, match="message_too_large"):
        await bus.ask(name, Echo(text="x" * LARGEST_BODY))
    with pytest.raises(Internal, match="answer_too_large"):
        await bus.ask(name, Echo(size=LARGEST_BODY))
    letter = Letter(topology.RPC, name, Properties(), b"x" * (LARGEST_BODY + 1))
    assert not await bus.publish_all([letter])
    nearly = "x" * (LARGEST_BODY - 100)
    assert (await bus.ask(name, Echo(text=nearly))).text == nearly
    assert session_of(bus) is session


async def test_more_than_the_socket_takes_at_once_is_published_in_pieces(
    bus: Bus, name: str
) -> None:
    """A batch is larger than all that may wait unsent."""
    heard = asyncio.Semaphore(0)

    async def count(notes: list[Note]) -> None:
        for _ in notes:
            heard.release()

    await bus.consume(name, (Note,), count)
    body = b'{"type":"note","number":1,"padding":"' + b"x" * 1_000_000 + b'"}'
    assert await bus.publish_all([Letter(topology.RPC, name, Properties(), body)] * 20)
    async with asyncio.timeout(20):
        for _ in range(20):
            await heard.acquire()


async def test_an_answer_that_cannot_be_read_fails_its_own_request_only(
    bus: Bus, name: str
) -> None:
    session = session_of(bus)

    async def serve_nonsense(begun: Session) -> None:
        channel = await begun.channel()
        await topology.declare_queue(channel, name, topology.SERVICE_ARGUMENTS)

        def hear(delivery: Delivery) -> None:
            told = delivery.properties
            assert told.reply_to is not None
            origin = Origin(told.reply_to, told.correlation_id)
            task = asyncio.ensure_future(bus.reply(origin, b'{"text":17}', error=False))
            tasks.add(task)

        tasks: set[asyncio.Future[None]] = set()
        await channel.consume(name, hear, no_ack=True)

    await bus.attach(serve_nonsense)
    for _ in range(3):
        with pytest.raises(Internal, match="unreadable_answer"):
            await bus.ask(name, Echo(text="x"))
    assert session_of(bus) is session


async def test_a_request_that_is_not_understood_is_answered_and_the_others_are_heard(
    bus: Bus, name: str
) -> None:
    heard: list[int] = []

    async def hear(notes: list[Note]) -> None:
        heard.extend(note.number for note in notes)

    await bus.consume(name, (Note,), hear)
    await bus.publish(name, Note(number=1))
    with pytest.raises(Exception, match="invalid_argument"):
        await bus.ask(name, Other())
    await bus.publish(name, Note(number=2))
    async with asyncio.timeout(5):
        while heard != [1, 2]:
            await asyncio.sleep(0.02)


async def test_a_queue_of_another_kind_costs_its_own_part_until_it_is_replaced(
    bus: Bus, name: str
) -> None:
    """It was declared otherwise, and holds something. Nothing of it is lost."""
    session = session_of(bus)
    old = await session.channel()
    await old.declare_queue(name, {"x-queue-type": "classic"})
    headers = properties("note", message_id="1")
    await bus._publish("", name, b"kept", headers)

    await bus.serve(name, {Echo: echo})
    other = f"{name}.other"
    await bus.serve(other, {Echo: echo}, own=True)
    assert (await bus.ask(other, Echo(text="works"))).text == "works"

    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    drain = await session.channel()
    await drain.consume(name, arrived.put_nowait, no_ack=True)
    async with asyncio.timeout(5):
        assert (await arrived.get()).body == b"kept"
    await drain.close()
    async with asyncio.timeout(15):
        while True:
            try:
                assert (await bus.ask(name, Echo(text="now"))).text == "now"
            except Unavailable:
                await asyncio.sleep(0.2)
            else:
                break
    assert session_of(bus) is session


async def test_a_durable_event_stays_until_its_handler_has_taken_it(bus: Bus, name: str) -> None:
    heard: list[str] = []

    async def hear(event: ResourceEvent) -> None:
        heard.append(event.type)
        if len(heard) < 4:
            raise RuntimeError("the webhook is away")

    customer = new_id()
    await bus.subscribe_events([f"{customer}.number.*"], hear, queue=name)
    for event in ("created", "updated"):
        await bus.publish_event("number", event, customer, Resource(id=customer))
    async with asyncio.timeout(10):
        while len(heard) < 5:
            await asyncio.sleep(0.02)
    assert heard == ["number_created"] * 4 + ["number_updated"]


async def test_a_command_that_no_queue_takes_is_noticed(bus: Bus, name: str) -> None:
    unsent = asyncio.Event()
    headers = properties("note", message_id=new_id().hex)
    await bus.send(topology.RPC, "asterisk.nowhere", b"{}", headers, on_unsent=unsent.set)
    async with asyncio.timeout(5):
        await unsent.wait()

    unsent.clear()
    await bus.consume(name, (Note,), _ignore)
    await bus.send(topology.RPC, name, b"{}", headers, on_unsent=unsent.set)
    await bus.publish(name, Note(number=int(datetime.now(UTC).timestamp())))
    assert not unsent.is_set()


async def _ignore(_: list[Note]) -> None:
    return
