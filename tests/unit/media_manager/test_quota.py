"""How many streams a customer may have."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from evercall.contracts.base import Request
from evercall.contracts.call import CustomerUse, CustomerUseFind
from evercall.contracts.media import MediaDirection
from evercall.contracts.tenant import Quotas, Tenancy
from evercall.service.errors import RateLimited, Unavailable
from media_manager.domain.options import StreamOptions
from media_manager.gateways.quota import StreamQuota

CUSTOMER, OTHER = UUID(int=3), UUID(int=4)


class Others:
    """call_manager and api_manager on paper."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.streams: dict[UUID, int] = {}
        self.is_away = False

    async def ask(self, service: str, request: Request[Any]) -> Any:
        await asyncio.sleep(0)
        assert service == "call_manager"
        assert isinstance(request, CustomerUseFind)
        if self.is_away:
            raise Unavailable("broker_unavailable", "-")
        return CustomerUse(media_streams=self.streams.get(request.customer_id, 0))

    async def of(self, customer_id: UUID) -> Tenancy:
        return Tenancy(customer_id=customer_id, quotas=Quotas(media_streams=self.limit))


def wanted(customer: UUID = CUSTOMER, *, from_flow: bool = False) -> StreamOptions:
    both = MediaDirection.BOTH
    return StreamOptions(
        UUID(int=1), UUID(int=2), customer, "sln", 8000, both, both, from_flow=from_flow
    )


async def begin(quota: StreamQuota, others: Others, options: StreamOptions) -> None:
    async with quota.room(options):
        await asyncio.sleep(0.01)
        others.streams[options.customer_id] = others.streams.get(options.customer_id, 0) + 1


async def test_the_limit_is_named() -> None:
    others = Others(2)
    quota = StreamQuota(others, others)
    await begin(quota, others, wanted())
    await begin(quota, others, wanted())
    with pytest.raises(RateLimited) as refused:
        await begin(quota, others, wanted())
    assert refused.value.code == "quota_exceeded"
    assert refused.value.details["quota"] == "media_streams"
    assert refused.value.details["limit"] == 2
    await begin(quota, others, wanted(OTHER))


async def test_streams_that_begin_at_the_same_time_count() -> None:
    others = Others(3)
    quota = StreamQuota(others, others)
    results = await asyncio.gather(
        *(begin(quota, others, wanted()) for _ in range(10)), return_exceptions=True
    )
    assert others.streams[CUSTOMER] <= 3
    assert sum(isinstance(each, RateLimited) for each in results) == 10 - others.streams[CUSTOMER]
    assert not quota._beginning


async def test_a_stream_of_a_flow_that_comes_back_finds_its_own_room() -> None:
    others = Others(2)
    others.streams[CUSTOMER] = 2
    await begin(StreamQuota(others, others), others, wanted(from_flow=True))


async def test_nobody_who_can_tell() -> None:
    others = Others(2)
    others.is_away = True
    quota = StreamQuota(others, others)
    with pytest.raises(Unavailable):
        await begin(quota, others, wanted())
    assert not quota._beginning
