"""The engine's loop while its surroundings half fail: one failure a test. `test_runtime_machine` mixes them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace as replaced
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest

from evercall.actor import model
from evercall.actor.model import ActorKind, Decision
from evercall.actor.runtime import LONGEST_RETRY_DELAY
from evercall.actor.store import Batch
from evercall.actor.testing import FakeStore, Replica
from evercall.actor.turn import Delivery as Turned
from evercall.actor.turn import LiveActors, Unreadable
from evercall.bus.envelope import Origin
from evercall.bus.wire import Properties
from evercall.contracts.base import ErrorData, Message
from evercall.contracts.ids import shard_of
from tests.unit.actor.book import (
    KIND,
    SHARDS,
    Book,
    Echo,
    Library,
    Note,
    Number,
    Order,
    Ordered,
    Poison,
    Question,
    Read,
    Wait,
    book_in,
    decide,
    library,
    receive,
)

A, B = book_in(0), book_in(1)


@pytest.fixture
def world() -> Iterator[Library]:
    with library() as world:
        yield world


def start(world: Library, name: str = "one") -> Replica:
    replica = world.loop.run_until_complete(world.start(name))
    world.run(0.2)
    return replica


def note(world: Library, book: UUID, *numbers: int, **options: object) -> None:
    for number in numbers:
        message = Note(id=book, number=number, **options)  # type: ignore[arg-type]
        world.tell(book, message, f"m{book.int & 1}-{number}")


def unacked(replica: Replica) -> list[bytes]:
    channels = replica.bus._channels
    return [body for channel in channels for _, headers, body in channel.unacked.values()
            if headers.type != "probe"]  # fmt: skip


# -- the broker --------------------------------------------------------------------------------


def test_a_publish_that_is_not_confirmed_loses_nothing_else(world: Library) -> None:
    """The confirm is late while other messages are held: none of them may be acked and forgotten."""
    one = start(world)
    one.bus.faults.refused, one.bus.faults.confirm_delay = 1, 0.2
    note(world, A, 1, publish=True)
    world.run(0.235)
    note(world, A, 2)
    world.run(0.1)
    note(world, A, 3)
    world.run(2)
    assert world.book(A).numbers == (1, 2, 3)
    assert len(world.events()[1]) == 1
    assert not world.tables.dead
    assert not unacked(one)


def test_a_publish_is_repeated_until_it_is_confirmed_and_the_shards_stay(world: Library) -> None:
    one = start(world)
    note(world, A, 1)
    world.run(0.2)
    generations = dict(world.tables.generations)
    one.bus.faults.refused = 5
    note(world, A, 2, publish=True)
    world.run(30)
    assert len(world.events()[2]) == 1
    assert world.tables.generations == generations
    assert not world.tables.outbox


def test_events_leave_in_their_order_after_a_refusal(world: Library) -> None:
    one = start(world)
    one.bus.faults.refused = 2
    for number in range(10):
        note(world, A, number, publish=True)
        world.run(0.1)
    world.run(10)
    assert list(world.events()) == list(range(10))


def test_nothing_is_taken_while_the_broker_blocks(world: Library) -> None:
    one = start(world)
    note(world, A, 1)
    world.run(0.2)
    one.bus.faults.blocked = True
    note(world, A, 2, 3)
    world.run(60)
    assert world.book(A).numbers == (1,)
    assert len(unacked(one)) == 2
    one.bus.faults.blocked = False
    world.run(1)
    assert world.book(A).numbers == (1, 2, 3)


def test_a_full_outbox_stops_the_intake_until_it_is_published(
    world: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evercall.actor.outbox.MOST", 5)
    one = start(world)
    one.bus.faults.refused = 6
    for number in range(40):
        note(world, A, number, publish=True)
        world.run(0.06)
    assert len(world.book(A).numbers) < 40
    world.run(30)
    assert world.book(A).numbers == tuple(range(40))
    assert sorted(world.events()) == list(range(40))


def test_a_lost_session_brings_again_what_was_not_committed(world: Library) -> None:
    one = start(world)
    one.store_faults.delay = 0.5
    note(world, A, 1, 2)
    world.run(0.1)
    one.bus.cut()
    world.run(3)
    note(world, A, 3)
    world.loop.run_until_complete(one.bus.connect())
    one.store_faults.delay = 0.0
    world.run(5)
    assert world.book(A).numbers == (1, 2, 3)


# -- the database ------------------------------------------------------------------------------

DATABASE_ERRORS = [
    asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    asyncpg.InvalidPasswordError("password authentication failed"),
    asyncpg.UndefinedColumnError('column "x" does not exist'),
    asyncpg.UndefinedTableError('relation "y" does not exist'),
    asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    asyncpg.DiskFullError("could not extend file"),
    asyncpg.ConnectionDoesNotExistError("connection was closed"),
    asyncpg.InterfaceError("pool is closing"),
    asyncpg.InsufficientPrivilegeError("permission denied"),
    ConnectionResetError("reset"),
    TimeoutError(),
]


@pytest.mark.parametrize("operation", ["claims", "loads", "commits", "lost_outcomes"])
@pytest.mark.parametrize("error", DATABASE_ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_the_database_buries_nothing(
    world: Library, operation: str, error: Exception
) -> None:
    one = start(world)
    note(world, B, 100)
    world.run(0.2)
    one.bus.cut()
    faults = getattr(one.store_faults, operation)
    faults.extend([error] * 6)
    note(world, A, 1, 2, 3)
    note(world, B, 4)
    world.loop.run_until_complete(one.bus.connect())
    world.run(0.01)
    note(world, A, 5)
    world.run(0.3)
    assert len(faults) < 6
    if operation != "lost_outcomes":
        assert not one.readiness.report()["actors"]
    world.run(30)
    assert world.book(A).numbers == (1, 2, 3, 5)
    assert world.book(B).numbers == (100, 4)
    assert not world.tables.dead
    assert not unacked(one)
    assert one.readiness.report()["actors"]


def test_the_database_is_asked_again_within_a_bound(world: Library) -> None:
    one = start(world)
    one.store_faults.commits.extend([asyncpg.LockNotAvailableError("held")] * 12)
    note(world, A, 1)
    world.run(12 * LONGEST_RETRY_DELAY + 1)
    assert world.book(A).numbers == (1,)


def test_a_claim_that_fails_while_something_is_held_loses_nothing(world: Library) -> None:
    one = start(world)
    one.store_faults.claims.extend([ConnectionResetError("once"), ConnectionResetError("again")])
    world.broker.put(world.queue_of(A), Properties(type="probe"), b"{}")
    note(world, A, 1)
    world.run(0.01)
    note(world, B, 1)
    world.run(5)
    note(world, B, 2)
    world.run(1)
    assert (world.book(A).numbers, world.book(B).numbers) == ((1,), (1, 2))


def test_a_row_that_cannot_be_read_is_set_aside_and_the_others_go_on(world: Library) -> None:
    bad, good = book_in(0, 7), book_in(0, 8)
    first = start(world)
    note(world, bad, 1)
    note(world, good, 2)
    world.run(0.2)
    kept = world.tables.rows[bad]
    world.loop.run_until_complete(world.kill("one"))
    del first
    second = Replica(world, "two")
    second.store_faults.unreadable.add(bad)
    world.replicas["two"] = second
    world.loop.run_until_complete(second.runtime.start())
    world.run(0.2)
    note(world, bad, 3)
    note(world, good, 4)
    world.run(1)
    assert world.book(good).numbers == (2, 4)
    assert world.tables.rows[bad] is kept
    [letter] = world.tables.dead.values()
    assert (letter.actor, letter.reason.split(":")[0]) == (bad, "UnreadableActor")


def test_a_former_owner_writes_nothing_for_a_shard_that_moved(world: Library) -> None:
    """One replica owned both shards; the other now has B's. What A says to B is decided from memory there."""
    one = start(world)
    note(world, A, 1)
    note(world, B, 2)
    world.run(0.2)
    start(world, "two")
    world.broker.move(world.queue_of(B))
    note(world, B, 3)
    world.run(0.3)
    assert world.book(B).numbers == (2, 3)
    note(world, A, 4, tell=B)
    world.run(5)
    assert world.book(A).numbers == (1, 4)
    assert world.book(B).numbers == (2, 3, 4)
    assert not unacked(one)


