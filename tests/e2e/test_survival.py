"""The control plane may die at any time.

The issue: "With calls up and flows in progress, `kill -9` of each of call_manager, flow_manager,
asterisk_proxy, RabbitMQ, PostgreSQL and api_manager, one at a time, then restarted: no call drops, digits
typed and hangups made meanwhile are accounted for, flows go on, no call row stays behind as live. Two
call_managers run; one is killed: its calls go on in the other."

In each test the same cast of calls is in the middle of something when the victim dies, and it stays dead
for a while in which they do something.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind
from tests.support.events import call_events
from tests.support.outage import outage
from tests.support.phone_rtp import Media, expecting_no_gap
from tests.support.phone_sipp import Callee, Caller, SippCall
from tests.support.rest import Customer, Json, action
from tests.support.web import ToneServer

DOWN_SECONDS = 3.0
PROMPT, READY, GOES_ON = 440, 700, 1500
PROMPT_SECONDS = 9.0
# Between two packets in the middle of a prompt; 20 ms would be perfect, on a machine with nothing to do.
LONGEST_GAP = 0.3

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


@dataclass
class Stage:
    """When the victim dies, and when it is back. Each actor says when it is in the middle of its scene."""

    actors: int
    down: asyncio.Event = field(default_factory=asyncio.Event)
    back: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self) -> None:
        """In the middle of the scene: wait for the outage."""
        self.actors -= 1
        if self.actors == 0:
            self._ready.set()
        await self.down.wait()

    async def everybody_ready(self) -> None:
        async with asyncio.timeout(30.0):
            await self._ready.wait()


@dataclass
class Theatre:
    """What the actors play with, and what must be true of their calls in the end."""

    stage: Stage
    caller: Caller
    callee: Callee
    customer: Customer
    web: ToneServer
    numbers: dict[str, str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """The numbers that the actors call."""
        web, customer = self.web, self.customer
        signal = action("play", stream_urls=[web.tone(GOES_ON, 300)])
        prompt = web.tone(PROMPT, int(PROMPT_SECONDS * 1000))
        self.numbers["listener"] = await customer.number(
            action("answer"), action("play", stream_urls=[prompt]), signal, action("hangup")
        )
        self.numbers["typist"] = await customer.number(
            action("answer"),
            action("play", stream_urls=[web.tone(READY, 400)]),
            action("digits_receive", duration=60_000, length=5),
            action("variable_set", key="got", value="${voipbin.call.digits}"),
            signal,
            action("hangup"),
        )
        self.numbers["sleeper"] = await customer.number(
            action("answer"),
            action("play", stream_urls=[web.tone(READY, 400)]),
            action("sleep", duration=1500),
            action("variable_set", key="awake", value="yes"),
            signal,
            action("hangup"),
        )
        self.numbers["leaver"] = await customer.number(
            action("answer"),
            action("play", stream_urls=[web.tone(READY, 400)]),
            action("sleep", duration=600_000),
            action("hangup"),
        )


async def goes_on(media: Media) -> None:
    """The flow's last tone is heard: it went on."""
    await media.hears(GOES_ON, within=40.0, lasting=0.2)


async def listener(theatre: Theatre) -> None:
    """Hears a long prompt out, without a gap, and what comes after it."""
    call = await theatre.caller.answered_call(theatre.numbers["listener"])
    await call.media.hears(PROMPT)
    await theatre.stage.begin()
    await goes_on(call.media)
    await call.expect("left")

    prompt = [t for t in call.media.recording.tones() if abs(t.frequency - PROMPT) < 10]
    heard = sum(tone.duration for tone in prompt)
    assert heard == pytest.approx(PROMPT_SECONDS, abs=0.5), call.media.heard()
    gap = call.media.recording.longest_gap(prompt[0].start + 0.1, prompt[-1].end - 0.1)
    assert gap < LONGEST_GAP, call.media.heard()


async def typist(theatre: Theatre) -> None:
    """Types before, during and after the outage."""
    call = await theatre.caller.answered_call(theatre.numbers["typist"])
    await call.media.hears(READY)
    call.media.press("12")
    await theatre.stage.begin()
    call.media.press("34")
    await theatre.stage.back.wait()
    call.media.press("5")
    await goes_on(call.media)
    await call.expect("left")


