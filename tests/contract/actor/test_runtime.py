"""The engine on the real RabbitMQ and PostgreSQL: nothing lost, nothing done twice, order kept."""

import asyncio
import json
from functools import partial
from uuid import UUID

import asyncpg
import msgspec
import pytest

from evercall.actor.store import ActorStore, Batch, Fenced, OutboxRow, row_of
from evercall.bus import topology
from evercall.bus.amqp import Delivery
from evercall.bus.bus import Letter
from evercall.bus.connection import Session
from evercall.bus.wire import Properties
from evercall.contracts.asterisk import AsteriskCommands
from evercall.contracts.base import ResourceEvent
from evercall.contracts.ids import shard_of
from evercall.service.identity import new_id
from tests.contract.actor.conftest import SHARDS, Service
from tests.support.eventually import eventually
from tests.support.ledger import (
    KIND,
    Add,
    AskFor,
    Break,
    Ledger,
    Order,
    Remind,
    Settled,
    Unwritable,
)


async def add_all(service: Service, ledgers: list[UUID], count: int) -> None:
    """Tells each ledger the numbers 0 to count-1, in order, all ledgers at once."""
    for number in range(count):
        await asyncio.gather(
            *(service.bus.tell(service.name, one, Add(id=one, number=number)) for one in ledgers)
        )


async def test_a_killed_replica_loses_nothing_repeats_nothing_and_keeps_the_order(
    service: Service,
) -> None:
    first, _ = await service.start("one"), await service.start("two")
    ledgers = [new_id() for _ in range(16)]
    heard: list[ResourceEvent] = []

    async def hear(event: ResourceEvent) -> None:
        heard.append(event)

    await service.bus.subscribe_events(["*.ledger.added"], hear)
    await service.read(ledgers[0])
    sending = asyncio.create_task(add_all(service, ledgers, 60))
    await asyncio.sleep(0.3)
    await first.kill()
    await asyncio.sleep(0.3)
    again = await service.start("one")
    await sending
    await again.kill()
    states = [await service.read(one) for one in ledgers]
    assert [state.numbers for state in states] == [tuple(range(60))] * 16
    by_ledger = await _events_settle(heard, 16 * 60, set(ledgers))
    assert all(sorted(numbers) == list(range(60)) for numbers in by_ledger.values())


async def _events_settle(
    heard: list[ResourceEvent], count: int, ledgers: set[UUID]
) -> dict[UUID, list[int]]:
    """Events by ledger, once each by their id: a repeated event carries the same id."""
    async with asyncio.timeout(20):
        while True:
            unique = {event.id: event for event in heard if event.resource_id in ledgers}
            if len(unique) >= count:
                break
            await asyncio.sleep(0.1)
    found: dict[UUID, list[int]] = {one: [] for one in ledgers}
    for event in unique.values():
        found[event.resource_id].append(json.loads(bytes(event.resource))["number"])
    return found


async def test_messages_between_actors_of_different_shards_arrive_once(service: Service) -> None:
    replica = await service.start("one")
    await service.start("two")
    source, mirrors = new_id(), [new_id() for _ in range(8)]
    await service.read(source)
    for number in range(40):
        mirror = mirrors[number % 8]
        await service.bus.tell(service.name, source, Add(id=source, number=number, mirror=mirror))
        if number == 20:
            await replica.kill()
    assert (await service.read(source)).numbers == tuple(range(40))

    async def all_came() -> bool:
        return sum([len((await service.read(one)).numbers) for one in mirrors]) >= 40

    await eventually(all_came)
    for index, mirror in enumerate(mirrors):
        assert sorted((await service.read(mirror)).numbers) == list(range(index, 40, 8))


async def test_both_replicas_own_shards_and_the_rest_moves_when_one_goes(service: Service) -> None:
    one, two = await service.start("one"), await service.start("two")
    connection = await asyncpg.connect(service.environment["EVERCALL_DATABASE_URL"])
    owners = f"SELECT shard, owner FROM {service.name}.actor_shard"

    async def owned() -> set[str]:
        return {row["owner"] for row in await connection.fetch(owners)}

    async def owned_by(*names: str) -> bool:
        return await owned() == set(names)

    await eventually(partial(owned_by, "one", "two"), within=20.0)
    await one.kill()
    await eventually(partial(owned_by, "two"), within=20.0)
    assert await two.stop() == 0
    await connection.close()


