"""Calls with a softphone that does all of SIP and RTP by itself: baresip.

What must hold: "with a SIP client that we did not write (SIPp or baresip) through Kamailio".
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.lab.lab import Lab
from tests.support.phone_baresip import Softphone
from tests.support.rest import Customer, action
from tests.support.web import ToneServer

CALLING, CALLED = 40, 221


@pytest.fixture(params=[CALLED])
async def softphone(
    platform: Lab, tmp_path: Path, stories: list[str], request: pytest.FixtureRequest
) -> AsyncIterator[Softphone]:
    phone = Softphone(platform, request.param, tmp_path)
    try:
        yield await phone.start()
    finally:
        await phone.stop()
        stories.append(str(phone))


@pytest.mark.parametrize("softphone", [CALLING], indirect=True)
async def test_a_softphone_calls_and_presses_keys(
    softphone: Softphone, customer: Customer, web: ToneServer
) -> None:
    """It hears a tone, presses a key and hears another, and the flow hangs up."""
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(440, 500)]),
        action("digits_receive", duration=8000, length=1),
        action("variable_set", key="got", value="${voipbin.call.digits}"),
        action("play", stream_urls=[web.tone(880, 500)]),
        action("hangup"),
    )

    softphone.dial(number)
    await softphone.expect("established")
    await softphone.hears(440)
    softphone.press("8")
    await softphone.hears(880)
    await softphone.expect("closed")

    call = await customer.ended((await customer.call_to(number))["id"])
    assert (call["hangup_by"], call["hangup_reason"]) == ("local", "normal")
    assert (await customer.ended_flow(call))["variables"]["got"] == "8"


async def test_a_softphone_is_called_and_hangs_up(
    softphone: Softphone, customer: Customer, web: ToneServer
) -> None:
    """It rings, is answered by its user, hears the flow, and its user hangs up."""
    placed = await customer.place_call(
        softphone.uri, action("play", stream_urls=[web.tone(660, 20_000)]), action("hangup")
    )

    await softphone.expect("incoming")
    await customer.until(placed["id"], lambda call: bool(call["status"] == "ringing"))
    softphone.answer()
    await softphone.hears(660)
    softphone.hang_up()

    call = await customer.ended(placed["id"])
    assert (call["hangup_by"], call["hangup_reason"]) == ("remote", "normal")


async def test_a_softphone_refuses(softphone: Softphone, customer: Customer) -> None:
    """Its user declines: busy here, in baresip's words."""
    placed = await customer.place_call(softphone.uri, action("hangup"))

    await softphone.expect("incoming")
    softphone.hang_up()

    call = await customer.ended(placed["id"])
    assert call["hangup_by"] == "remote"
    assert call["hangup_reason"] in ("busy", "noanswer")
    assert call["tm_progressing"] is None
