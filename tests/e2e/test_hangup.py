"""The ends of answered calls: from the caller, from the flow, through the API; each is told truly.

What must hold: "hangup from either side".
"""

import asyncio

import pytest

from tests.support.phone_sipp import Callee, Caller
from tests.support.rest import Customer, Problem, action
from tests.support.web import ToneServer


async def test_the_caller_hangs_up_in_the_middle_of_a_prompt(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """BYE from the caller: remote, normal; the flow ends where it was."""
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(440, 20_000)]),
        action("variable_set", key="after", value="reached"),
        action("hangup"),
    )

    sip = await caller.answered_call(number)
    await sip.media.hears(440)
    await sip.bye()
    call = await customer.ended((await customer.call_to(number))["id"])

    assert (call["hangup_by"], call["hangup_reason"]) == ("remote", "normal")
    flow = await customer.ended_flow(call)
    assert (flow["status"], flow["end_reason"]) == ("ended", "reference_ended")
    assert [step["type"] for step in flow["executed_actions"]] == ["answer", "play"]
    assert "after" not in flow["variables"]


async def test_the_caller_gives_up_before_the_answer(caller: Caller, customer: Customer) -> None:
    """CANCEL from the caller while the flow lets it ring."""
    number = await customer.number(action("sleep", duration=30_000), action("answer"))

    sip = await caller.call(number)
    await sip.expect("ringing")
    sip.cancel()
    refused = await sip.expect("refused")
    call = await customer.ended((await customer.call_to(number))["id"])

    assert refused.status == 487
    assert (call["hangup_by"], call["hangup_reason"]) == ("remote", "normal")
    assert call["tm_progressing"] is None


@pytest.mark.parametrize("milliseconds", [0, 30])
async def test_the_caller_gives_up_at_once(
    milliseconds: int, caller: Caller, customer: Customer
) -> None:
    """A CANCEL that crosses everything that the platform has just begun leaves nothing behind."""
    number = await customer.number(action("sleep", duration=3000), action("hangup"))

    sip = await caller.call(number)
    await sip.expect("trying")  # RFC 3261 §9.1: no CANCEL before
    await asyncio.sleep(milliseconds / 1000)
    sip.cancel()

    assert (await sip.expect("refused")).status == 487
    await customer.all_ended()


@pytest.mark.parametrize(
    ("reason", "status"),
    [("normal", 603), ("busy", 486), ("noanswer", 480), ("failed", 408)],
)
async def test_the_flow_turns_a_call_away(
    reason: str, status: int, caller: Caller, customer: Customer
) -> None:
    """`hangup` before the answer: the caller gets a SIP status that fits the reason."""
    number = await customer.number(action("hangup", reason=reason))

    refused = await (await caller.call(number)).expect("refused")
    call = await customer.ended((await customer.call_to(number))["id"])

    assert refused.status == status
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", reason)
    assert call["tm_progressing"] is None


async def test_the_api_hangs_up(caller: Caller, customer: Customer, web: ToneServer) -> None:
    """`POST /calls/{id}/hangup` ends an answered call; a second time it is over."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(440, 20_000)]), action("hangup")
    )
    sip = await caller.answered_call(number)
    await sip.media.hears(440)
    identifier = (await customer.call_to(number))["id"]

    asked = await customer.hang_up(identifier)
    await sip.expect("left", within=2.0)
    call = await customer.ended(identifier)

    assert asked["status"] == "terminating"
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "normal")
    with pytest.raises(Problem) as refused:
        await customer.hang_up(identifier)
    assert refused.value.status == 409
    assert "CALL_ALREADY_HANGUP" in refused.value.text


async def test_the_api_turns_a_ringing_call_away(caller: Caller, customer: Customer) -> None:
    """Hung up before its flow answered it."""
    number = await customer.number(action("sleep", duration=30_000), action("answer"))
    sip = await caller.call(number)
    await sip.expect("ringing")
    identifier = (await customer.call_to(number))["id"]

    await customer.hang_up(identifier)
    refused = await sip.expect("refused")
    call = await customer.ended(identifier)

    assert refused.status == 603
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "normal")


async def test_stopping_the_activeflow_ends_its_call(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """`POST /activeflows/{id}/stop`: a call that has nothing more to do hangs up."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(440, 20_000)]), action("hangup")
    )
    sip = await caller.answered_call(number)
    await sip.media.hears(440)
    call = await customer.call_to(number)

    stopped = await customer.api.post(f"/v1.0/activeflows/{call['activeflow_id']}/stop")
    await sip.expect("left", within=2.0)
    call = await customer.ended(call["id"])

    assert (stopped["status"], stopped["end_reason"]) == ("ended", "stopped")
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "normal")


async def test_deleting_a_live_call_ends_and_hides_it(callee: Callee, customer: Customer) -> None:
    """`DELETE /calls/{id}`: "Hides a call from lists; one that is up is ended first"."""
    placed = await customer.place_call(
        callee.uri.format(user="frank"), action("sleep", duration=60_000)
    )
    sip = await callee.incoming()
    await sip.answer()

    await customer.api.delete(f"/v1.0/calls/{placed['id']}")
    await sip.expect("left", within=2.0)

    assert await customer.calls() == []
    with pytest.raises(Problem) as missing:
        await customer.call(placed["id"])
    assert missing.value.status == 404


async def test_a_flow_that_ends_hangs_up(caller: Caller, customer: Customer) -> None:
    """Neither `hangup` nor `stop` is needed: after the last action there is nothing to do."""
    numbers = [
        await customer.number(action("answer"), action("sleep", duration=200)),
        await customer.number(action("answer"), action("stop"), action("sleep", duration=60_000)),
    ]

    calls = [await caller.answered_call(number) for number in numbers]
    await asyncio.gather(*(call.expect("left", within=3.0) for call in calls))

    ended = await customer.all_ended()
    assert {(call["hangup_by"], call["hangup_reason"]) for call in ended} == {("local", "normal")}
