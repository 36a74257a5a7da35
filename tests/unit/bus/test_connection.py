"""A session is two connections that live and end together, and is set up anew as often as it is lost."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from evercall.bus import connection as module
from evercall.bus.address import Address, Host
from evercall.bus.amqp import AmqpConnection, Closed, Declined
from evercall.bus.connection import Connection, Session

BOUND = 5.0
URL = "amqp://user:secret@one,two/"


class Wire:
    """One AMQP connection, as far as a session uses it."""

    def __init__(self, host: str, name: str) -> None:
        self.host = host
        self.name = name
        self.closed = False
        self.failed = ""
        self._on_end: list[Callable[[], None]] = []

    def on_end(self, callback: Callable[[], None]) -> None:
        self._on_end.append(callback)

    async def close(self) -> None:
        if not self.over:
            self.closed = True
            self._end()

    def fail(self, reason: str) -> None:
        """Broken off, by us or by the broker."""
        if not self.over:
            self.failed = reason
            self._end()

    @property
    def over(self) -> bool:
        return self.closed or bool(self.failed)

    def _end(self) -> None:
        for callback in self._on_end:
            callback()


class Brokers:
    """Stands for all hosts: notes what was opened, refuses where told to."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.refuse: Callable[[str, str], bool] = lambda _host, _use: False

    async def connect(self, _address: Address, host: Host, name: str, *_: Any) -> AmqpConnection:
        if self.refuse(host.name, name):
            raise ConnectionRefusedError(host.name)
        wire = Wire(host.name, name)
        self.wires.append(wire)
        return cast("AmqpConnection", wire)

    @property
    def open(self) -> list[Wire]:
        return [wire for wire in self.wires if not wire.over]


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    made = Brokers()
    monkeypatch.setattr(module, "connect", made.connect)
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(module, "LAST_DELAY", 0.002)
    monkeypatch.setattr(module, "PART_DELAY", 0.001)
    return made


@asynccontextmanager
async def running(connection: Connection) -> AsyncIterator[None]:
    """The supervision runs while the block does; afterwards it must end by itself."""
    task = asyncio.create_task(connection.run())
    try:
        yield
    finally:
        await connection.close()
        await asyncio.wait_for(task, BOUND)


async def ready(connection: Connection) -> Session:
    await asyncio.wait_for(connection.ready.wait(), BOUND)
    assert connection.session is not None
    return connection.session


async def test_what_was_set_up_is_set_up_again_in_order_after_a_loss(brokers: Brokers) -> None:
    connection = Connection(URL, "test")
    done: list[str] = []
    lost: list[bool] = []
    for name in ("queues", "consumers"):
        await connection.add(lambda _session, name=name: note(done, name))  # type: ignore[misc]
    connection.on_lost(lambda: lost.append(connection.connected))
    async with running(connection):
        await ready(connection)
        done.append("-")
        brokers.open[0].fail("reset by peer")
        await until(lambda: connection.connected and len(done) >= 5)
    assert done == ["queues", "consumers", "-", "queues", "consumers"]
    assert lost == [False, False]  # the loss, and the end: when it is told, nothing is connected


