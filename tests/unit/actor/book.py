"""A small service for tests of the engine: a book notes numbers, in the order in which it is told them."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import structlog

from evercall.actor import model
from evercall.actor.model import ActorKind, Answered, Decision, Failed, Index, TimerFired
from evercall.actor.testing import FakeWorld, VirtualTimeLoop
from evercall.actor.turn import Delivery, LiveActors
from evercall.bus.envelope import encode
from evercall.bus.wire import Properties
from evercall.contracts.asterisk import AriCommand
from evercall.contracts.base import Message, Request
from evercall.contracts.ids import make_id, shard_of

SERVICE = "library"
SHARDS = 2
CUSTOMER = UUID(int=1)
ECHO = "echo"
BORN = datetime(2026, 1, 1, tzinfo=UTC)


class Book(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    numbers: tuple[int, ...] = ()
    heard: tuple[str, ...] = ()


class Number(msgspec.Struct, frozen=True):
    number: int


class Note(Message, frozen=True, kw_only=True):
    """Note a number; publish an event of it; tell another book."""

    id: UUID
    number: int
    publish: bool = False
    tell: UUID | None = None


class Question(Message, frozen=True, kw_only=True):
    """Ask the service `echo` for a number, and note it when it answers."""

    id: UUID
    number: int


class Order(Message, frozen=True, kw_only=True):
    """Command an Asterisk to do something, until it is settled."""

    id: UUID
    key: str


class Ordered(Message, frozen=True, kw_only=True):
    id: UUID
    key: str


class Wait(Message, frozen=True, kw_only=True):
    """Note a number after some seconds."""

    id: UUID
    number: int
    seconds: float


class Poison(Message, frozen=True, kw_only=True):
    id: UUID
    number: int


class Read(Request[Book], frozen=True, kw_only=True):
    id: UUID


class Echo(Request[Number], frozen=True, kw_only=True):
    number: int


ACCEPTS = (Note, Question, Order, Ordered, Wait, Poison, Read)


def decide(state: Book | None, message: Message, now: datetime) -> Decision[Book]:
    book = state or Book(id=getattr(message, "id", CUSTOMER))
    match message:
        case Note(number=number):
            return Decision(_note(book, number), tuple(_said(message)))
        case Question(number=number):
            ask = model.Ask(f"echo-{number}", ECHO, Echo(number=number))
            return Decision(book, (ask,))
        case Answered(body=Number(number)):
            return Decision(_note(book, number))
        case Failed(key=key, error=error):
            return Decision(_hear(book, f"{key}: {error.code}"))
        case Order(key=key):
            command = AriCommand(actor=book.id, key=key, method="POST", uri=f"/{key}")
            return Decision(book, (model.Command("a1", "boot", command),))
        case Ordered(key=key):
            return Decision(book, (model.Settle(key),))
        case Wait(number=number, seconds=seconds):
            at = now + timedelta(seconds=seconds)
            return Decision(book, (model.SetTimer(f"wait-{number}", at),))
        case TimerFired(name=name):
            return Decision(_note(book, int(name.removeprefix("wait-"))))
        case Read():
            return Decision(state, (model.Reply(book),))
        case Poison():
            raise RuntimeError("poison")
    raise AssertionError(message)


def _said(note: Note) -> Iterator[model.Effect]:
    if note.publish:
        yield model.Publish("book", "noted", CUSTOMER, Number(note.number))
    if note.tell is not None:
        yield model.Tell(SERVICE, note.tell, Note(id=note.tell, number=note.number))


def _note(book: Book, number: int) -> Book:
    return msgspec.structs.replace(book, numbers=(*book.numbers, number))


def _hear(book: Book, what: str) -> Book:
    return msgspec.structs.replace(book, heard=(*book.heard, what))


KIND = ActorKind("book", Book, decide, lambda _: Index(CUSTOMER, BORN, live=True))


def receive(message: Message, live: LiveActors) -> Iterable[Delivery]:
    del live
    return [Delivery("book", message.id, message)]  # type: ignore[attr-defined]


class Library(FakeWorld):
    """The service, its surroundings, and what they look like from outside."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__(loop, SERVICE, SHARDS, [KIND], ACCEPTS, receive)

    def book(self, identifier: UUID) -> Book:
        """A book as it is committed."""
        row = self.tables.rows.get(identifier)
        if row is None:
            return Book(id=identifier)
        return msgspec.json.decode(msgspec.json.decode(row[7], type=_Record).state, type=Book)

    def commands(self) -> list[str]:
        """The keys of all commands that were sent."""
        sent = [one.body for one in self.broker.published if one.routing_key == "asterisk.a1"]
        return [
            command["key"] for body in sent for command in msgspec.json.decode(body)["commands"]
        ]

    def events(self) -> dict[int, set[str]]:
        """The ids of published events, by the number that they tell of."""
        found: dict[int, set[str]] = {}
        for letter in self.broker.published:
            if letter.exchange == "evercall.events":
                event = msgspec.json.decode(letter.body)
                found.setdefault(event["resource"]["number"], set()).add(event["id"])
        return found

    def answer_questions(self, *, lose: int = 0) -> int:
        """The service `echo` works off its queue; the first `lose` answers vanish. Returns how many are
        still to be lost."""
        waiting = self.broker.queues[ECHO]
        while waiting:
            headers, body = waiting.popleft()
            if lose:
                lose -= 1
                continue
            number = msgspec.json.decode(body, type=Echo).number
            answer = Properties(type="answer", correlation_id=headers.correlation_id)
            self.broker.put(str(headers.reply_to), answer, encode(Number(number)))
        return lose


class _Record(msgspec.Struct):
    state: msgspec.Raw


def book_in(shard: int, number: int = 0) -> UUID:
    """The id of a book in that shard."""
    identifier = make_id(1, bytes([number]) + bytes(8) + bytes([shard]))
    assert shard_of(identifier, SHARDS) == shard
    return identifier


@contextmanager
def library() -> Iterator[Library]:
    """A library without replicas."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    loop = VirtualTimeLoop()
    world = Library(loop)
    try:
        yield world
    finally:
        for name in list(world.replicas):
            loop.run_until_complete(world.kill(name))
        loop.close()
        asyncio.set_event_loop(None)
        structlog.reset_defaults()
