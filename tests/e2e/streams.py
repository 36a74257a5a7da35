"""A call that is up and idle, and applications that stream its audio."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deploy.lab.lab import Lab
from tests.support.media_client import Application, Refusal
from tests.support.phone_audio import RATE, Samples
from tests.support.phone_sipp import Caller, SippCall
from tests.support.rest import Customer, action
from tests.support.switches import Switches

LONG = 600_000


@dataclass
class Streamed:
    """The call, and all who listen."""

    lab: Lab
    customer: Customer
    caller: Caller
    sip: SippCall
    id: str
    switches: Switches
    applications: list[Application] = field(default_factory=list)

    async def open(self, token: str = "", call_id: str = "", **query: Any) -> Application:
        """One more application."""
        application = await Application.open(
            self.lab.farm.api_url,
            call_id or self.id,
            token or self.customer.api.accesskey,
            **query,
        )
        self.applications.append(application)
        return application

    async def refusal(self, call_id: str = "", token: str = "", **query: Any) -> Refusal:
        """What an application is told that is not let in."""
        try:
            await self.open(token, call_id, **query)
        except Refusal as refusal:
            return refusal
        raise AssertionError("it was let in")

    async def hang_up(self) -> None:
        """All go."""
        for application in self.applications:
            if application.close_code is None:
                application.cut()
        if not self.sip.has_ended:
            await self.sip.bye()

    async def leave(self) -> None:
        """All go, and nothing is left of any stream."""
        await self.hang_up()
        await self.switches.until_no_streams()
        await self.switches.close()


Leaving = Callable[[Streamed], Streamed]
"""What keeps a call, to end it after the test."""


async def idle_call(lab: Lab, customer: Customer, caller: Caller, *before: Any) -> Streamed:
    """A call that is answered and does nothing."""
    number = await customer.number(
        action("answer"), *before, action("sleep", duration=LONG), action("hangup")
    )
    sip = await caller.answered_call(number)
    identifier = str((await customer.call_to(number))["id"])
    await customer.until(identifier, lambda call: bool(call["status"] == "progressing"))
    return Streamed(lab, customer, caller, sip, identifier, Switches(lab))


async def both_hear(streamed: Streamed, application: Application, within: float = 4.0) -> None:
    """A frame of audio each way, so that what comes next is not the beginning."""
    begun = len(application.messages)
    await application.until(lambda: len(application.messages) > begun + 2, within)
    assert not streamed.sip.has_ended


async def settle(seconds: float = 0.3) -> None:
    """What is on its way arrives."""
    await asyncio.sleep(seconds)


def whole_pieces(samples: Samples, frequency: float) -> list[float]:
    """How many seconds a tone goes on without a turn of its phase, between the places where it is broken."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 1000)
    tone = samples[loud[0] : loud[-1] + 1].astype(np.float64)
    carrier = np.exp(-2j * np.pi * frequency * np.arange(len(tone)) / RATE)
    frames = (tone * carrier)[: len(tone) // 160 * 160].reshape(-1, 160).mean(axis=1)
    weak = np.abs(frames) < 0.95 * np.median(np.abs(frames))
    # A frame in which the tone is broken is weak; its neighbours may hold a part of the break.
    pieces = [piece for piece in np.split(frames, np.flatnonzero(weak)) if len(piece) > 3]
    for piece in pieces:
        steps = np.abs(np.angle(piece[2:-1] / piece[1:-2]))
        assert steps.max(initial=0) < 0.05, (
            f"the phase turns by {steps.max():.2f} in frame {steps.argmax()} of {len(piece)},"
            f" the pieces being {[len(each) for each in pieces]}"
        )
    return [len(piece) * 160 / RATE for piece in pieces]
