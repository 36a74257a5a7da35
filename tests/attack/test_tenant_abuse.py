"""What a tenant may try: another's number, another's identity, the inside of the platform, all of the capacity.

B attacks; A's call, which is up, must not notice.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deploy.lab.lab import Lab
from tests.attack.conftest import Bystander
from tests.support.outage import outage
from tests.support.phone_sipp import Callee, Caller
from tests.support.rest import SOURCE, Api, Customer, Problem, action, new_customer

ASKERS, REQUESTS_EACH = 20, 60
USUAL_SECONDS = 2.0


@pytest.fixture
async def attacker(platform: Lab, admin: Api) -> AsyncIterator[Customer]:
    """Customer B."""
    made = await new_customer(platform, admin, "attacker")
    yield made
    await made.leave()


def calls_body(target: str, source: str = SOURCE, destinations: int = 1) -> dict[str, Any]:
    return {
        "source": {"type": "tel" if source.startswith("+") else "sip", "target": source},
        "destinations": [{"type": "sip", "target": target}] * destinations,
        "actions": [action("sleep", duration=60_000)],
    }


async def refusal(api: Api, path: str, body: object) -> str:
    """The reason that a POST is refused for."""
    with pytest.raises(Problem) as refused:
        await api.post(path, body)
    reason: str = httpx.Response(400, text=refused.value.text).json()["error"]["reason"]
    return reason


async def test_nobody_claims_a_number_or_calls_as_somebody_else(
    bystander: Bystander, attacker: Customer, callee: Callee, admin: Api
) -> None:
    async with bystander.unharmed():
        (owned,) = (await bystander.customer.api.get("/v1.0/numbers"))["result"]
        number = str(owned["number"])
        for wanted in (number, "+4930999999"):  # taken or not: B learns nothing
            body = {"number": wanted}
            reason = await refusal(attacker.api, "/v1.0/numbers", body)
            assert reason in ("PERMISSION_DENIED", "SCOPE_MISSING")
        with pytest.raises(Problem, match="NUMBER_ALREADY_EXISTS"):
            await admin.post("/v1.0/numbers", {"number": number}, customer_id=attacker.id)
        target = callee.uri.format(user="victim")
        for source in (
            number,
            f"sip:{number}@evercall.test",
            f"sip:%2B{number[1:]}@evercall.test",
            "sip:110@evercall.test",
            "sip:ceo@bank.example",
        ):
            body = calls_body(target, source)
            assert await refusal(attacker.api, "/v1.0/calls", body) == "SOURCE_NOT_ALLOWED"
        assert await attacker.calls() == []


async def test_a_number_rests_after_it_was_given_up(
    platform: Lab, customer: Customer, attacker: Customer, admin: Api
) -> None:
    number = await customer.number(action("answer"))
    (owned,) = (await customer.api.get("/v1.0/numbers"))["result"]
    await admin.delete(f"/v1.0/numbers/{owned['id']}", customer_id=customer.id)
    with pytest.raises(Problem, match="NUMBER_RESTING"):
        await admin.post("/v1.0/numbers", {"number": number}, customer_id=attacker.id)
    await admin.post("/v1.0/numbers", {"number": number}, customer_id=customer.id)


async def test_no_call_goes_inside_or_to_satellites_by_sip_uri(
    bystander: Bystander, attacker: Customer, platform: Lab
) -> None:
    farm = platform.farm
    health = farm.of_module("call_manager")[0].health_url.removeprefix("http://")
    targets = [
        "sip:x@169.254.169.254:80;transport=tcp",
        f"sip:x@{health};transport=tcp",
        *(f"sip:x@{process.address}" for process in farm.processes),
        f"sip:+882161234@{farm.network.external_sip}",
        "sip:x@2130706433",
        "sip:x@0x7f.1",
        "sip:x@[::ffff:127.0.0.1]",
        "sip:x@[::1]:5672",
        "sip:x@localhost:15672;transport=tcp",
        f"sip:x@8.8.8.8;maddr={farm.network.rabbitmq(1)}",
    ]
    async with bystander.unharmed():
        for target in targets:
            reason = await refusal(attacker.api, "/v1.0/calls", calls_body(target))
            assert reason == "DESTINATION_NOT_ALLOWED", target
        assert await attacker.calls() == []


async def test_one_tenant_that_asks_without_end_does_not_keep_others_waiting(
    platform: Lab, attacker: Customer, customer: Customer, callee: Callee, admin: Api
) -> None:
    """20 times 500 calls/s wanted by B: B gets its quota, with 429 for the rest; A's call is placed meanwhile."""
    quotas = {"concurrent_calls": 5, "calls_per_second": 5}
    await admin.request("PUT", f"/v1.0/customers/{attacker.id}/quotas", json=quotas)
    body = calls_body(callee.uri.format(user="flood"), destinations=20)
    one = calls_body(callee.uri.format(user="flood"))
    seen: dict[str, int] = {}
    most = 0

    async def ask(client: httpx.AsyncClient) -> None:
        for turn in range(REQUESTS_EACH):
            answer = await client.post("/v1.0/calls", json=one if turn % 2 else body)
            reason = answer.json()["error"]["reason"] if answer.is_error else "placed"
            seen[reason] = seen.get(reason, 0) + 1
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1

    headers = {"Authorization": f"Bearer {attacker.api.accesskey}"}
    async with httpx.AsyncClient(
        base_url=platform.farm.api_url, headers=headers, timeout=30.0
    ) as client:
        flood = [asyncio.create_task(ask(client)) for _ in range(ASKERS)]
        await asyncio.sleep(0)
        while "QUOTA_EXCEEDED" not in seen:
            assert not all(task.done() for task in flood)
            await asyncio.sleep(0.02)
        begun = time.monotonic()
        placed = await customer.place_call(callee.uri.format(user="legitimate"), action("hangup"))
        sip = await callee.incoming("legitimate")
        took = time.monotonic() - begun
        await sip.answer()
        use = (await admin.get(f"/v1.0/customers/{attacker.id}"))["use"]
        most = max(most, use["concurrent_calls"])
        await asyncio.gather(*flood)

    assert (await customer.ended(placed["id"]))["hangup_reason"] == "normal"
    assert took < USUAL_SECONDS, f"{took:.2f} s until the phone rang; {seen}"
    assert set(seen) <= {"placed", "QUOTA_EXCEEDED", "RATE_LIMIT_EXCEEDED"}, seen
    assert seen["QUOTA_EXCEEDED"] > 0
    assert most <= 5
    assert len([call for call in await attacker.calls() if call["status"] != "hangup"]) <= 5


