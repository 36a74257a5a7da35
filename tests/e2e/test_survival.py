"""The control plane may die at any time.

What must hold: "With calls up and flows in progress, `kill -9` of each of call_manager, flow_manager,
asterisk_proxy, RabbitMQ, PostgreSQL and api_manager, one at a time, then restarted: no call drops, digits
typed and hangups made meanwhile are accounted for, flows go on, no call row stays behind as live. Two
call_managers run; one is killed: its calls go on in the other."

In each test the same cast of calls is in the middle of something when the victim dies, and it stays dead
for a while in which they do something.
"""

import asyncio
import contextlib
import time

import pytest

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind
from tests.e2e.theatre import CAST, GOES_ON, PROMPT, READY, Stage, Theatre, goes_on, play
from tests.support.events import call_events
from tests.support.outage import outage
from tests.support.phone_media import expecting_no_gap
from tests.support.phone_sipp import Callee, Caller, SippCall
from tests.support.rest import Customer, Json, action
from tests.support.web import ToneServer

VICTIMS = [
    "call_manager-1",
    "call_manager-2",
    "flow_manager-1",
    "asterisk_proxy-1",
    "asterisk_proxy-2",
    "rabbitmq",
    "postgresql",
    "api_manager-1",
    "route_manager-1",
]

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("victim", VICTIMS)
async def test_calls_survive(
    victim: str,
    platform: Lab,
    caller: Caller,
    callee: Callee,
    customer: Customer,
    web: ToneServer,
) -> None:
    """See the module's docstring; the victim is killed and stays dead for three seconds."""
    stage = Stage(sum(count for _, count in CAST))
    theatre = Theatre(stage, caller, callee, customer, web)

    async with call_events(platform, customer.id) as heard:
        await play(platform, theatre, victim)
        calls = await customer.all_ended(within=30.0)
        await events_of_all(calls, heard.by_call)

    await account(theatre, calls)
    await everything_works_again(theatre)


async def account(theatre: Theatre, calls: list[Json]) -> None:
    """Every call is told as it was, and its flow with it."""
    by_number = {number: role for role, number in theatre.numbers.items()}
    for call in calls:
        role = by_number.get(call["destination"]["target"], "outgoing")
        if call["tm_progressing"] is None:  # a newcomer that was told to try again
            continue
        flow = await theatre.customer.ended_flow(call)
        variables, steps = flow["variables"], [step["type"] for step in flow["executed_actions"]]
        match role:
            case "typist":
                assert variables["got"] == "12345", (call, flow)
            case "sleeper":
                assert variables["awake"] == "yes", (call, flow)
        if role in ("leaver", "outgoing"):
            assert flow["end_reason"] == "reference_ended"
        else:
            assert (call["hangup_by"], call["hangup_reason"]) == ("local", "normal"), call
            assert flow["end_reason"] == "completed"
            assert steps[-1] == "hangup"
            assert len(steps) == len({step["id"] for step in flow["executed_actions"]}), flow


async def events_of_all(calls: list[Json], heard: dict[str, list[str]]) -> None:
    """Each call was created, answered and ended exactly once, in this order, for those who listen."""
    until = time.monotonic() + 15.0
    while True:
        missing = [call for call in calls if "call_hangup" not in heard[call["id"]]]
        if not missing:
            break
        assert time.monotonic() < until, f"no call_hangup of {missing}"
        await asyncio.sleep(0.1)
    for call in calls:
        told = [event for event in heard[call["id"]] if event != "call_ringing"]
        expected = ["call_created", "call_progressing", "call_hangup"]
        if call["tm_progressing"] is None:
            expected.remove("call_progressing")
        assert told == expected, call


async def everything_works_again(theatre: Theatre) -> None:
    """The next call is as good as any."""
    call = await theatre.caller.answered_call(theatre.numbers["sleeper"], within=5.0)
    await goes_on(call.media)
    await call.expect("left")


