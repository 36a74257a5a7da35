"""A customer whose flows grow as large as is allowed, beside a menu of another one that must go on at once."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from deploy.lab.lab import Lab
from tests.support.metrics import check_unharmed, vital_signs
from tests.support.phone_sipp import Caller, SippCall
from tests.support.rest import Api, Customer, Json, Problem, action, new_customer
from tests.support.web import ToneServer

CALLS = 6
READY, TYPED = 700, 1500
WITHIN = 4.0
MOST_GROWN = 200e6


@pytest.fixture
async def attacker(platform: Lab, admin: Api) -> AsyncIterator[Customer]:
    """Another customer."""
    made = await new_customer(platform, admin, "attacker")
    yield made
    await made.leave()


def grown() -> list[Json]:
    """219 KB of JSON, of whose former values 22 MB were kept; 800 steps before the first prompt."""
    first = str(uuid.uuid4())
    sets = [action("variable_set", key="a", value=letter * 32_000) for letter in "bcdefg"]
    return [
        action("answer"),
        action("variable_set", id=first, key="a", value="a" * 32_000),
        *sets,
        action("goto", target_id=first, loop_count=99),
        action("digits_receive", duration=60_000, length=100),
        action("branch"),
        action("hangup"),
    ]


async def types(call: SippCall) -> float:
    """How long the menu takes to go on after a key."""
    await call.media.hears(READY)
    begun = time.monotonic()
    call.media.press("5")
    await call.media.hears(TYPED, within=8.0)
    return time.monotonic() - begun


async def test_a_flow_that_grows_is_not_noticed_by_others(
    platform: Lab, customer: Customer, attacker: Customer, caller: Caller, web: ToneServer
) -> None:
    hostile = await attacker.number(*grown())
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(READY, 400)]),
        action("digits_receive", duration=60_000),
        action("variable_set", key="typed", value="${voipbin.call.digits}"),
        action("play", stream_urls=[web.tone(TYPED, 400)]),
        action("hangup"),
    )
    before = await vital_signs(platform, "flow_manager")
    attacks = [await caller.answered_call(hostile) for _ in range(CALLS)]
    for each in attacks:
        each.media.press("123456789" * 3)
    call = await caller.answered_call(number)
    assert await types(call) < WITHIN

    page = await attacker.api.get("/v1.0/activeflows", page_size=100)
    assert len(page["result"]) == CALLS
    check_unharmed(before, await vital_signs(platform, "flow_manager"), MOST_GROWN)
    for each in attacks:
        await each.bye()
    await attacker.all_ended()


async def test_what_is_too_large_is_refused_with_its_field(customer: Customer) -> None:
    long = [action("talk", text="x" * 30_000) for _ in range(10)]
    with pytest.raises(Problem) as refused:
        await customer.flow(*long)
    assert refused.value.status == 400
    assert '"actions"' in refused.value.text
    body = {
        "source": {"type": "sip", "target": "sip:a@example.com"},
        "destinations": [{"type": "sip", "target": "sip:x@example.com"}],
        "actions": [action("hangup")],
        "variables": {"voipbin.call.id": "forged"},
    }
    with pytest.raises(Problem) as refused:
        await customer.api.post("/v1.0/calls", body)
    assert refused.value.status == 400
    assert "voipbin." in refused.value.text


async def test_a_page_of_long_flows_is_cut_and_goes_on(customer: Customer) -> None:
    """More than the broker takes as one message."""
    text = action("talk", text="x" * 30_000)
    made = await asyncio.gather(*(customer.flow(*[text] * 8) for _ in range(24)))
    found: list[str] = []
    token, pages = "", 0
    while True:
        page = await customer.api.get("/v1.0/flows", page_size=100, page_token=token)
        assert page["result"]
        found += [flow["id"] for flow in page["result"]]
        token, pages = page["next_page_token"], pages + 1
        if not token:
            break
    assert sorted(found) == sorted(made)
    assert pages > 1
