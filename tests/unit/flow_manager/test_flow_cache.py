"""The port "flows"."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from evercall.contracts.flow import Action, Flow, FlowGet
from evercall.service.errors import NotFound, Unavailable
from flow_manager.gateways import flows
from flow_manager.gateways.flows import FlowCache

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = UUID(int=1)
GET = FlowGet(id=UUID(int=7), customer_id=OWNER)


def make(number: int = 7, name: str = "one") -> Flow:
    return Flow(
        id=UUID(int=number), customer_id=OWNER, name=name, actions=[], tm_create=NOW, tm_update=NOW
    )


class Store:
    """Flows by id, and how often they were read."""

    def __init__(self, *rows: Flow) -> None:
        self.rows = {flow.id: flow for flow in rows}
        self.reads = 0
        self.now = 0.0
        self.cache = FlowCache(self.read, clock=lambda: self.now)
        self.while_reading: Callable[[], None] = lambda: None

    async def read(self, request: FlowGet) -> Flow | None:
        self.reads += 1
        found = self.rows.get(request.id)
        self.while_reading()
        return found if found and found.customer_id == request.customer_id else None


async def test_a_flow_is_known_once_it_was_read() -> None:
    store = Store(make())
    assert store.cache.known(GET) is None
    assert await store.cache.answer(GET) == make()
    assert store.cache.known(GET) == make()
    assert store.reads == 1


async def test_a_flow_that_is_not_there_is_not_remembered() -> None:
    store = Store()
    with pytest.raises(NotFound, match="flow_not_found"):
        await store.cache.answer(GET)
    assert store.cache.known(GET) is None


async def test_strangers_do_not_find_what_is_known() -> None:
    store = Store(make())
    await store.cache.answer(GET)
    stranger = msgspec.structs.replace(GET, customer_id=UUID(int=2))
    found = store.cache.known(stranger)
    assert isinstance(found, NotFound)
    assert found.code == "flow_not_found"
    with pytest.raises(NotFound):
        await store.cache.answer(stranger)


async def test_what_changed_is_forgotten() -> None:
    store = Store(make())
    await store.cache.answer(GET)
    store.cache.forget(UUID(int=8))
    assert store.cache.known(GET) is not None
    store.cache.forget(GET.id)
    assert store.cache.known(GET) is None
    await store.cache.answer(GET)
    store.cache.forget_all()
    assert store.cache.known(GET) is None


async def test_what_changes_while_it_is_read_is_not_kept() -> None:
    store = Store(make())
    store.while_reading = lambda: store.cache.forget(GET.id)
    assert await store.cache.answer(GET) == make()
    assert store.cache.known(GET) is None


async def test_a_flow_is_known_for_a_minute() -> None:
    store = Store(make())
    await store.cache.answer(GET)
    store.now = flows.MAX_AGE
    assert store.cache.known(GET) is not None
    store.now = flows.MAX_AGE + 1
    assert store.cache.known(GET) is None


async def test_the_least_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "MAX_FLOWS", 2)
    store = Store(make(1), make(2), make(3))
    gets = [FlowGet(id=UUID(int=number), customer_id=OWNER) for number in (1, 2, 3)]
    await store.cache.answer(gets[0])
    await store.cache.answer(gets[1])
    assert store.cache.known(gets[0]) is not None
    await store.cache.answer(gets[2])
    assert [store.cache.known(get) is not None for get in gets] == [True, False, True]


async def test_long_flows_go_before_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "MAX_BYTES", 1000)
    action = Action(id=UUID(int=1), type="talk", option={"text": "x" * 300})
    long = [msgspec.structs.replace(make(number), actions=[action]) for number in (1, 2, 3)]
    store = Store(*long)
    gets = [FlowGet(id=flow.id, customer_id=OWNER) for flow in long]
    for get in (*gets, gets[2]):
        await store.cache.answer(get)
    assert [store.cache.known(get) is not None for get in gets] == [False, True, True]
    store.cache.forget(gets[2].id)
    await store.cache.answer(gets[0])
    assert store.cache.known(gets[1]) is not None


async def test_a_store_that_is_away_is_told() -> None:
    async def away(_: FlowGet) -> Flow | None:
        raise Unavailable("store_unavailable", "away")

    with pytest.raises(Unavailable):
        await FlowCache(away).answer(GET)
