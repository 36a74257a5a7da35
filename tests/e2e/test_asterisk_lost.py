"""An Asterisk that does not come back, and what only looks like one.

What must hold: its calls end as `lost` within the setting (10 s in the lab) of its last sign of life, each once;
those of the others go on. Nobody's call ends because a proxy or the broker is away.
"""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind
from tests.support.events import call_events
from tests.support.outage import outage
from tests.support.phone_sipp import Caller, SippCall
from tests.support.rest import Api, Customer, Json, action, new_customer
from tests.support.web import ToneServer

LOST_AFTER = 10.0
SLACK = 6.0
"""For a busy machine: the heartbeat before the end is 0.5 s old, the judgement is made twice a second."""

LONGER = LOST_AFTER + 3.0
PROMPT, READY = 440, 700
CALLS = 8

pytestmark = pytest.mark.timeout(180)


def asterisk_of(call: SippCall) -> str:
    """The address of the Asterisk that carries a call, as its Contact says."""
    answered = call.report("answered")
    assert answered is not None
    found = re.search(r"sip:(?:[^@>]*@)?([0-9.]+)", answered.header("Contact"))
    assert found is not None
    return found[1]


@pytest.fixture(autouse=True)
async def _both_take_calls(platform: Lab, caller: Caller, admin: Api) -> None:
    """The balancer leaves an Asterisk out for two seconds after a failure, and the test before may have killed
    one."""
    customer = await new_customer(platform, admin, "who takes calls")
    number = await customer.number(action("answer"), action("sleep", duration=60_000))
    taking: set[str] = set()
    async with asyncio.timeout(30.0):
        while len(taking) < 2:
            call = await caller.answered_call(number)
            taking.add(asterisk_of(call))
            await call.bye()
    await customer.leave()


async def listening_calls(caller: Caller, customer: Customer, web: ToneServer) -> list[SippCall]:
    """Calls on both Asterisks that wait for a key, and then play a tone."""
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(READY, 400)]),
        action("digits_receive", duration=120_000, length=1),
        action("play", stream_urls=[web.tone(PROMPT, 30_000)]),
        action("hangup"),
    )
    calls = [await caller.answered_call(number) for _ in range(CALLS)]
    await asyncio.gather(*(call.media.hears(READY) for call in calls))
    assert len({asterisk_of(call) for call in calls}) == 2
    return calls


async def press_and_hear(calls: list[SippCall]) -> None:
    """Each call goes on where it was."""
    for call in calls:
        call.media.press("1")
    await asyncio.gather(*(call.media.hears(PROMPT, within=10.0) for call in calls))


async def lost_calls(customer: Customer, count: int, within: float) -> list[Json]:
    """Waits until so many calls are over; they are lost."""
    until = time.monotonic() + within
    while True:
        over = [call for call in await customer.calls() if call["status"] == "hangup"]
        if len(over) >= count:
            break
        assert time.monotonic() < until, f"{len(over)} of {count} calls are over"
        await asyncio.sleep(0.2)
    assert {(call["hangup_by"], call["hangup_reason"]) for call in over} == {("local", "lost")}
    assert len(over) == count
    return over


async def lost_asterisks(platform: Lab) -> float:
    """How often a call_manager found an Asterisk to be lost."""
    total = 0.0
    async with httpx.AsyncClient() as client:
        for process in platform.farm.of_module("call_manager"):
            text = (await client.get(f"{process.health_url}/metrics")).text
            for line in text.splitlines():
                if line.startswith("evercall_membership_lost_total "):
                    total += float(line.split()[1])
    return total


@contextlib.contextmanager
def frozen(platform: Lab, name: str) -> Iterator[None]:
    """SIGSTOP: its connections stay open, and nothing answers."""
    pids = platform.pids(name)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def killed(platform: Lab, name: str) -> AsyncIterator[None]:
    """kill -9 of an Asterisk together with its proxy: nobody is left to tell of it."""
    index = name.rpartition("-")[2]
    async with outage(platform, name, f"asterisk_proxy-{index}"):
        yield


@pytest.mark.parametrize("how", ["killed", "killed_with_its_proxy"])
async def test_the_calls_of_an_asterisk_that_does_not_come_back_are_lost(
    how: str, platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    victim = platform.farm.of_kind(Kind.ASTERISK)[0]
    death = outage if how == "killed" else killed
    async with call_events(platform, customer.id) as heard:
        calls = await listening_calls(caller, customer, web)
        spared = [call for call in calls if asterisk_of(call) != victim.address]
        async with death(platform, victim.name):
            over = await lost_calls(customer, len(calls) - len(spared), LOST_AFTER + SLACK)
            await press_and_hear(spared)
            fresh = await listening_call(caller, customer, web)
            assert asterisk_of(fresh) != victim.address
        await asyncio.gather(*(call.bye() for call in [*spared, fresh]))
        await customer.all_ended()
        for call in over:
            assert heard.by_call[call["id"]].count("call_hangup") == 1
    reasons = [call["hangup_reason"] for call in await customer.calls()]
    assert reasons.count("lost") == len(over)


async def listening_call(caller: Caller, customer: Customer, web: ToneServer) -> SippCall:
    """One more call."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(READY, 30_000)]), action("hangup")
    )
    call = await caller.answered_call(number)
    await call.media.hears(READY)
    return call


async def test_an_asterisk_that_stands_still_loses_its_calls_and_keeps_no_channel(
    platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """When it goes on, the channels of the calls that were ended are hung up."""
    victim = platform.farm.of_kind(Kind.ASTERISK)[0]
    calls = await listening_calls(caller, customer, web)
    spared = [call for call in calls if asterisk_of(call) != victim.address]
    gone = [call for call in calls if asterisk_of(call) == victim.address]
    with frozen(platform, victim.name):
        await lost_calls(customer, len(gone), LOST_AFTER + SLACK)
        await press_and_hear(spared)
    await asyncio.gather(*(call.expect("left", within=10.0) for call in gone))
    await asyncio.gather(*(call.bye() for call in spared))
    reasons = sorted(call["hangup_reason"] for call in await customer.all_ended())
    assert reasons == ["lost"] * len(gone) + ["normal"] * len(spared)


@pytest.mark.parametrize("away", ["asterisk_proxy-1", "rabbitmq"])
async def test_nobody_is_lost_because_nothing_is_heard(
    away: str, platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """A proxy or the broker is away for longer than an Asterisk may be."""
    before = await lost_asterisks(platform)
    calls = await listening_calls(caller, customer, web)
    begun = time.monotonic()
    async with outage(platform, away):
        while time.monotonic() < begun + LONGER:
            await asyncio.sleep(1.0)
            if away != "rabbitmq":
                assert {call["status"] for call in await customer.calls()} == {"progressing"}
        for call in calls:
            call.media.press("1")
    await asyncio.gather(*(call.media.hears(PROMPT, within=15.0) for call in calls))
    assert {call["status"] for call in await customer.calls()} == {"progressing"}
    assert await lost_asterisks(platform) == before
    await asyncio.gather(*(call.bye() for call in calls))
    reasons = {call["hangup_reason"] for call in await customer.all_ended()}
    assert reasons == {"normal"}
