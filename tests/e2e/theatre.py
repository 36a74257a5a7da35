"""A cast of calls that are all in the middle of something when a process dies.

Each actor plays one call: to the point where the outage comes, through it, and to its end, and checks what
it saw. What the platform tells of the calls afterwards is checked by the tests.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from deploy.lab.lab import Lab
from tests.support.outage import outage
from tests.support.phone_media import Media, check_no_gap
from tests.support.phone_sipp import Callee, Caller
from tests.support.rest import Customer, action
from tests.support.web import ToneServer

DOWN_SECONDS = 3.0
PROMPT, READY, GOES_ON = 440, 700, 1500
PROMPT_SECONDS = 9.0


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
    check_no_gap(call.media, prompt[0].start + 0.1, prompt[-1].end - 0.1)


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
    """All scenes at once, and the death of a process in the middle of them."""
    await play_through(theatre, outage(lab, victim), DOWN_SECONDS)


async def play_through(
    theatre: Theatre, trouble: AbstractAsyncContextManager[object], seconds: float
) -> None:
    """All scenes at once, and in the middle of them some trouble that lasts so long."""
    await theatre.prepare()
    async with asyncio.TaskGroup() as group:
        for actor, count in CAST:
            for _ in range(count):
                group.create_task(actor(theatre))
        await theatre.stage.everybody_ready()
        async with trouble:
            theatre.stage.down.set()
            await asyncio.sleep(seconds)
        theatre.stage.back.set()
