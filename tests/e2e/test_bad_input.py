"""What is wrong from the outside gets a clear answer from the running platform, and it stays up.

What must hold: "Bad input: a flow with an unknown action, a wrong option type, a dangling target, a loop; JSON
that is not; numbers that are not E.164; a body of 10 MB; a token of another tenant … Each gets a clear
answer, and everything stays up." The API by itself is tested in tests/contract/api, the SIP edge in
tests/e2e/edge; here it is the whole platform through its load balancers, and a call afterwards.
"""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from deploy.lab.lab import Lab
from tests.support.phone_sipp import Caller
from tests.support.rest import SOURCE, Api, Customer, Problem, action, new_customer
from tests.support.web import ToneServer


@pytest.fixture
async def http(platform: Lab, customer: Customer) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the customer's key that sends what it is told to send."""
    headers = {"Authorization": f"Bearer {customer.api.accesskey}"}
    async with httpx.AsyncClient(
        base_url=platform.farm.api_url, headers=headers, timeout=20.0
    ) as client:
        yield client


def is_clear(answer: httpx.Response, status: int, reason: str) -> bool:
    """The error body of the API's reference."""
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (status, reason), answer.text
    return bool(error["status"] and error["message"] and error["request_id"])


FAULTY_FLOWS = {
    "unknown action": ([{"type": "fly"}], "actions[0].type"),
    "wrong option type": (
        [{"type": "sleep", "option": {"duration": "long"}}],
        "actions[0].option.duration",
    ),
    "unknown option": ([{"type": "answer", "option": {"x": 1}}], "actions[0].option.x"),
    "dangling target": (
        [{"type": "goto", "option": {"target_id": str(uuid.UUID(int=7))}}],
        "actions[0].option.target_id",
    ),
    "dangling successor": (
        [{"type": "answer", "next_id": str(uuid.UUID(int=7))}],
        "actions[0].next_id",
    ),
    "no list of URLs": ([{"type": "play", "option": {}}], "actions[0].option.stream_urls"),
    "no action at all": (["answer"], "actions[0]"),
}


@pytest.mark.parametrize("fault", FAULTY_FLOWS)
async def test_a_faulty_flow_is_refused_with_the_place_of_its_fault(
    fault: str, http: httpx.AsyncClient
) -> None:
    """ "validation of a whole flow at creation with the path of each fault"."""
    actions, place = FAULTY_FLOWS[fault]

    answer = await http.post("/v1.0/flows", json={"actions": actions})

    assert is_clear(answer, 400, "INVALID_ARGUMENT")
    assert place in [detail["field"] for detail in answer.json()["error"]["details"]]


@pytest.mark.parametrize("number", ["0301234567", "+49", "+49abc1234567", "+4930123456789012345"])
async def test_a_number_that_is_not_e164_is_refused(number: str, admin: Api) -> None:
    """ "numbers that are not E.164"."""
    with pytest.raises(Problem, match="INVALID_ARGUMENT") as refused:
        await admin.post("/v1.0/numbers", {"number": number})

    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[1]", b'{"actions": NaN}', b""])
async def test_json_that_is_not(body: bytes, http: httpx.AsyncClient) -> None:
    """ "JSON that is not"."""
    answer = await http.post(
        "/v1.0/flows", content=body, headers={"Content-Type": "application/json"}
    )

    error = answer.json()["error"]
    assert answer.status_code == 400, answer.text
    assert error["reason"] in ("INVALID_JSON_BODY", "INVALID_ARGUMENT")


async def test_ten_megabytes_and_a_call_at_the_same_time(
    http: httpx.AsyncClient, caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """ "a body of 10 MB", through nginx: refused in the API's own words; a caller hears nothing of it."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(440, 1500)]), action("hangup")
    )
    call = await caller.answered_call(number)
    await call.media.hears(440)

    body = b'{"actions": "' + b"a" * 10_000_000 + b'"}'
    answer = await http.post(
        "/v1.0/flows", content=body, headers={"Content-Type": "application/json"}
    )
    await call.expect("left")

    assert answer.status_code == 413, answer.text
    assert answer.json()["error"]["request_id"]
    heard = sum(tone.duration for tone in call.media.recording.tones())
    assert heard == pytest.approx(1.5, abs=0.15)


async def test_another_tenants_calls_are_not_there(
    platform: Lab, admin: Api, caller: Caller, customer: Customer
) -> None:
    """ "a token of another tenant": a live call can neither be seen nor ended by a stranger."""
    stranger = await new_customer(platform, admin, "stranger")
    number = await customer.number(action("answer"), action("sleep", duration=60_000))
    sip = await caller.answered_call(number)
    call = await customer.call_to(number)

    for attempt in (
        stranger.api.get(f"/v1.0/calls/{call['id']}"),
        stranger.hang_up(call["id"]),
        stranger.api.delete(f"/v1.0/calls/{call['id']}"),
        stranger.api.get(f"/v1.0/activeflows/{call['activeflow_id']}"),
        stranger.api.post(f"/v1.0/activeflows/{call['activeflow_id']}/stop"),
    ):
        with pytest.raises(Problem) as refused:
            await attempt
        assert refused.value.status == 404
    assert await stranger.calls() == []
    assert (await customer.call(call["id"]))["status"] in ("ringing", "progressing")
    assert not sip.has_ended
    await sip.bye()
    await stranger.leave()


@pytest.mark.parametrize("key", ["", "ec_wrong", "not a key at all", "ec_" + "a" * 5000])
async def test_a_key_that_is_none(key: str, platform: Lab) -> None:
    """Without a key nothing is told, not even whether something is there."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=platform.farm.api_url, headers=headers) as client:
        answer = await client.get(f"/v1.0/calls/{uuid.uuid4()}")

    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize(
    "destination",
    [
        "sip:alice@127.20.9.20/&PJSIP/other",
        "sip:alice@host?Replaces=x",
        "sip:a b@host",
        "tel:+4930123456",
        "sip:@",
        "sips:alice@host",
    ],
)
async def test_a_destination_that_is_no_sip_address(
    destination: str, http: httpx.AsyncClient, customer: Customer
) -> None:
    """What becomes a dial string and SIP headers is let through only where it is plainly an address."""
    body = {
        "source": {"type": "sip", "target": SOURCE},
        "destinations": [{"type": "sip", "target": destination}],
        "actions": [{"type": "hangup"}],
    }

    answer = await http.post("/v1.0/calls", json=body)

    assert is_clear(answer, 400, "INVALID_ARGUMENT")
    assert await customer.calls() == []


async def test_a_call_that_nothing_can_be_understood_of(
    caller: Caller, customer: Customer, platform: Lab
) -> None:
    """Called "numbers" that are none are not found, whatever they are made of, and all stays up."""
    for odd in ("%00", "h", "s", "'--", "a%22b,c%28d%29", "9" * 40, "*#06#"):
        call = await caller.call(odd)
        assert (await call.expect("refused")).status in (400, 404, 484), odd

    await customer.api.get("/v1.0/calls")
    names = [process.name for process in platform.farm.processes]
    platform.wait_ready(names, seconds=1.0)
