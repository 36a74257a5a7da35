"""Many calls at once: each its own, and spread over the whole farm.

What must hold: "100 calls spread over both Asterisks".
"""

import asyncio
import re
from collections import Counter

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind
from tests.support.phone_sipp import Caller, SippCall
from tests.support.rest import Customer, action
from tests.support.web import ToneServer


async def test_a_hundred_calls_are_spread_over_the_farm(
    platform: Lab, caller: Caller, customer: Customer
) -> None:
    """100 calls that are up together: Kamailio has a single dispatcher slot, so the spreading is done by
    its source sockets and the load balancer behind. All end well."""
    number = await customer.number(action("answer"), action("sleep", duration=60_000))
    calls = []
    for _ in range(100):
        calls.append(await caller.call(number))
        await asyncio.sleep(0.04)  # 25 calls/s: this test is not about load

    answers = await asyncio.gather(*(call.expect("answered", within=20.0) for call in calls))
    listed = await customer.all_are("progressing")
    await asyncio.gather(*(call.bye() for call in calls))

    owners = Counter(re.search(r"@?([\d.]+):", a.header("Contact"))[1] for a in answers)  # type: ignore[index]
    asterisks = {process.address for process in platform.farm.of_kind(Kind.ASTERISK)}
    assert set(owners) == asterisks
    # The shares follow from a hash of each Call-ID and of 16 source ports: far from even is a fault,
    # not quite even is not.
    assert min(owners.values()) >= 15, owners
    assert len(listed) == 100
    ended = await customer.all_ended(within=20.0)
    assert {(call["hangup_by"], call["hangup_reason"]) for call in ended} == {("remote", "normal")}


async def test_simultaneous_callers_hear_each_their_own(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """24 callers at once choose 24 tones by digits: no audio, digit or flow gets into another's call."""
    tones = {f"{n:02}": 500 + 100 * n for n in range(24)}
    number = await customer.number(
        action("answer"),
        action("digits_receive", duration=10_000, length=2),
        action("variable_set", key="hertz", value="${voipbin.call.digits}"),
        action("play", stream_urls=[f"{web.url}/hundreds/${{hertz}}/800.wav"]),
        action("hangup"),
    )

    async def choose(digits: str) -> SippCall:
        call = await caller.answered_call(number, within=15.0)
        call.media.press(digits)
        await call.expect("left", within=20.0)
        return call

    calls = await asyncio.gather(*(choose(digits) for digits in tones))

    for (digits, frequency), call in zip(tones.items(), calls, strict=True):
        (tone,) = call.media.recording.tones()
        assert abs(tone.frequency - frequency) < 10, f"{digits}: {tone}"
        assert tone.duration > 0.7, f"{digits}: {tone}"
    ended = await customer.all_ended(within=15.0)
    assert {(call["hangup_by"], call["hangup_reason"]) for call in ended} == {("local", "normal")}
