"""The engine's loop while its surroundings half fail: one failure a test. `test_runtime_machine` mixes them."""

from collections.abc import Iterator
from uuid import UUID

import asyncpg
import msgspec
import pytest

from evercall.actor.runtime import LONGEST_RETRY_DELAY
from evercall.actor.testing import Replica
from evercall.bus.envelope import Origin
from evercall.bus.wire import Properties
from evercall.contracts.base import ErrorData
from evercall.contracts.ids import shard_of
from tests.unit.actor.book import (
    SHARDS,
    Book,
    Library,
    Note,
    Order,
    Ordered,
    Poison,
    Question,
    Read,
    Wait,
    book_in,
    library,
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
