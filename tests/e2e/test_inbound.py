"""A call from outside runs the flow of the number that it was made to, and the caller hears it.

What must hold: "one phone call that is really placed over SIP, really answered by Asterisk behind stateless
Kamailio and RTPEngine, steered by a flow, heard, and accounted for".
"""

import asyncio
import secrets
from pathlib import Path

import pytest

from deploy.lab.lab import Lab
from tests.e2e.conftest import STRANGER, Keep
from tests.support.eventually import eventually
from tests.support.phone_audio import resemblance, voiced_seconds
from tests.support.phone_sipp import Caller
from tests.support.rest import Customer, action
from tests.support.speech import spoken
from tests.support.web import ToneServer

GREETING = "Welcome to the switchboard"


async def test_the_caller_hears_what_the_flow_plays(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """ "inbound call runs its flow", with the audio "recognised in the received RTP"."""
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(440, 600), web.tone(880, 400)]),
        action("sleep", duration=500),
        action("play", stream_urls=[web.tone(1320, 300)]),
        action("hangup"),
    )

    call = await caller.answered_call(number)
    await call.expect("left")

    first, second, third = call.media.recording.tones()
    assert [first.frequency, second.frequency, third.frequency] == pytest.approx(
        [440, 880, 1320], abs=5
    )
    assert [first.duration, second.duration, third.duration] == pytest.approx(
        [0.6, 0.4, 0.3], abs=0.1
    )
    assert third.start - second.end > 0.45


async def test_the_call_is_accounted_for(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """ "accounted for": the call tells who called whom and when what happened, the activeflow what was
    carried out."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(440, 500)]), action("hangup")
    )

    sip = await caller.answered_call(number)
    identifier = (await customer.call_to(number))["id"]
    await customer.until(identifier, lambda call: bool(call["status"] == "progressing"))
    await sip.expect("left")
    call = await customer.ended(identifier)

    assert call["direction"] == "incoming"
    assert (call["source"]["type"], call["source"]["target"]) == ("tel", "+493012345678")
    assert (call["destination"]["type"], call["destination"]["target"]) == ("tel", number)
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "normal")
    moments = [call[f"tm_{name}"] for name in ("create", "ringing", "progressing", "hangup")]
    assert all(moments)
    assert moments == sorted(moments)
    flow = await customer.ended_flow(call)
    assert (flow["status"], flow["end_reason"]) == ("ended", "completed")
    assert [step["type"] for step in flow["executed_actions"]] == ["answer", "play", "hangup"]


async def test_the_caller_hears_the_text_that_the_flow_speaks(
    platform: Lab, caller: Caller, customer: Customer
) -> None:
    """ "`talk` speaks offline with espeak-ng", with a variable in the text."""
    number = await customer.number(
        action("answer"),
        action("variable_set", key="place", value="switchboard"),
        action("talk", text="Welcome to the ${place}", language="en-US"),
        action("hangup"),
    )

    call = await caller.answered_call(number)
    await call.expect("left", within=12.0)

    heard = call.media.recording.samples()
    expected = spoken(platform, GREETING)
    assert voiced_seconds(heard) == pytest.approx(voiced_seconds(expected), rel=0.2)
    assert resemblance(heard, expected) > 0.8
    assert resemblance(heard, spoken(platform, "Nobody is here today")) < 0.75


async def test_a_prompt_before_the_answer_is_heard_as_early_media(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """A flow need not answer: the prompt comes with 183, and the call is never charged as answered."""
    number = await customer.number(
        action("play", stream_urls=[web.tone(700, 500)]), action("hangup", reason="busy")
    )

    sip = await caller.call(number)
    refused = await sip.expect("refused", within=10.0)

    assert sip.report("answered") is None
    assert refused.status == 486
    (tone,) = sip.media.recording.tones()
    assert tone.frequency == pytest.approx(700, abs=5)
    call = await customer.ended((await customer.call_to(number))["id"])
    assert call["tm_progressing"] is None
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "busy")


async def test_audio_that_cannot_be_fetched_is_left_out(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """What a customer's web server does wrong must not end the customer's calls."""
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[f"{web.url}/nothing.wav"]),
        action("play", stream_urls=[web.tone(440, 300)]),
        action("hangup"),
    )

    call = await caller.answered_call(number)
    await call.expect("left")

    (tone,) = call.media.recording.tones()
    assert tone.frequency == pytest.approx(440, abs=5)


async def test_an_unknown_number_is_not_found(caller: Caller, customer: Customer) -> None:
    """ "unknown number gets 404", and no call is left behind."""
    call = await caller.call("+99900000000001")

    assert (await call.expect("refused")).status == 404
    assert await customer.calls() == []


async def test_a_number_without_a_flow_is_not_found(caller: Caller, customer: Customer) -> None:
    """A number that leads nowhere is like none."""
    number = f"+88359{secrets.randbelow(10**9):09}"
    await customer.admin.post("/v1.0/numbers", {"number": number}, customer_id=customer.id)

    call = await caller.call(number)

    assert (await call.expect("refused")).status == 404


async def test_a_number_that_was_just_changed_starts_its_new_flow(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Routes are cached by call_manager, for minutes: a change must be seen as soon as its event has come."""
    number = await customer.number(action("answer"), action("hangup"))
    first = await caller.answered_call(number)
    await first.expect("left")

    body = {
        "call_flow_id": await customer.flow(
            action("answer"), action("play", stream_urls=[web.tone(600, 300)])
        )
    }
    (owned,) = (await customer.api.get("/v1.0/numbers"))["result"]
    await customer.api.request("PUT", f"/v1.0/numbers/{owned['id']}", json=body)

    async def next_caller_hears_it() -> bool:
        call = await caller.answered_call(number)
        await call.expect("left")
        return any(abs(tone.frequency - 600) < 10 for tone in call.media.recording.tones())

    await eventually(next_caller_hears_it, within=20.0)


async def test_a_stranger_is_forbidden(
    platform: Lab, tmp_path: Path, phone: Keep, customer: Customer
) -> None:
    """Calls are taken "from known carriers by address", from nobody else."""
    stranger: Caller = await phone(Caller(platform, STRANGER, tmp_path))
    await stranger.start()
    number = await customer.number(action("answer"))

    call = await stranger.call(number)

    assert (await call.expect("refused")).status == 403
    assert await customer.calls() == []


async def test_two_customers_calls_are_their_own(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Two callers of one number hear the same prompt from its beginning, each in a call of its own."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(500, 800)]), action("hangup")
    )

    first = await caller.answered_call(number)
    await first.media.hears(500)
    second = await caller.answered_call(number)
    await asyncio.gather(first.expect("left"), second.expect("left"))

    for call in (first, second):
        (tone,) = call.media.recording.tones()
        assert tone.duration == pytest.approx(0.8, abs=0.1)
    assert len({call["id"] for call in await customer.calls()}) == 2