# -- messages with a fault of their own --------------------------------------------------------


def test_a_poisoned_message_is_a_dead_letter_and_its_neighbours_are_not(world: Library) -> None:
    one = start(world)
    note(world, A, 1)
    world.tell(A, Poison(id=A, number=9), "poison", Origin("reader", "c9"))
    note(world, A, 2)
    world.run(1)
    assert world.book(A).numbers == (1, 2)
    [letter] = world.tables.dead.values()
    assert (letter.type, letter.message_id, letter.actor) == ("poison", "poison", A)
    assert letter.reason == "RuntimeError: poison"
    assert not unacked(one)


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (b"\xff\x00 no json", Properties(message_id="x")),
        (b'{"type":"of_a_later_version"}', Properties(message_id="x", type="later")),
        (b"{}", Properties(message_id="x", type="answer", correlation_id="no/uuid/key")),
        (b"{}", Properties(message_id="x", type="answer", correlation_id=f"ghost/{A}/key")),
        (b"{}", Properties(message_id="\0,\0", type="answer")),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(
    world: Library, body: bytes, properties: Properties
) -> None:
    one = start(world)
    world.broker.put(world.queue_of(A), properties, body)
    note(world, A, 1)
    world.run(1)
    [letter] = world.tables.dead.values()
    assert (letter.body, letter.actor, letter.shard) == (body, None, 0)
    assert world.book(A).numbers == (1,)
    assert not unacked(one)


