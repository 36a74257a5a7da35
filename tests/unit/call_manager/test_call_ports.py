"""The ports `routes` and `farm`, the settings, the reader: what is remembered, and what is refused."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest

from call_manager.domain.call import CallState
from call_manager.domain.ports import AdmitIncoming, ChooseAsterisk, ChosenAsterisk
from call_manager.gateways import farm as farming
from call_manager.gateways.farm import FarmPort
from call_manager.gateways.routes import KEPT, KEPT_MISSING, RoutesPort
from call_manager.rpc import CallReader
from call_manager.settings import Settings
from evercall.actor.query import ActorQuery
from evercall.bus.bus import Bus
from evercall.contracts.asterisk import Heartbeat
from evercall.contracts.base import ResourceEvent
from evercall.contracts.call import CallGet, CallList
from evercall.contracts.route import InboundRoute, InboundRouteFind
from evercall.service.errors import (
    DeadlineExceeded,
    NotFound,
    PlatformError,
    RateLimited,
    Unavailable,
)
from evercall.service.quotas import quota_exceeded
from tests.unit.call_manager.stage import (
    ANSWER,
    CALL_ID,
    CUSTOMER,
    FLOW,
    NO_ROUTE,
    ROUTE,
    START,
    incoming,
)

FIND = AdmitIncoming(call_id=CALL_ID, number="+15550100")


class FakeBus:
    """Answers from a list and keeps what was subscribed."""

    def __init__(self) -> None:
        self.answers: list[InboundRoute | PlatformError] = []
        self.asked = 0
        self.during: Callable[[], Awaitable[None]] | None = None
        self.event: Callable[[ResourceEvent], Awaitable[None]] | None = None
        self.connected: Callable[[], Awaitable[None]] | None = None

    async def ask(self, service: str, request: InboundRouteFind, *, timeout: float) -> InboundRoute:
        assert service == "route_manager"
        assert (request.number, timeout > 0) == (FIND.number, True)
        self.asked += 1
        if self.during is not None:
            await self.during()
        answer = self.answers.pop(0)
        if isinstance(answer, PlatformError):
            raise answer
        return answer

    async def subscribe_events(self, keys: Sequence[str], handler: Any) -> None:
        assert keys == ["*.number.*"]
        self.event = handler

    async def on_connected(self, callback: Any) -> None:
        self.connected = callback

    async def change(self, number: str) -> None:
        assert self.event is not None
        body = {"id": str(FLOW), "number": number, "name": "x"}
        await self.event(
            ResourceEvent(
                id=FLOW,
                type="number_updated",
                customer_id=CUSTOMER,
                resource_id=FLOW,
                at=START,
                resource=msgspec.Raw(msgspec.json.encode(body)),
            )
        )


class Routes:
    def __init__(self) -> None:
        self.now = 0.0
        self.bus = FakeBus()
        self.admitted: list[tuple[UUID, UUID]] = []
        self.full: PlatformError | None = None
        self.port = RoutesPort(cast("Bus", self.bus), self, lambda: self.now)

    async def admit_incoming(self, customer_id: UUID, call_id: UUID) -> None:
        if self.full is not None:
            raise self.full
        self.admitted.append((customer_id, call_id))

    async def remembers(self) -> bool:
        """Whether the route is at hand: nobody is asked."""
        before, self.bus.answers = self.bus.asked, [ROUTE]
        assert await self.port.answer(FIND) == ROUTE
        return self.bus.asked == before


@pytest.fixture
async def routes() -> Routes:
    world = Routes()
    await world.port.start()
    return world


async def test_a_route_is_remembered_for_a_while(routes: Routes) -> None:
    assert not await routes.remembers()
    routes.now = KEPT - 1
    assert await routes.remembers()
    routes.now = KEPT
    assert not await routes.remembers()


async def test_every_call_is_admitted_however_well_its_route_is_known(routes: Routes) -> None:
    routes.bus.answers = [ROUTE]
    for _ in range(3):
        assert routes.port.known(FIND) is None
        await routes.port.answer(FIND)
    assert routes.admitted == [(CUSTOMER, CALL_ID)] * 3
    routes.full = quota_exceeded("concurrent_calls", 3)
    with pytest.raises(RateLimited):
        await routes.port.answer(FIND)


async def test_that_there_is_none_is_remembered_briefly(routes: Routes) -> None:
    routes.bus.answers = [NO_ROUTE]
    with pytest.raises(NotFound):
        await routes.port.answer(FIND)
    known = routes.port.known(FIND)
    assert isinstance(known, NotFound)
    routes.now = KEPT_MISSING
    assert routes.port.known(FIND) is None


async def test_a_change_of_the_number_is_noticed(routes: Routes) -> None:
    routes.bus.answers = [ROUTE]
    await routes.port.answer(FIND)
    await routes.bus.change("+15550101")
    assert await routes.remembers()
    await routes.bus.change("+15550100")
    assert not await routes.remembers()


async def test_an_answer_that_a_change_overtook_is_used_but_not_kept(routes: Routes) -> None:
    routes.bus.answers = [ROUTE]
    routes.bus.during = lambda: routes.bus.change("+15550100")
    assert await routes.port.answer(FIND) == ROUTE
    routes.bus.during = None
    assert not await routes.remembers()


async def test_a_new_connection_forgets_everything(routes: Routes) -> None:
    routes.bus.answers = [ROUTE]
    await routes.port.answer(FIND)
    assert routes.bus.connected is not None
    await routes.bus.connected()
    assert not await routes.remembers()


@pytest.mark.parametrize(
    "failure", [DeadlineExceeded("request_timeout", ""), Unavailable("service_unavailable", "")]
)
async def test_route_manager_being_away_is_not_remembered(
    routes: Routes, failure: PlatformError
) -> None:
    routes.bus.answers = [failure]
    with pytest.raises(Unavailable):
        await routes.port.answer(FIND)
    assert not await routes.remembers()


# -- the farm ------------------------------------------------------------------------------------


class Farm:
    def __init__(self) -> None:
        self.now = 100.0
        self.port = FarmPort(cast("Bus", None), lambda: self.now)

    async def beat(self, name: str, channels: int = 0, **other: Any) -> None:
        fields: dict[str, Any] = {
            "role": "call",
            "boot_id": f"{name}-boot",
            "connected": True,
            "draining": False,
            **other,
        }
        await self.port.hear(
            Heartbeat(
                asterisk_id=name,
                sip_address="192.0.2.3:5060",
                channels=channels,
                at=datetime.now(UTC),
                **fields,
            )
        )

    def choose(self, number: int = 0) -> str | None:
        known = self.port.known(ChooseAsterisk(call_id=UUID(int=number)))
        return known.asterisk_id if isinstance(known, ChosenAsterisk) else None


async def test_the_least_loaded_is_chosen() -> None:
    farm = Farm()
    await farm.beat("call-1", 10)
    await farm.beat("call-2", 3)
    known = farm.port.known(ChooseAsterisk(call_id=CALL_ID))
    assert known == ChosenAsterisk(asterisk_id="call-2", boot_id="call-2-boot")


async def test_a_burst_between_heartbeats_is_spread() -> None:
    farm = Farm()
    await farm.beat("call-1", 4)
    await farm.beat("call-2", 0)
    chosen = [farm.choose(number) for number in range(20)]
    assert chosen.count("call-1") == 8
    assert chosen.count("call-2") == 12


@pytest.mark.parametrize("out", [{"connected": False}, {"draining": True}, {"role": "conference"}])
async def test_who_takes_no_calls_is_not_chosen(out: dict[str, Any]) -> None:
    farm = Farm()
    await farm.beat("call-1", 0, **out)
    assert farm.choose() is None
    await farm.beat("call-2", 99)
    assert farm.choose() == "call-2"


async def test_what_was_tried_is_not_chosen_again_unless_it_lives_anew() -> None:
    farm = Farm()
    await farm.beat("call-1", 0)
    await farm.beat("call-2", 99)
    tried = [ChosenAsterisk(asterisk_id="call-1", boot_id="call-1-boot")]
    known = farm.port.known(ChooseAsterisk(call_id=CALL_ID, tried=tried))
    assert known == ChosenAsterisk(asterisk_id="call-2", boot_id="call-2-boot")
    await farm.beat("call-1", 0, boot_id="next")
    known = farm.port.known(ChooseAsterisk(call_id=CALL_ID, tried=tried))
    assert known == ChosenAsterisk(asterisk_id="call-1", boot_id="next")


async def test_who_is_silent_is_not_chosen() -> None:
    farm = Farm()
    await farm.beat("call-1")
    farm.now += farming.FRESH - 0.1
    assert farm.choose() == "call-1"
    farm.now += 0.2
    assert farm.choose() is None


async def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    farm = Farm()
    request = ChooseAsterisk(call_id=CALL_ID)
    assert farm.port.known(request) is None
    farm.now += farming.PATIENCE
    known = farm.port.known(request)
    assert isinstance(known, Unavailable)
    assert known.code == "asterisk_unavailable"
    monkeypatch.setattr(farming, "PATIENCE", 0.01)
    with pytest.raises(Unavailable):
        await farm.port.answer(request)


async def test_a_process_that_has_just_begun_waits_for_the_first_heartbeat() -> None:
    farm = Farm()
    waiting = farm.port.answer(ChooseAsterisk(call_id=CALL_ID))
    await farm.beat("call-1", role="conference")
    await farm.beat("call-1")
    assert (await waiting).asterisk_id == "call-1"


# -- reading -------------------------------------------------------------------------------------


class FakeQuery:
    def __init__(self, *calls: CallState) -> None:
        self.calls = {call.id: call for call in calls}

    async def get(self, identifier: UUID) -> CallState | None:
        return self.calls.get(identifier)

    async def list(
        self, customer_id: UUID, page_size: int, page_token: str
    ) -> tuple[list[CallState], str]:
        assert (page_size, page_token) == (10, "t")
        return [call for call in self.calls.values() if call.customer_id == customer_id], "next"


async def test_reading_calls() -> None:
    call = incoming(ANSWER).call
    reader = CallReader(
        cast("ActorQuery[CallState]", FakeQuery(call)), cast("Any", None), cast("Any", None)
    )
    found = await reader.get(CallGet(id=CALL_ID, customer_id=CUSTOMER))
    assert found.id == CALL_ID
    page = await reader.list(CallList(customer_id=CUSTOMER, page_size=10, page_token="t"))
    assert [one.id for one in page.result] == [CALL_ID]
    assert page.next_page_token == "next"
    for identifier, customer in ((CALL_ID, FLOW), (FLOW, CUSTOMER)):
        with pytest.raises(NotFound):
            await reader.get(CallGet(id=identifier, customer_id=customer))


# -- settings ------------------------------------------------------------------------------------


def test_networks_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERCALL_AMQP_URL", "amqp://broker")
    monkeypatch.setenv("EVERCALL_DATABASE_URL", "postgresql://call@database/evercall")
    monkeypatch.setenv("EVERCALL_FETCH_ALLOWED_NETWORKS", "127.20.9.0/24, fd00::/8")
    networks = [str(network) for network in Settings().fetch_allowed_networks]
    assert networks == ["127.20.9.0/24", "fd00::/8"]
    monkeypatch.setenv("EVERCALL_FETCH_ALLOWED_NETWORKS", "")
    assert Settings().fetch_allowed_networks == ()
    monkeypatch.setenv("EVERCALL_FETCH_ALLOWED_NETWORKS", "everywhere")
    with pytest.raises(ValueError):
        Settings()
