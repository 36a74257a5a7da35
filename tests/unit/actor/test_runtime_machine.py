"""The engine under any interleaving of messages, failures, moves of ownership and restarts.

What must hold, whatever happens:

- a message that was acked is in the state, or a dead letter for its own fault;
- nothing is applied twice;
- each actor has what it was sent in the order in which it was sent;
- an owner that was fenced has no effect: what was published is in the state, under one id;
- what the engine keeps in memory is bounded by what is unacked;
- when the failures are over everything is worked off without help: messages, timers, questions, commands, events.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evercall.actor.testing import Replica
from evercall.bus.wire import Properties
from tests.unit.actor.book import (
    SHARDS,
    Library,
    Note,
    Order,
    Ordered,
    Poison,
    Question,
    Wait,
    book_in,
    library,
)

BOOKS = [book_in(shard, number) for shard in range(SHARDS) for number in range(2)]
ERRORS = [
    asyncpg.ReadOnlySQLTransactionError("read-only"),
    asyncpg.LockNotAvailableError("lock timeout"),
    asyncpg.InvalidPasswordError("rotated"),
    asyncpg.ConnectionDoesNotExistError("gone"),
    ConnectionResetError("reset"),
    TimeoutError(),
]
NAMES = ("one", "two", "three")
PAUSES = (0.0, 0.01, 0.06)

books = st.sampled_from(BOOKS)
replicas = st.sampled_from(NAMES)


class Engine(RuleBasedStateMachine):
    """Sends, breaks, and compares what came of it with what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.context = library()
        self.world: Library = self.context.__enter__()
        self.number = 0
        self.sent: dict[UUID, list[int]] = {book: [] for book in BOOKS}
        """Numbers by book, in the order in which the broker got them."""
        self.elsewhere: dict[UUID, set[int]] = {book: set() for book in BOOKS}
        """Numbers that reach a book by another book, a timer or an answer: once, in no certain order."""
        self.poison: set[str] = set()
        self.published: set[int] = set()
        self.open_orders: dict[str, UUID] = {}
        self.keys: set[str] = set()
        self.unreadable: set[UUID] = set()
        self.lose = 0
        self.faults: list[str] = []
        self.world.broker.on_ack.append(self.on_ack)

    @initialize()
    def start_first(self) -> None:
        self.start("one")

    # -- what is sent --------------------------------------------------------------------------

    def next(self) -> int:
        self.number += 1
        return self.number

    @rule(book=books, publish=st.booleans(), to=st.none() | books)
    def note(self, book: UUID, publish: bool, to: UUID | None) -> None:
        number = self.next()
        self.sent[book].append(number)
        if publish:
            self.published.add(number)
        if to is not None and to != book:
            self.elsewhere[to].add(number)
        else:
            to = None
        message = Note(id=book, number=number, publish=publish, tell=to)
        self.world.tell(book, message, f"note-{number}")

    @rule(
        operation=st.sampled_from(["claims", "loads", "commits", "lost_outcomes"]),
        error=st.sampled_from(ERRORS),
        bursts=st.lists(st.tuples(books, st.booleans(), st.sampled_from(PAUSES)), min_size=3),
    )
    def work_while_the_store_fails(
        self, operation: str, error: Exception, bursts: list[tuple[UUID, bool, float]]
    ) -> None:
        for name in self.world.replicas:
            self.break_store(name, operation, error, 1)
        self.work(bursts)

    @rule(
        fault=st.sampled_from(["refused", "unconfirmed", "lost"]),
        bursts=st.lists(st.tuples(books, st.booleans(), st.sampled_from(PAUSES)), min_size=3),
    )
    def work_while_the_broker_fails(
        self, fault: str, bursts: list[tuple[UUID, bool, float]]
    ) -> None:
        for name in self.world.replicas:
            self.break_bus(name, fault, 3)
            self.slow_bus(name, 0.05)
        self.ask(bursts[0][0])
        self.order(bursts[-1][0])
        self.work(bursts)

    @rule(
        bursts=st.lists(st.tuples(books, st.booleans(), st.sampled_from(PAUSES)), min_size=3),
        shard=st.integers(0, SHARDS - 1),
    )
    def work_while_ownership_moves(
        self, bursts: list[tuple[UUID, bool, float]], shard: int
    ) -> None:
        self.start("one")
        self.start("two")
        self.work(bursts[:2])
        self.move(shard)
        self.work(bursts[2:])
        self.kill("one")

    def work(self, bursts: list[tuple[UUID, bool, float]]) -> None:
        for book, publish, pause in bursts:
            self.note(book, publish, None)
            self.note(book, publish, None)
            if pause:
                self.world.run(pause)

    @rule(book=books)
    def send_poison(self, book: UUID) -> None:
        number = self.next()
        self.poison.add(f"poison-{number}")
        self.world.tell(book, Poison(id=book, number=number), f"poison-{number}")

    @rule(book=books)
    def send_garbage(self, book: UUID) -> None:
        number = self.next()
        self.poison.add(f"garbage-{number}")
        headers = Properties(type="later", message_id=f"garbage-{number}")
        self.world.broker.put(self.world.queue_of(book), headers, b'{"type":"later"}')

    @rule(book=books)
    def ask(self, book: UUID) -> None:
        number = self.next()
        self.elsewhere[book].add(number)
        self.world.tell(book, Question(id=book, number=number), f"question-{number}")

    @rule(book=books, seconds=st.sampled_from([0.01, 1.0, 20.0]))
    def wait(self, book: UUID, seconds: float) -> None:
        number = self.next()
        self.elsewhere[book].add(number)
        self.world.tell(book, Wait(id=book, number=number, seconds=seconds), f"wait-{number}")

    @rule(book=books)
    def order(self, book: UUID) -> None:
        key = f"key-{self.next()}"
        self.open_orders[key] = book
        self.keys.add(key)
        self.world.tell(book, Order(id=book, key=key), f"order-{key}")

    def carried_out(self) -> list[str]:
        """Only a command that reached its Asterisk can be settled."""
        return sorted(self.open_orders.keys() & set(self.world.commands()))

    @precondition(lambda self: self.carried_out())
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.carried_out()))
        book = self.open_orders.pop(key)
        self.world.tell(book, Ordered(id=book, key=key), f"settle-{key}")

    # -- what passes, and what breaks ----------------------------------------------------------

    @rule(seconds=st.sampled_from([0.001, 0.03, 0.06, 0.5, 3.0, 12.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule()
    def answer(self) -> None:
        self.lose = self.world.answer_questions(lose=self.lose)

    @rule()
    def lose_answers(self) -> None:
        self.lose += 2

    @rule(name=replicas)
    def start(self, name: str) -> None:
        if name in self.world.replicas:
            return
        replica = Replica(self.world, name)
        replica.store_faults.unreadable = self.unreadable
        self.world.replicas[name] = replica
        self.world.loop.run_until_complete(replica.runtime.start())

    @rule(name=replicas)
    def kill(self, name: str) -> None:
        if name in self.world.replicas:
            self.world.loop.run_until_complete(self.world.kill(name))

    @rule(name=replicas)
    def cut(self, name: str) -> None:
        self.on(name, lambda one: one.bus.cut())

    @rule(name=replicas)
    def connect(self, name: str) -> None:
        if name in self.world.replicas:
            self.world.loop.run_until_complete(self.world.replicas[name].bus.connect())

    @rule(shard=st.integers(0, SHARDS - 1))
    def move(self, shard: int) -> None:
        self.world.broker.move(self.world.queue_of(book_in(shard)))

    @rule(shard=st.integers(0, SHARDS - 1))
    def fence(self, shard: int) -> None:
        """Somebody claims the shard and is gone again."""
        generations = self.world.tables.generations
        generations[shard] = generations.get(shard, 0) + 1

    @rule(
        name=replicas,
        operation=st.sampled_from(["claims", "loads", "commits", "lost_outcomes"]),
        error=st.sampled_from(ERRORS),
        times=st.integers(1, 3),
    )
    def break_store(self, name: str, operation: str, error: Exception, times: int) -> None:
        self.on(name, lambda one: getattr(one.store_faults, operation).extend([error] * times))

    @rule(name=replicas, seconds=st.sampled_from([0.0, 0.02, 0.4]))
    def slow_store(self, name: str, seconds: float) -> None:
        self.on(name, lambda one: setattr(one.store_faults, "delay", seconds))

    @rule(
        name=replicas,
        fault=st.sampled_from(["refused", "unconfirmed", "lost"]),
        times=st.integers(1, 3),
    )
    def break_bus(self, name: str, fault: str, times: int) -> None:
        self.on(name, lambda one: setattr(one.bus.faults, fault, times))

    @rule(name=replicas, seconds=st.sampled_from([0.0, 0.01, 0.3]))
    def slow_bus(self, name: str, seconds: float) -> None:
        self.on(name, lambda one: setattr(one.bus.faults, "confirm_delay", seconds))

    @rule(name=replicas, blocked=st.booleans())
    def alarm(self, name: str, blocked: bool) -> None:
        self.on(name, lambda one: setattr(one.bus.faults, "blocked", blocked))

    @rule(book=books)
    def make_unreadable(self, book: UUID) -> None:
        """A newer version has written the row. Who has the actor in memory goes on with it, so all that could
        have it there are killed."""
        if book not in self.world.tables.rows or self.unreadable:
            return
        for name in list(self.world.replicas):
            self.kill(name)
        self.unreadable.add(book)
        self.start("one")

    def on(self, name: str, change: Callable[[Replica], Any]) -> None:
        if name in self.world.replicas:
            change(self.world.replicas[name])

    # -- what must hold ------------------------------------------------------------------------

    def on_ack(self, queue: str, properties: Properties, body: bytes) -> None:
        """Whatever is acked must be accounted for in the database by then."""
        del queue
        if properties.type != "note":
            return
        note = msgspec.json.decode(body, type=Note)
        noted = note.number in self.world.book(note.id).numbers
        assert noted or self.dead_for(note.id, properties.message_id), note

    def dead_for(self, book: UUID, message_id: str) -> bool:
        """Whether the message is a dead letter, rightly."""
        letters = [
            letter for letter in self.world.tables.dead.values() if letter.message_id == message_id
        ]
        return book in self.unreadable and len(letters) > 0

    @invariant()
    def nothing_twice_and_in_order(self) -> None:
        for book in BOOKS:
            numbers = self.world.book(book).numbers
            assert len(set(numbers)) == len(numbers), numbers
            direct = [number for number in numbers if number in set(self.sent[book])]
            assert direct == [number for number in self.sent[book] if number in set(direct)]
            if not self.unreadable:
                # Nothing is passed over: what is there is a prefix of what was sent.
                assert direct == self.sent[book][: len(direct)]

    @invariant()
    def no_effect_of_what_is_not_in_the_state(self) -> None:
        noted = {number for book in BOOKS for number in self.world.book(book).numbers}
        for number, identifiers in self.world.events().items():
            assert number in noted
            assert len(identifiers) == 1

    @invariant()
    def dead_letters_are_at_fault(self) -> None:
        for letter in self.world.tables.dead.values():
            assert letter.message_id in self.poison or letter.actor in self.unreadable, letter

    @invariant()
    def memory_is_bounded(self) -> None:
        for replica in self.world.replicas.values():
            runtime = replica.runtime
            unacked = sum(len(channel.unacked) for channel in replica.bus._channels)
            pending = len(self.keys) + self.number
            delivered = [one for one in runtime._inbox.taken if hasattr(one, "incoming")]
            assert len(delivered) <= unacked or not replica.bus.connected
            assert len(runtime._inbox) <= unacked + 2 * pending + 8
            assert len(runtime._schedule) <= 8 * pending + 1000

    def teardown(self) -> None:
        try:
            self.heal()
            self.everything_is_worked_off()
        finally:
            self.context.__exit__(None, None, None)

    def heal(self) -> None:
        self.start("one")
        for replica in self.world.replicas.values():
            faults = replica.store_faults
            for waiting in (faults.claims, faults.loads, faults.commits, faults.lost_outcomes):
                waiting.clear()
            faults.delay = 0.0
            bus = replica.bus.faults
            bus.refused = bus.unconfirmed = bus.lost = 0
            bus.confirm_delay, bus.blocked = 0.0, False
            self.world.loop.run_until_complete(replica.bus.connect())
        # Long enough for the slowest retry by time: 60 s, and a quarter of it for spreading.
        for _ in range(45):
            self.world.run(2)
            self.world.answer_questions()

    def everything_is_worked_off(self) -> None:
        world = self.world
        for book in BOOKS:
            if book in self.unreadable:
                continue
            numbers = world.book(book).numbers
            lost = self.from_unreadable(book)
            assert set(numbers) | lost == set(self.sent[book]) | self.elsewhere[book] | lost
        waiting = [
            headers.type
            for queue in (world.queue_of(book) for book in BOOKS)
            for headers, _ in world.broker.queues[queue]
        ]
        assert waiting == []
        for replica in world.replicas.values():
            for channel in replica.bus._channels:
                held = [entry for entry in channel.unacked.values() if entry[1].type != "probe"]
                assert held == []
            assert replica.readiness.report()["actors"]
        assert not world.tables.outbox or self.unreadable
        if not self.unreadable:
            assert set(world.events()) == self.published
            assert set(world.commands()) == self.keys
            dead = {letter.message_id for letter in world.tables.dead.values()}
            assert dead == self.poison
        self.nothing_twice_and_in_order()
        self.no_effect_of_what_is_not_in_the_state()

    def from_unreadable(self, book: UUID) -> set[int]:
        """What other books were to tell this one, and could not once they were unreadable."""
        return self.elsewhere[book] if self.unreadable else set()


EngineTest = Engine.TestCase
# To shrink thirty steps takes minutes; they can be read as they are.
EngineTest.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, phases=[Phase.generate]
)