def test_who_sends_a_request_that_cannot_be_read_hears_of_it(world: Library) -> None:
    start(world)
    headers = Properties(message_id="x", type="later", reply_to="caller", correlation_id="c1")
    world.broker.put(world.queue_of(A), headers, b'{"type":"later"}')
    world.run(1)
    [(answer, body)] = world.broker.queues["caller"]
    assert (answer.type, answer.correlation_id) == ("error", "c1")
    assert msgspec.json.decode(body, type=ErrorData).code == "request_unreadable"


def test_a_message_for_another_shard_is_a_dead_letter(world: Library) -> None:
    """Its sender counts another number of shards: to write here would be without a fence."""
    start(world)
    message = Note(id=B, number=1)
    world.broker.put(
        world.queue_of(A), Properties(type="note", message_id="x"), msgspec.json.encode(message)
    )
    world.run(1)
    assert shard_of(B, SHARDS) == 1
    assert world.book(B) == Book(id=B)
    [letter] = world.tables.dead.values()
    assert letter.reason.startswith("Misrouted")


def test_a_dead_letter_is_replayed_for_the_actor_that_had_failed(world: Library) -> None:
    start(world)
    for actor in (A, book_in(0, 3)):
        headers = Properties(
            type="note", message_id=f"again-{actor}", correlation_id=f"replay/{actor}"
        )
        world.broker.put(world.queue_of(A), headers, msgspec.json.encode(Note(id=A, number=1)))
    world.run(1)
    assert world.book(A).numbers == (1,)


# -- what is pending ---------------------------------------------------------------------------


def test_a_question_whose_answer_was_lost_is_asked_again_by_time(world: Library) -> None:
    start(world)
    world.tell(A, Question(id=A, number=5), "q")
    lose = 3
    for _ in range(60):
        world.run(1)
        lose = world.answer_questions(lose=lose)
    assert world.book(A).numbers == (5,)


def test_a_question_that_was_lost_on_the_way_is_asked_again(world: Library) -> None:
    one = start(world)
    one.bus.faults.lost = 1
    world.tell(A, Question(id=A, number=5), "q")
    for _ in range(10):
        world.run(1)
        world.answer_questions()
    assert world.book(A).numbers == (5,)


def test_a_command_is_repeated_by_time_until_it_is_settled(world: Library) -> None:
    start(world)
    world.tell(A, Order(id=A, key="hangup"), "o")
    world.run(200)
    repeated = len(world.commands())
    assert 5 <= repeated <= 8
    world.tell(A, Ordered(id=A, key="hangup"), "s")
    world.run(200)
    assert len(world.commands()) == repeated


