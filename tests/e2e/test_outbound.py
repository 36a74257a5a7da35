"""Calls that are placed through the API: to a phone that rings, answers, refuses, or does neither.

What must hold: "outbound call through the API"; "busy, no answer, cancel and failure give their hangup
reasons".
"""

import asyncio

import pytest

from tests.support.phone_sipp import Callee
from tests.support.rest import SOURCE, Customer, action
from tests.support.web import ToneServer


def has_status(*statuses: str):  # type: ignore[no-untyped-def]
    return lambda call: call["status"] in statuses


async def test_the_callee_hears_the_flow(
    callee: Callee, customer: Customer, web: ToneServer
) -> None:
    """ "outbound call through the API": it dials, rings, is answered, and runs its flow."""
    number = await customer.number()
    placed = await customer.place_call(
        callee.uri.format(user="alice"),
        action("play", stream_urls=[web.tone("${hertz}", 500)]),
        action("hangup"),
        variables={"hertz": "750"},
        source=number,
    )

    sip = await callee.incoming()
    assert placed["status"] == "dialing"
    sip.ring()
    ringing = await customer.until(placed["id"], has_status("ringing"))
    await sip.answer()
    await sip.expect("left")
    call = await customer.ended(placed["id"])

    assert (await sip.expect("invited")).header("From").startswith(f"<sip:{number}@")
    (tone,) = sip.media.recording.tones()
    assert tone.frequency == pytest.approx(750, abs=5)
    assert tone.duration == pytest.approx(0.5, abs=0.1)
    assert ringing["tm_ringing"] is not None
    assert ringing["tm_progressing"] is None
    assert call["direction"] == "outgoing"
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "normal")
    moments = [call[f"tm_{name}"] for name in ("create", "ringing", "progressing", "hangup")]
    assert all(moments)
    assert moments == sorted(moments)


@pytest.mark.parametrize("anonymous", ["yes", "no"])
async def test_a_withheld_caller_is_nobody_to_the_callee(
    anonymous: str, callee: Callee, customer: Customer
) -> None:
    """RFC 3323 section 4.1.1.3, RFC 3325 section 9.3: nothing in the INVITE says who calls."""
    number = await customer.number()
    body = {
        "source": {"type": "tel", "target": number, "target_name": "Secretive"},
        "destinations": [{"type": "sip", "target": callee.uri.format(user="frank")}],
        "anonymous": anonymous,
        "actions": [action("hangup")],
    }
    await customer.api.post("/v1.0/calls", body)
    sip = await callee.incoming()
    await sip.answer()
    await sip.expect("left")

    invite = await sip.expect("invited")
    sender = invite.header("From").partition(";")[0]
    if anonymous == "yes":
        assert sender == '"Anonymous" <sip:anonymous@anonymous.invalid>'
        assert invite.header("Privacy") == "id"
        assert number.lstrip("+") not in invite.message
        assert "Secretive" not in invite.message
    else:
        assert sender.startswith(f'"Secretive" <sip:{number}@')
        assert invite.header("Privacy") == ""


async def test_the_callee_hangs_up(callee: Callee, customer: Customer, web: ToneServer) -> None:
    """ "hangup from either side", here by the callee in the middle of the flow."""
    placed = await customer.place_call(
        callee.uri.format(user="bob"),
        action("play", stream_urls=[web.tone(440, 20_000)]),
        action("hangup"),
    )
    sip = await callee.incoming()
    await sip.answer()
    await sip.media.hears(440)

    await sip.leave()
    call = await customer.ended(placed["id"])

    assert (call["hangup_by"], call["hangup_reason"]) == ("remote", "normal")
    flow = await customer.ended_flow(call)
    assert (flow["status"], flow["end_reason"]) == ("ended", "reference_ended")
    assert [step["type"] for step in flow["executed_actions"]] == ["play"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (486, "busy"),
        (603, "noanswer"),
        (480, "noanswer"),
        (404, "failed"),
        (500, "failed"),
        (503, "failed"),
    ],
)
async def test_a_refusal_gives_its_hangup_reason(
    status: int, reason: str, callee: Callee, customer: Customer
) -> None:
    """ "busy, no answer, … and failure give their hangup reasons"."""
    placed = await customer.place_call(callee.uri.format(user="carol"), action("hangup"))
    sip = await callee.incoming()
    sip.ring()
    await customer.until(placed["id"], has_status("ringing"))

    sip.refuse(status)
    call = await customer.ended(placed["id"])

    assert (call["hangup_by"], call["hangup_reason"]) == ("remote", reason)
    assert call["tm_progressing"] is None
    assert call["activeflow_id"] is None


@pytest.mark.parametrize("rings", [True, False], ids=["ringing", "dialing"])
async def test_a_call_that_is_given_up_is_canceled(
    rings: bool, callee: Callee, customer: Customer
) -> None:
    """ "cancel": hung up by the API before the answer, the callee gets a CANCEL."""
    placed = await customer.place_call(callee.uri.format(user="dave"), action("hangup"))
    sip = await callee.incoming()
    if rings:
        sip.ring()
        await customer.until(placed["id"], has_status("ringing"))

    asked = await customer.hang_up(placed["id"])
    await sip.expect("canceled")
    call = await customer.ended(placed["id"])

    assert asked["status"] in ("canceling", "hangup")
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "cancel")


async def test_nobody_answers(callee: Callee, customer: Customer) -> None:
    """ "no answer": the ring timer gives up, as the platform's own doing; also where nobody is at all."""
    ringing = await customer.place_call(callee.uri.format(user="erin"), action("hangup"))
    nowhere = await customer.place_call(f"sip:nobody@{callee.address}:5999", action("hangup"))
    sip = await callee.incoming()
    sip.ring()

    await sip.expect("canceled", within=20.0)
    calls = [await customer.ended(ringing["id"]), await customer.ended(nowhere["id"])]

    for call in calls:
        assert (call["hangup_by"], call["hangup_reason"]) == ("local", "noanswer")
        assert call["tm_progressing"] is None
    assert [call["tm_ringing"] is not None for call in calls] == [True, False]


async def test_several_destinations_get_a_call_each(
    callee: Callee, customer: Customer, web: ToneServer
) -> None:
    """ "Places one call per destination": each runs the flow on its own."""
    users = ["u1", "u2", "u3"]
    body = {
        "source": {"type": "sip", "target": SOURCE},
        "destinations": [{"type": "sip", "target": callee.uri.format(user=user)} for user in users],
        "flow_id": await customer.flow(
            action("play", stream_urls=[web.tone(650, 300)]), action("hangup")
        ),
    }

    placed = (await customer.api.post("/v1.0/calls", body))["calls"]
    incoming = [await callee.incoming(user) for user in users]
    await asyncio.gather(*(sip.answer() for sip in incoming))
    await asyncio.gather(*(sip.expect("left") for sip in incoming))

    assert [call["destination"]["target"] for call in placed] == [
        callee.uri.format(user=user) for user in users
    ]
    for sip in incoming:
        (tone,) = sip.media.recording.tones()
        assert tone.frequency == pytest.approx(650, abs=5)
    calls = await customer.all_ended()
    assert {call["hangup_reason"] for call in calls} == {"normal"}
