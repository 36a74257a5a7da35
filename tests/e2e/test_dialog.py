"""What happens within a call's dialog: hold and resume, and requests that take another way than the first.

What must hold: "a re-INVITE reaches the Asterisk that owns the dialog past the LB"; "messages of one dialog go
through either Kamailio".
"""

from pathlib import Path

import pytest

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind
from tests.e2e.conftest import CALLER_BY_PROXY, Keep
from tests.support.phone_sipp import Caller
from tests.support.rest import Customer, action
from tests.support.web import ToneServer


def kamailios(lab: Lab) -> list[str]:
    """The addresses at which clients reach each Kamailio itself, past the load balancer."""
    return [process.address for process in lab.farm.of_kind(Kind.KAMAILIO)]


async def test_hold_and_resume(caller: Caller, customer: Customer, web: ToneServer) -> None:
    """A re-INVITE with `sendonly` silences the prompt, one with `sendrecv` lets it be heard again; the
    owner of the dialog answers, whatever the load balancer would choose."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(440, 30_000)]), action("hangup")
    )
    call = await caller.answered_call(number)
    await call.media.hears(440)

    held = await call.reinvite("sendonly")
    await call.media.hears_nothing(0.8)
    resumed = await call.reinvite("sendrecv")
    await call.media.hears(440, since=call.media.now, lasting=0.5)
    await call.bye()

    answered = await call.expect("answered")
    assert "a=recvonly" in held.message
    assert "a=sendrecv" in resumed.message
    assert held.header("Contact") == resumed.header("Contact") == answered.header("Contact")
    assert held.header("To") == answered.header("To")
    ended = await customer.ended((await customer.call_to(number))["id"])
    assert (ended["hangup_by"], ended["hangup_reason"]) == ("remote", "normal")


@pytest.mark.parametrize("first", [0, 1])
async def test_requests_of_one_dialog_go_through_either_kamailio(
    first: int,
    platform: Lab,
    tmp_path: Path,
    phone: Keep,
    customer: Customer,
    web: ToneServer,
) -> None:
    """INVITE by one Kamailio, re-INVITE and its ACK by the other, BYE by the first again, and the other
    way round: neither keeps anything of a dialog."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(440, 30_000)]), action("hangup")
    )
    ways = kamailios(platform)
    by, other = ways[first], ways[1 - first]
    caller: Caller = await phone(Caller(platform, CALLER_BY_PROXY, tmp_path))
    await caller.start(proxy=by)

    for last in (by, other):
        call = await caller.answered_call(number)
        await call.media.hears(440)
        await call.reinvite(proxy=other)
        await call.media.hears(440, since=call.media.now, lasting=0.3)
        await call.bye(proxy=last)

    calls = await customer.all_ended()
    assert [(call["hangup_by"], call["hangup_reason"]) for call in calls] == [
        ("remote", "normal"),
        ("remote", "normal"),
    ]


async def test_a_prompt_goes_on_over_a_reinvite(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """A session refresh in the middle of a prompt is not heard."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(440, 2000)]), action("hangup")
    )
    call = await caller.answered_call(number)
    await call.media.hears(440)

    await call.reinvite()
    await call.expect("left")

    heard = sum(tone.duration for tone in call.media.recording.tones())
    assert heard == pytest.approx(2.0, abs=0.15)