async def test_a_timer_fires_in_the_replica_that_is_left(service: Service) -> None:
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    await service.bus.tell(service.name, ledger, Remind(id=ledger, milliseconds=2000))
    await service.read(ledger)
    for replica in service.replicas:
        await replica.kill()
    await service.start("two")

    async def notes() -> tuple[object, ...]:
        return (await service.read(ledger)).notes

    await eventually(notes)
    # Timers go off in the order of their time: had the first one a second life, it would come before this.
    await service.bus.tell(service.name, ledger, Remind(id=ledger, milliseconds=10, name="later"))

    async def later() -> bool:
        return "later" in await notes()

    await eventually(later)
    assert await notes() == ("reminder", "later")


@pytest.mark.parametrize("target", ["port", "doubler"])
async def test_questions_are_answered_by_ports_and_services(service: Service, target: str) -> None:
    to = "port" if target == "port" else f"{service.name}_doubler"
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    for number in range(5):
        ask = AskFor(id=ledger, service=to, number=number)
        await service.bus.tell(service.name, ledger, ask)

    async def all_answered() -> bool:
        return len((await service.read(ledger)).notes) >= 5

    await eventually(all_answered)
    notes = (await service.read(ledger)).notes
    assert sorted(notes) == [f"double-{number}={2 * number}" for number in range(5)]


async def test_a_question_whose_answer_never_came_is_asked_again_by_the_next_owner(
    service: Service,
) -> None:
    replica = await service.start("one")
    ledger, nobody = new_id(), f"{service.name}_later"
    await service.read(ledger)
    question = AskFor(id=ledger, service=nobody, number=1)
    await service.bus.tell(service.name, ledger, question)
    await service.read(ledger)
    await replica.kill()
    asked = await _listen(service, nobody)
    await service.start("two")
    async with asyncio.timeout(15):
        message = await asked.get()
    assert message.properties.type == "double"
    assert message.properties.correlation_id == f"ledger/{ledger}/double-1"


async def test_a_command_is_repeated_until_it_is_settled(service: Service) -> None:
    replica = await service.start("one")
    commands = await _listen(service, topology.asterisk_key("ledger-test"))
    ledger = new_id()
    await service.read(ledger)
    for key in ("answer", "play"):
        await service.bus.tell(service.name, ledger, Order(id=ledger, key=key))
    await service.bus.tell(service.name, ledger, Settled(id=ledger, key="answer"))
    await service.read(ledger)
    first = await _keys(commands, 2)
    await replica.kill()
    await service.start("two")
    assert first == ["answer", "play"]
    assert await _keys(commands, 1) == ["play"]


async def _listen(service: Service, key: str) -> "asyncio.Queue[Delivery]":
    """Takes what is sent to a routing key of the test's own."""
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    async def setup(session: Session) -> None:
        channel = await session.channel()
        queue = await channel.declare_own_queue()
        await channel.bind(queue, topology.RPC, key)
        await channel.consume(queue, arrived.put_nowait, no_ack=True)

    await service.bus.attach(setup)
    return arrived


async def _keys(arrived: "asyncio.Queue[Delivery]", count: int) -> list[str]:
    keys: list[str] = []
    async with asyncio.timeout(15):
        while len(keys) < count:
            body = (await arrived.get()).body
            keys += [one.key for one in msgspec.json.decode(body, type=AsteriskCommands).commands]
    return keys


async def test_a_message_that_fails_becomes_a_dead_letter_and_the_actor_goes_on(
    service: Service,
) -> None:
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    for message in (
        Add(id=ledger, number=1),
        Break(id=ledger),
        Unwritable(id=ledger),
        Add(id=ledger, number=2),
    ):
        await service.bus.tell(service.name, ledger, message)
    assert (await service.read(ledger)).numbers == (1, 2)
    broken, unwritable = sorted(await service.dead_letters(), key=lambda letter: letter["type"])
    assert broken["reason"] == "RuntimeError: broken on demand"
    assert unwritable["reason"].startswith("TypeError")
    assert msgspec.json.decode(broken["body"], type=Break) == Break(id=ledger)
    assert (broken["type"], broken["actor"]) == ("break", ledger)
    assert broken["shard"] == shard_of(ledger, SHARDS)