async def test_freezing_ends_what_goes_out_and_refuses_what_comes_in(
    bystander: Bystander,
    platform: Lab,
    attacker: Customer,
    callee: Callee,
    caller: Caller,
    admin: Api,
) -> None:
    number = await attacker.number(action("answer"), action("sleep", duration=60_000))
    up = await caller.answered_call(number)
    outgoing = []
    for user in ("one", "two", "three"):
        call = await attacker.place_call(
            callee.uri.format(user=user), action("sleep", duration=60_000)
        )
        outgoing.append(call["id"])
        sip = await callee.incoming(user)
        if user == "one":  # the others are still ringing
            await sip.answer()
            await attacker.until(call["id"], lambda one: bool(one["status"] == "progressing"))
    async with bystander.unharmed():
        begun = time.monotonic()
        await admin.post(f"/v1.0/customers/{attacker.id}/freeze")
        for identifier in outgoing:
            await _ended(admin, attacker.id, identifier, within=5.0)
        took = time.monotonic() - begun
        assert took < 5.0
        refused = await caller.call(number)
        assert (await refused.expect("refused")).status == 480
        assert not up.has_ended  # what had come in before goes on
        with pytest.raises(Problem, match="ACCOUNT_FROZEN"):
            await attacker.api.get("/v1.0/calls")
        await admin.post(f"/v1.0/customers/{attacker.id}/recover")
        again = await caller.answered_call(number)
        await again.bye()
    await up.bye()


async def test_a_freeze_in_the_middle_of_an_outage_is_carried_out_afterwards(
    platform: Lab, attacker: Customer, callee: Callee, admin: Api
) -> None:
    """Nobody hears of the freeze while call_manager is dead; whoever comes back ends the calls all the same."""
    call = await attacker.place_call(
        callee.uri.format(user="lasting"), action("sleep", duration=60_000)
    )
    sip = await callee.incoming("lasting")
    await sip.answer()
    await attacker.until(call["id"], lambda one: bool(one["status"] == "progressing"))
    victims = [process.name for process in platform.farm.of_module("call_manager")]
    async with outage(platform, *victims):
        await admin.post(f"/v1.0/customers/{attacker.id}/freeze")
        assert not sip.has_ended
    await sip.expect("left", within=15.0)
    await _ended(admin, attacker.id, call["id"], within=10.0)


async def _ended(admin: Api, customer_id: str, call_id: str, within: float) -> None:
    limit = time.monotonic() + within
    while True:
        call = await admin.get(f"/v1.0/calls/{call_id}", customer_id=customer_id)
        if call["status"] == "hangup":
            return
        assert time.monotonic() < limit, call
        await asyncio.sleep(0.1)