async def test_the_calls_of_one_call_manager_go_on_in_the_other(
    platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """One of two is killed and stays away: what is typed to its calls is heard by the other, which goes
    on with their flows, within seconds."""
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(READY, 400)]),
        action("digits_receive", duration=60_000, length=1),
        action("play", stream_urls=[web.tone(GOES_ON, 300)]),
        action("digits_receive", duration=60_000, length=1),
        action("play", stream_urls=[web.tone(PROMPT, 300)]),
        action("hangup"),
    )
    calls = [await caller.answered_call(number) for _ in range(16)]
    await asyncio.gather(*(call.media.hears(READY) for call in calls))

    async with outage(platform, "call_manager-1"):
        for call in calls:
            call.media.press("1")
        await asyncio.gather(*(call.media.hears(GOES_ON, within=10.0) for call in calls))
        late = await caller.answered_call(number)
        await late.media.hears(READY)
        await late.bye()

    async with outage(platform, "call_manager-2"):
        for call in calls:
            call.media.press("2")
        await asyncio.gather(*(call.media.hears(PROMPT, within=10.0) for call in calls))
        await asyncio.gather(*(call.expect("left") for call in calls))

    ended = await customer.all_ended()
    assert sorted(call["hangup_by"] for call in ended) == ["local"] * 16 + ["remote"]


async def test_calls_survive_one_death_after_another(
    platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Every process of ours is killed, one a second, and restarted by its supervisor at once; a key is
    pressed in each call between two deaths. All keys arrive, in their order, and the flows go on."""
    keys = "13579"
    victims = [process.name for process in platform.farm.of_kind(Kind.SERVICE)]
    pressed = "".join(keys[n % len(keys)] for n in range(len(victims)))
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(READY, 400)]),
        action("digits_receive", duration=60_000, length=len(pressed)),
        action("variable_set", key="got", value="${voipbin.call.digits}"),
        action("play", stream_urls=[web.tone(GOES_ON, 300)]),
        action("hangup"),
    )
    calls = [await caller.answered_call(number) for _ in range(8)]
    await asyncio.gather(*(call.media.hears(READY) for call in calls))

    for victim, key in zip(victims, pressed, strict=True):
        await asyncio.to_thread(platform.kill, victim)
        for call in calls:
            call.media.press(key)
        await asyncio.sleep(1.0)
    await asyncio.gather(*(goes_on(call.media) for call in calls))
    await asyncio.gather(*(call.expect("left") for call in calls))

    everybody = [process.name for process in platform.farm.processes]
    await asyncio.to_thread(platform.wait_ready, everybody)
    for told in await customer.all_ended():
        assert (told["hangup_by"], told["hangup_reason"]) == ("local", "normal")
        assert (await customer.ended_flow(told))["variables"]["got"] == pressed


async def test_calls_survive_the_death_of_a_kamailio(
    platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """The edge keeps nothing of a dialog: media goes on, and a BYE takes the way that is left."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(PROMPT, 30_000)]), action("hangup")
    )
    calls = [await caller.answered_call(number) for _ in range(6)]
    await asyncio.gather(*(call.media.hears(PROMPT) for call in calls))

    with contextlib.ExitStack() as listening:
        for call in calls[3:]:
            listening.enter_context(expecting_no_gap(call.media))
        async with outage(platform, "kamailio-1"):
            await asyncio.gather(*(call.bye() for call in calls[:3]))
            late = await caller.answered_call(number)
            await late.media.hears(PROMPT)
    await asyncio.gather(*(call.bye() for call in [*calls[3:], late]))

    ended = await customer.all_ended()
    assert {(call["hangup_by"], call["hangup_reason"]) for call in ended} == {("remote", "normal")}
    assert len(ended) == 7


async def test_the_death_of_an_asterisk_leaves_no_call_behind_as_live(
    platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Its calls are over and are told so, those of the other go on, and new calls are taken."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(PROMPT, 30_000)]), action("hangup")
    )
    calls = [await caller.answered_call(number) for _ in range(12)]
    await asyncio.gather(*(call.media.hears(PROMPT) for call in calls))
    victim = platform.farm.of_kind(Kind.ASTERISK)[0]

    def is_lost(call: SippCall) -> bool:
        answered = call.report("answered")
        assert answered is not None
        return f"{victim.address}:" in answered.header("Contact")

    spared = [call for call in calls if not is_lost(call)]
    async with outage(platform, victim.name):
        for call in spared:
            await call.media.hears(PROMPT, since=call.media.now, lasting=0.3)
    await asyncio.gather(*(call.bye() for call in spared))
    told = await customer.all_ended(within=20.0)

    assert 0 < len(spared) < len(calls)
    reasons = sorted(call["hangup_reason"] for call in told)
    assert reasons == ["lost"] * (len(calls) - len(spared)) + ["normal"] * len(spared)
    for _ in range(4):
        fresh = await caller.answered_call(number)
        await fresh.media.hears(PROMPT)
        await fresh.bye()