def test_a_request_is_answered_while_another_replica_takes_over(world: Library) -> None:
    start(world)
    note(world, A, 1)
    world.run(0.2)
    start(world, "two")
    world.tell(A, Read(id=A), "r", Origin("reader", "c1"))
    world.loop.run_until_complete(world.kill("one"))
    world.run(3)
    [(headers, body)] = world.broker.queues["reader"]
    assert headers.type == "answer"
    assert msgspec.json.decode(body, type=Book).numbers == (1,)


def test_timers_that_were_moved_again_and_again_do_not_pile_up(world: Library) -> None:
    one = start(world)
    for number in range(3000):
        world.tell(A, Wait(id=A, number=1, seconds=1000), f"w{number}")
        if number % 50 == 0:
            world.run(0.06)
    world.run(5)
    assert len(one.runtime._schedule) < 2000
    world.run(1100)
    assert world.book(A).numbers == (1,)


# -- what must not wedge, grow or overtake -----------------------------------------------------


class Everybody(Message, frozen=True, kw_only=True):
    """For every live book of the shard, as the loss of an Asterisk is for every call on it."""


def broadcasting(message: Message, live: LiveActors) -> Iterable[Turned]:
    if isinstance(message, Everybody):
        return [Turned("book", actor.id, message) for actor in live.of("book")]
    return receive(message, live)


def deciding(
    change: Callable[[Book | None, Message], Decision[Book] | None],
) -> ActorKind[Book]:
    def decide_so(state: Book | None, message: Message, now: datetime) -> Decision[Book]:
        return change(state, message) or decide(state, message, now)

    return replaced(KIND, decide=decide_so)


def hears_everybody(state: Book | None, message: Message) -> Decision[Book] | None:
    if not isinstance(message, Everybody) or state is None:
        return None
    return Decision(msgspec.structs.replace(state, heard=(*state.heard, "everybody")))


@pytest.mark.parametrize("pause", [0.0, 0.01, 1.0])
def test_a_message_for_all_reaches_whom_the_message_before_it_made(
    world: Library, pause: float
) -> None:
    world.kinds, world.receive = [deciding(hears_everybody)], broadcasting
    world.accepts = (*world.accepts, Everybody)
    start(world)
    note(world, A, 1)
    world.run(pause)
    world.tell(A, Everybody(), "everybody")
    world.run(1)
    assert world.book(A).heard == ("everybody",)


def test_what_is_told_is_not_judged_by_what_a_former_owner_remembers(world: Library) -> None:
    def ignores_four_before_three(state: Book | None, message: Message) -> Decision[Book] | None:
        ignored = isinstance(message, Note) and message.id == B and message.number == 4
        return Decision(state) if ignored and state and 3 not in state.numbers else None

    world.kinds = [deciding(ignores_four_before_three)]
    start(world)
    note(world, A, 1)
    note(world, B, 2)
    world.run(0.2)
    start(world, "two")
    world.broker.move(world.queue_of(B))
    note(world, B, 3)
    world.run(1)
    note(world, A, 4, tell=B)
    world.run(5)
    assert world.book(B).numbers == (2, 3, 4)


@pytest.mark.parametrize(
    "effect",
    [
        model.SetTimer("naive", datetime(2030, 1, 1)),  # noqa: DTZ001
        model.Ask("k" * 230, "echo", Echo(number=1)),
        model.Notify("somebody", Number(object())),  # type: ignore[arg-type]
        model.Notify("\0", Note(id=A, number=1)),
        model.Tell("n" * 300, B, Note(id=B, number=1)),
        model.Tell("library", book_in(0, 9), Note(id=B, number=1)),
    ],
    ids=["naive time", "long key", "no message", "U+0000", "long name", "to another shard"],
)
def test_an_effect_that_cannot_be_carried_out_is_its_messages_fault(
    world: Library, effect: model.Effect
) -> None:
    def poisoned(state: Book | None, message: Message) -> Decision[Book] | None:
        return Decision(state or Book(id=A), (effect,)) if isinstance(message, Poison) else None

    world.kinds = [deciding(poisoned)]
    one = start(world)
    world.tell(A, Wait(id=A, number=8, seconds=2), "wait")
    world.tell(A, Poison(id=A, number=9), "poison")
    note(world, A, 1)
    note(world, B, 2)
    world.run(10)
    assert (world.book(A).numbers, world.book(B).numbers) == ((1, 8), (2,))
    assert [letter.message_id for letter in world.tables.dead.values()] == ["poison"]
    assert not unacked(one)