async def sleeper(theatre: Theatre) -> None:
    """Waits for a timer of the flow that goes off during the outage."""
    call = await theatre.caller.answered_call(theatre.numbers["sleeper"])
    await call.media.hears(READY)
    await theatre.stage.begin()
    await goes_on(call.media)
    await call.expect("left")


async def leaver(theatre: Theatre) -> None:
    """Hangs up during the outage; the call is told to have ended then, and not later."""
    call = await theatre.caller.answered_call(theatre.numbers["leaver"])
    await call.media.hears(READY)
    await theatre.stage.begin()
    await asyncio.sleep(0.5)
    await call.bye()
    left_at = time.time()
    await theatre.stage.back.wait()

    told = await theatre.customer.until(
        (await theatre.customer.call_to(theatre.numbers["leaver"]))["id"],
        lambda made: bool(made["status"] == "hangup"),
        within=30.0,
    )
    assert (told["hangup_by"], told["hangup_reason"]) == ("remote", "normal")
    hangup = datetime.fromisoformat(told["tm_hangup"]).timestamp()
    assert hangup == pytest.approx(left_at, abs=1.0)


async def called(theatre: Theatre) -> None:
    """Was called by the platform, and hangs up during the outage."""
    placed = await theatre.customer.place_call(
        theatre.callee.uri.format(user="called"),
        action("sleep", duration=600_000),
        action("hangup"),
    )
    call = await theatre.callee.incoming("called")
    await call.answer()
    await theatre.customer.until(placed["id"], lambda made: bool(made["status"] == "progressing"))
    await theatre.stage.begin()
    await asyncio.sleep(0.5)
    await call.leave()
    await theatre.stage.back.wait()
    told = await theatre.customer.ended(placed["id"], within=30.0)
    assert (told["hangup_by"], told["hangup_reason"]) == ("remote", "normal")


async def ended_by_api(theatre: Theatre) -> None:
    """Is hung up through the API during the outage, by somebody who tries until it is done."""
    placed = await theatre.customer.place_call(
        theatre.callee.uri.format(user="ended"),
        action("sleep", duration=600_000),
        action("hangup"),
    )
    call = await theatre.callee.incoming("ended")
    await call.answer()
    await theatre.customer.until(placed["id"], lambda made: bool(made["status"] == "progressing"))
    await theatre.stage.begin()
    await theatre.customer.insist_on_hangup(placed["id"])
    await call.expect("left", within=30.0)
    told = await theatre.customer.ended(placed["id"], within=30.0)
    assert (told["hangup_by"], told["hangup_reason"]) == ("local", "normal")


async def newcomer(theatre: Theatre) -> None:
    """Calls while the victim is dead: is served, late perhaps, or told to try again; never left alone."""
    await theatre.stage.begin()
    call = await theatre.caller.call(theatre.numbers["sleeper"])
    async with asyncio.timeout(60.0):
        while not call.has_ended:
            await asyncio.sleep(0.1)
    refused = call.report("refused")
    if refused is not None:
        assert refused.status in (480, 503), call
    else:
        await goes_on(call.media)


CAST: list[tuple[Callable[[Theatre], Coroutine[Any, Any, None]], int]] = [
    (listener, 4),
    (typist, 6),
    (sleeper, 3),
    (leaver, 1),
    (called, 1),
    (ended_by_api, 1),
    (newcomer, 2),
]


async def play(lab: Lab, theatre: Theatre, victim: str) -> None:
    """All scenes at once, and the outage in the middle of them."""
    await theatre.prepare()
    async with asyncio.TaskGroup() as group:
        for actor, count in CAST:
            for _ in range(count):
                group.create_task(actor(theatre))
        await theatre.stage.everybody_ready()
        async with outage(lab, victim):
            theatre.stage.down.set()
            await asyncio.sleep(DOWN_SECONDS)
        theatre.stage.back.set()


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
            listening.enter_context(expecting_no_gap(call.media, LONGEST_GAP))
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