async def test_what_is_no_message_of_ours_becomes_a_dead_letter(service: Service) -> None:
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    key = topology.shard_key(service.name, shard_of(ledger, SHARDS))
    bodies = [b"\xff\x00 not json", b"{}", b'{"type":"nobody_knows"}']
    for body in bodies:
        properties = Properties(message_id=new_id().hex, correlation_id="with U+0000: \0")
        assert await service.bus.publish_all([Letter(topology.RPC, key, properties, body)])
    await service.bus.tell(service.name, ledger, Add(id=ledger, number=1))
    assert (await service.read(ledger)).numbers == (1,)
    letters = await service.dead_letters()
    assert sorted(letter["body"] for letter in letters) == sorted(bodies)
    assert [letter["actor"] for letter in letters] == [None] * 3


async def test_a_dead_letter_is_listed_shown_replayed_and_dropped(service: Service) -> None:
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    await service.bus.tell(service.name, ledger, Break(id=ledger))
    await service.bus.tell(service.name, ledger, Unwritable(id=ledger))
    await service.read(ledger)
    broken, unwritable = sorted(await service.dead_letters(), key=lambda letter: letter["type"])
    status, listed = await service.dead("list", "--service", service.name)
    assert (status, "2 dead letters" in listed, "broken on demand" in listed) == (0, True, True)
    status, shown = await service.dead("show", str(broken["id"]))
    assert status == 0
    assert f'"id":"{ledger}"' in shown
    # Replayed by a version that still can't handle it, it is a dead letter again, and nothing else.
    status, said = await service.dead("replay", str(broken["id"]))
    assert (status, f"replayed {broken['id']}" in said) == (0, True)
    await service.read(ledger)
    after = await service.dead_letters()
    assert [letter["reason"] for letter in after if letter["id"] != unwritable["id"]] == [
        "RuntimeError: broken on demand"
    ]
    status, _ = await service.dead("drop", "--all", "--service", service.name)
    assert (status, await service.dead_letters()) == (0, [])
    status, said = await service.dead("show", str(broken["id"]))
    assert (status, "there is no dead letter" in said) == (1, True)


async def test_a_replayed_dead_letter_counts_once(service: Service) -> None:
    """The mended version handles it: here a message that had come to the wrong shard is put right by hand."""
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    connection = await asyncpg.connect(service.environment["EVERCALL_DATABASE_URL"])
    shard = shard_of(ledger, SHARDS)
    letter = new_id()
    await connection.execute(
        f"INSERT INTO {service.name}.dead_letter (id, shard, actor, reason, type, properties, body)"
        " VALUES ($1, $2, $3, 'mended since', 'add', '{}', $4)",
        letter,
        shard,
        ledger,
        msgspec.json.encode(Add(id=ledger, number=7)),
    )
    await connection.close()
    assert (await service.dead("replay", str(letter)))[0] == 0
    assert (await service.read(ledger)).numbers == (7,)
    # Somebody else had the letter on the screen too.
    properties = Properties(type="add", message_id=letter.hex, correlation_id=f"replay/{ledger}")
    again = Letter(
        topology.RPC,
        topology.shard_key(service.name, shard),
        properties,
        msgspec.json.encode(Add(id=ledger, number=7)),
    )
    assert await service.bus.publish_all([again])
    assert (await service.read(ledger)).numbers == (7,)


async def test_a_row_that_cannot_be_read_is_set_aside_and_kept(service: Service) -> None:
    replica = await service.start("one")
    good, bad = new_id(), new_id()
    while shard_of(bad, SHARDS) != shard_of(good, SHARDS):
        bad = new_id()
    for ledger in (good, bad):
        await service.read(ledger)
        await service.bus.tell(service.name, ledger, Add(id=ledger, number=1))
        await service.read(ledger)
    await replica.kill()
    connection = await asyncpg.connect(service.environment["EVERCALL_DATABASE_URL"])
    later = '{"state":{"written":"by a later version"},"pending":{},"timers":{}}'
    await connection.execute(
        f"UPDATE {service.name}.actor SET record = $2 WHERE id = $1", bad, later
    )
    await service.start("two")
    await service.bus.tell(service.name, bad, Add(id=bad, number=2))
    await service.bus.tell(service.name, good, Add(id=good, number=2))
    assert (await service.read(good)).numbers == (1, 2)
    [letter] = await service.dead_letters()
    assert (letter["actor"], letter["reason"]) == (bad, f"UnreadableActor: {bad}")
    kept = await connection.fetchval(f"SELECT record FROM {service.name}.actor WHERE id = $1", bad)
    assert kept == later
    await connection.close()