def test_a_batch_that_is_too_much_for_the_database_is_tried_in_smaller_parts(
    world: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = FakeStore.commit

    async def small_only(store: FakeStore, batch: Batch) -> None:
        if sum(map(len, batch.message_ids.values())) > 20:
            raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")
        await commit(store, batch)

    monkeypatch.setattr(FakeStore, "commit", small_only)
    start(world)
    note(world, A, *range(300))
    world.run(120)
    assert world.book(A).numbers == tuple(range(300))


def test_answers_of_ports_do_not_pile_up_while_commits_fail(world: Library) -> None:
    class Slow:
        def known(self, request: Echo) -> None:
            del request

        async def answer(self, request: Echo) -> Number:
            await asyncio.sleep(1)
            return Number(request.number)

    world.ports = {"echo": Slow()}
    one = start(world)
    for number in range(20):
        world.tell(A, Question(id=A, number=number), f"q{number}")
    world.run(0.3)
    one.store_faults.commits.extend([asyncpg.UndefinedColumnError("x")] * 100)
    world.run(120)
    assert len(one.runtime._inbox) <= 20
    one.store_faults.commits.clear()
    world.run(20)
    assert sorted(world.book(A).numbers) == list(range(20))


def test_an_answer_that_comes_again_does_not_answer_the_next_question(world: Library) -> None:
    start(world)
    world.tell(A, Question(id=A, number=5), "q1")
    world.run(0.2)
    [(headers, _)] = world.broker.queues["echo"]
    answer = Properties(type="answer", message_id="answer-1", correlation_id=headers.correlation_id)
    key = str(headers.reply_to)
    world.broker.put(key, answer, msgspec.json.encode(Number(5)))
    world.tell(A, Question(id=A, number=5), "q2")
    world.broker.put(key, answer, msgspec.json.encode(Number(5)))
    world.run(0.5)
    assert world.book(A).numbers == (5,)


def test_a_message_that_fails_at_first_keeps_its_place(world: Library) -> None:
    tried: list[int] = []

    def fails_once(state: Book | None, message: Message) -> Decision[Book] | None:
        if isinstance(message, Note) and message.number == 1 and not tried:
            tried.append(1)
            raise RuntimeError("once")
        return None

    world.kinds = [deciding(fails_once)]
    start(world)
    note(world, A, 1, 2, 3)
    world.run(1)
    assert world.book(A).numbers == (1, 2, 3)


def test_a_clock_that_is_set_back_does_not_hold_a_batch(world: Library) -> None:
    shift = timedelta()
    one = Replica(world, "one")
    one.runtime._now = lambda: world.loop.clock() + shift
    world.replicas["one"] = one
    world.loop.run_until_complete(one.runtime.start())
    world.run(0.2)
    note(world, A, 1)
    world.run(0.01)
    shift = timedelta(hours=-1)
    world.run(3)
    assert world.book(A).numbers == (1,)


def test_a_part_that_cannot_be_read_is_a_dead_letter_of_its_actor_only(world: Library) -> None:
    def in_parts(message: Message, live: LiveActors) -> Iterable[Turned]:
        if isinstance(message, Everybody):
            other = Note(id=book_in(0, 5), number=1)
            return [
                Turned("book", A, Unreadable(reason="a bad time")),
                Turned("book", other.id, other),
            ]
        return receive(message, live)

    world.receive, world.accepts = in_parts, (*world.accepts, Everybody)
    start(world)
    world.tell(A, Everybody(), "parts")
    world.run(1)
    assert world.book(book_in(0, 5)).numbers == (1,)
    [letter] = world.tables.dead.values()
    assert (letter.actor, letter.reason) == (A, "UnreadablePart: a bad time")
