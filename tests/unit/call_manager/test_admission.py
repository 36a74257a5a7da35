"""Who may have one more call."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from call_manager.gateways import admission as admitting
from call_manager.gateways.admission import Admission, Verdict
from evercall.contracts.tenant import Quotas, Tenancy
from evercall.service.errors import Forbidden, PlatformError, RateLimited, Unavailable
from evercall.service.identity import new_id

CUSTOMER = new_id()
CALL = new_id()
FINE = Verdict("", 1, 0.0)


class World:
    """A store that answers in turn, and one customer."""

    def __init__(self, **quotas: int) -> None:
        self.tenancy = Tenancy(customer_id=CUSTOMER, quotas=Quotas(**quotas))
        self.verdicts: list[Verdict | PlatformError] = []
        self.asked: list[tuple[int, int, int, int]] = []
        self.admission = Admission(self, self)

    async def of(self, customer_id: UUID) -> Tenancy:
        assert customer_id == CUSTOMER
        return self.tenancy

    async def admit(
        self, customer_id: UUID, call_ids: Sequence[UUID], most: int, rate: int, burst: int
    ) -> Verdict:
        assert customer_id == CUSTOMER
        self.asked.append((len(call_ids), most, rate, burst))
        verdict = self.verdicts.pop(0) if self.verdicts else FINE
        if isinstance(verdict, PlatformError):
            raise verdict
        return verdict


async def test_outgoing_calls_count_by_number_and_rate() -> None:
    world = World(concurrent_calls=7, calls_per_second=2, destinations_per_request=5)
    await world.admission.admit_outgoing(CUSTOMER, [CALL, new_id()])
    assert world.asked == [(2, 7, 2, 5)]


async def test_incoming_calls_count_by_number_alone() -> None:
    world = World(concurrent_calls=7)
    await world.admission.admit_incoming(CUSTOMER, CALL)
    assert world.asked == [(1, 7, 0, 1)]


async def test_a_refusal_names_the_quota_and_its_size() -> None:
    world = World(concurrent_calls=7, calls_per_second=2)
    world.verdicts = [Verdict("concurrent_calls", 7, 0.0), Verdict("calls_per_second", 0, 2.5)]
    with pytest.raises(RateLimited) as full:
        await world.admission.admit_incoming(CUSTOMER, CALL)
    assert full.value.code == "quota_exceeded"
    assert full.value.details == {"quota": "concurrent_calls", "limit": 7, "retry_after": 1.0}
    with pytest.raises(RateLimited) as fast:
        await world.admission.admit_outgoing(CUSTOMER, [CALL])
    assert fast.value.details == {"quota": "calls_per_second", "limit": 2, "retry_after": 2.5}


async def test_a_frozen_customer_has_no_calls() -> None:
    world = World()
    world.tenancy = Tenancy(customer_id=CUSTOMER, frozen=True)
    for admit in (
        world.admission.admit_incoming(CUSTOMER, CALL),
        world.admission.admit_outgoing(CUSTOMER, [CALL]),
    ):
        with pytest.raises(Forbidden, match="account_frozen"):
            await admit
    assert world.asked == []


async def test_without_a_rate_no_outgoing_call_is_placed() -> None:
    world = World(calls_per_second=0)
    with pytest.raises(RateLimited, match="quota_exceeded"):
        await world.admission.admit_outgoing(CUSTOMER, [CALL])
    assert world.asked == []


async def test_a_call_that_came_in_waits_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admitting, "AGAIN", 0.0)
    away = Unavailable("store_unavailable", "away")
    world = World()
    world.verdicts = [away, away, FINE]
    await world.admission.admit_incoming(CUSTOMER, CALL)
    assert len(world.asked) == 3
    world.verdicts = [away] * admitting.TRIES
    with pytest.raises(Unavailable):
        await world.admission.admit_incoming(CUSTOMER, CALL)
    world.verdicts = [away]
    with pytest.raises(Unavailable):
        await world.admission.admit_outgoing(CUSTOMER, [CALL])


async def test_media_streams() -> None:
    world = World(media_streams=2)
    await world.admission.admit_stream(CUSTOMER, 1)
    with pytest.raises(RateLimited) as full:
        await world.admission.admit_stream(CUSTOMER, 2)
    assert (full.value.details["quota"], full.value.details["limit"]) == ("media_streams", 2)