async def test_a_question_whose_answer_was_lost_is_asked_again_by_time(service: Service) -> None:
    """Broker, connection and process live; only the answer never comes."""
    await service.start("one")
    ledger, deaf = new_id(), f"{service.name}_deaf"
    await service.read(ledger)
    asked = await _listen(service, deaf)
    await service.bus.tell(service.name, ledger, AskFor(id=ledger, service=deaf, number=4))
    async with asyncio.timeout(20):
        first, second = await asked.get(), await asked.get()
    assert first.body == second.body
    key = str(second.properties.reply_to)
    answer = Properties(
        type="answer", message_id=new_id().hex, correlation_id=second.properties.correlation_id
    )
    assert await service.bus.publish_all([Letter(topology.RPC, key, answer, b'{"number":8}')])
    assert (await service.read(ledger)).notes == ("double-4=8",)


async def test_a_former_owner_can_change_nothing(service: Service) -> None:
    store = ActorStore(service.database, service.name, [KIND], SHARDS)
    former, present = await store.claim(0, "former"), await store.claim(0, "present")
    assert present.generation == former.generation + 1
    row = OutboxRow(new_id(), 0, topology.EVENTS, "k", "t", b"{}")
    batch = Batch({0: former.generation}, {0: ["1"]}, outbox=[row])
    with pytest.raises(Fenced):
        await store.commit(batch)
    claim = await store.claim(0, "next")
    assert (claim.message_ids, claim.outbox) == ([], [])
    batch.generations = {0: claim.generation}
    await store.commit(batch)
    found = await store.claim(0, "last")
    assert (found.message_ids, found.outbox) == (["1"], [row])


async def test_a_former_owner_does_not_answer_from_what_it_remembers(service: Service) -> None:
    """The same replica gets the shard back, but what happened meanwhile it has not seen."""
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    await service.bus.tell(service.name, ledger, Add(id=ledger, number=1))
    state = await service.read(ledger)
    assert state.numbers == (1,)
    store = ActorStore(service.database, service.name, [KIND], SHARDS)
    claim = await store.claim(shard_of(ledger, SHARDS), "another")
    [actor] = [actor for actor in claim.live.actors if actor.id == ledger]
    actor.state = msgspec.structs.replace(state, numbers=(1, 2))
    shard = shard_of(ledger, SHARDS)
    await store.commit(Batch({shard: claim.generation}, rows=[row_of(actor, SHARDS)]))
    assert (await service.read(ledger)).numbers == (1, 2)


async def test_lists_page_through_all_actors_newest_first(service: Service) -> None:
    await service.start("one")
    ledgers = [new_id() for _ in range(7)]
    await service.read(ledgers[0])
    for one in ledgers:
        await service.bus.tell(service.name, one, Add(id=one, number=1))
        assert (await service.read(one)).numbers == (1,)
    found: list[Ledger] = []
    token = ""
    while True:
        states, token = await service.query.list(UUID(int=1), 3, token)
        found += states
        if not token:
            break
    assert {state.id for state in found} == set(ledgers)
    times = [state.created_at for state in found]
    assert times == sorted(times, reverse=True)
    assert await service.query.get(ledgers[0]) in found
    assert await service.query.get(new_id()) is None


async def test_database_connections_that_are_cut_off_are_replaced(service: Service) -> None:
    """As by a restart of PostgreSQL, in the middle of work and while the replica is idle."""
    await service.start("one")
    ledger = new_id()
    await service.read(ledger)
    for round_ in range(3):
        sending = asyncio.create_task(add_all(service, [ledger], 20))
        await asyncio.sleep(0.05)
        await _cut_off_connections(service)
        await sending
        await _cut_off_connections(service)
        numbers = (await service.read(ledger)).numbers
        assert numbers == tuple(range(20)) * (round_ + 1)


async def _cut_off_connections(service: Service) -> None:
    """Ends the sessions whose last statement was about this service's tables, but not their maker's."""
    connection = await asyncpg.connect(service.environment["EVERCALL_DATABASE_URL"])
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND strpos(query, $1) > 0 AND query !~ 'CREATE SCHEMA'",
        service.name,
    )
    await connection.close()