async def note(done: list[str], name: str) -> None:
    done.append(name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("index", [0, 1])
async def test_one_connection_ends_with_the_other(brokers: Brokers, index: int) -> None:
    connection = Connection(URL, "test")
    async with running(connection):
        first = await ready(connection)
        pair = brokers.open
        assert [wire.name for wire in pair] == ["test (publish)", "test (consume)"]
        assert len({wire.host for wire in pair}) == 1
        pair[index].fail("reset by peer")
        await until(lambda: connection.session not in (None, first))
        assert all(wire.over for wire in pair)
        assert len(brokers.open) == 2


async def test_the_end_takes_leave_of_both(brokers: Brokers) -> None:
    connection = Connection(URL, "test")
    async with running(connection):
        await ready(connection)
    assert [(wire.closed, wire.failed) for wire in brokers.wires] == [(True, "")] * 2


async def test_half_a_session_is_not_left_open(brokers: Brokers) -> None:
    """A host that takes one of the two only: the other must not stay behind, and the next host is tried."""
    brokers.refuse = lambda host, use: host == "one" and "consume" in use
    connection = Connection(URL, "test")
    async with running(connection):
        for _ in range(20):
            session = await ready(connection)
            assert session.host.name == "two"
            assert len(brokers.open) == 2
            brokers.open[0].fail("reset by peer")
            await until(lambda before=session: connection.session not in (None, before))  # type: ignore[misc]
    assert {wire.host for wire in brokers.wires} == {"one", "two"}


async def test_the_host_that_was_lost_is_tried_last(brokers: Brokers) -> None:
    connection = Connection(URL, "test")
    hosts: list[str] = []
    async with running(connection):
        for _ in range(20):
            session = await ready(connection)
            hosts.append(session.host.name)
            brokers.open[0].fail("reset by peer")
            await until(lambda before=session: connection.session not in (None, before))  # type: ignore[misc]
    assert all(host != before for before, host in itertools.pairwise(hosts))


async def test_a_part_that_is_declined_is_tried_again_and_costs_the_others_nothing(
    brokers: Brokers,
) -> None:
    connection = Connection(URL, "test")
    tries: list[Session] = []
    done: list[str] = []

    async def declined_twice(session: Session) -> None:
        tries.append(session)
        if len(tries) < 3:
            raise Declined(406, "PRECONDITION_FAILED")

    await connection.add(declined_twice)
    await connection.add(lambda _session: note(done, "other"))
    async with running(connection):
        session = await ready(connection)
        await until(lambda: len(tries) == 3)
        assert tries == [session] * 3
        assert done == ["other"]
        assert connection.session is session


async def test_a_declined_part_is_not_tried_in_a_session_that_is_over(brokers: Brokers) -> None:
    connection = Connection(URL, "test")
    tries: list[Session] = []

    async def declined(session: Session) -> None:
        assert not session.ended.is_set()
        tries.append(session)
        raise Declined(406, "PRECONDITION_FAILED")

    await connection.add(declined)
    async with running(connection):
        await ready(connection)
        brokers.open[0].fail("reset by peer")
        await until(lambda: len(set(map(id, tries))) == 2)


async def test_a_setup_that_meets_the_end_begins_anew(brokers: Brokers) -> None:
    connection = Connection(URL, "test")
    tries: list[Session] = []

    async def broken_once(session: Session) -> None:
        tries.append(session)
        if len(tries) == 1:
            raise Closed("in the middle")

    await connection.add(broken_once)
    async with running(connection):
        session = await ready(connection)
        assert len(tries) == 2
        assert tries[1] is session
        assert len(brokers.open) == 2


async def test_a_setup_that_hangs_is_given_up(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETUP_TIMEOUT", 0.01)
    connection = Connection(URL, "test")
    tries: list[Session] = []

    async def hanging_once(session: Session) -> None:
        tries.append(session)
        if len(tries) == 1:
            await asyncio.Event().wait()

    await connection.add(hanging_once)
    async with running(connection):
        await ready(connection)
        assert len(tries) == 2
        assert len(brokers.open) == 2


async def test_a_part_that_comes_late_joins_the_session(brokers: Brokers) -> None:
    connection = Connection(URL, "test")
    done: list[str] = []
    async with running(connection):
        session = await ready(connection)
        await connection.add(lambda _session: note(done, "late"))
        assert done == ["late"]
        assert connection.session is session


async def test_a_late_part_that_fails_ends_the_session(brokers: Brokers) -> None:
    """It would be missing for as long as the session lives."""
    connection = Connection(URL, "test")
    tries: list[Session] = []

    async def broken_once(session: Session) -> None:
        tries.append(session)
        if len(tries) == 1:
            raise TimeoutError

    async with running(connection):
        first = await ready(connection)
        await connection.add(broken_once)
        await until(lambda: len(tries) == 2)
        assert tries[0] is first
        assert tries[1] is not first


async def test_close_ends_the_search_for_a_broker(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 3600.0)
    monkeypatch.setattr(module, "LAST_DELAY", 3600.0)
    asked = asyncio.Event()

    def refuse(_host: str, _use: str) -> bool:
        asked.set()
        return True

    brokers.refuse = refuse
    async with running(Connection(URL, "test")):
        await asyncio.wait_for(asked.wait(), BOUND)
    assert brokers.wires == []
