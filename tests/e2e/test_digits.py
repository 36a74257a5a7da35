"""Keys that a caller presses: in order, before, during and after prompts.

What must hold: "digits in and out of order of a prompt".
"""

import asyncio
import uuid

import pytest

from tests.support.phone_sipp import Caller, SippCall
from tests.support.rest import Customer, Json, action
from tests.support.web import ToneServer

TONE_OF_KEY = {"1": 600, "2": 900, "3": 1200}
MENU, OTHERWISE = 400, 2000


ALL_KEYS = "147*2580369#ABCD"


def collect_until_d() -> list[Json]:
    """Keeps all keys up to the last of `ALL_KEYS`."""
    return [
        action("answer"),
        action("digits_receive", duration=15_000, length=0, key="D"),
        action("variable_set", key="got", value="${voipbin.call.digits}"),
        action("hangup"),
    ]


def menu(web: ToneServer, prompt_milliseconds: int) -> list[Json]:
    """A prompt, one digit, and a tone for each key."""
    targets = {key: str(uuid.uuid4()) for key in TONE_OF_KEY}
    actions = [
        action("answer"),
        action("play", stream_urls=[web.tone(MENU, prompt_milliseconds)]),
        action("digits_receive", duration=4000, length=1),
        action("branch", target_ids=targets),
        action("play", stream_urls=[web.tone(OTHERWISE, 300)]),
        action("hangup"),
    ]
    for key, target in targets.items():
        tone = web.tone(TONE_OF_KEY[key], 300)
        actions += [action("play", id=target, stream_urls=[tone]), action("hangup")]
    return actions


def heard(call: SippCall) -> list[int]:
    """The frequencies of the tones, in order, to the next ten."""
    return [round(tone.frequency / 10) * 10 for tone in call.media.recording.tones()]


async def collected(customer: Customer, number: str) -> str:
    """What the flow kept in the variable `got`."""
    call = await customer.ended((await customer.call_to(number))["id"])
    return str((await customer.ended_flow(call))["variables"]["got"])


async def test_a_key_after_the_prompt_chooses_the_branch(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Each key leads where the branch says, and one that it does not name to the next action."""
    number = await customer.number(*menu(web, 300))

    async def choose(key: str) -> list[int]:
        call = await caller.answered_call(number)
        prompt = await call.media.hears(MENU, lasting=0.25)
        await asyncio.sleep(max(0.0, prompt.start + 0.5 - call.media.now))
        call.media.press(key)
        await call.expect("left")
        return heard(call)

    chosen = await asyncio.gather(*(choose(key) for key in "1239"))

    assert chosen == [[MENU, 600], [MENU, 900], [MENU, 1200], [MENU, OTHERWISE]]


async def test_a_key_during_the_prompt_ends_it(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Barge-in: who knows the menu need not hear it out."""
    number = await customer.number(*menu(web, 6000))

    call = await caller.answered_call(number)
    await call.media.hears(MENU)
    call.media.press("2")
    await call.expect("left", within=4.0)

    prompt, chosen = call.media.recording.tones()
    assert prompt.duration < 2.0
    assert chosen.frequency == pytest.approx(900, abs=5)


async def test_keys_pressed_before_anybody_asks_are_kept(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Type-ahead: keys count from when they are pressed, in their order, over several collections; a
    prompt that leads to a collection is skipped."""
    number = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(400, 700)]),
        action("sleep", duration=900),
        action("play", stream_urls=[web.tone(500, 5000)]),
        action("digits_receive", duration=3000, length=2),
        action("variable_set", key="got", value="${voipbin.call.digits}"),
        action("play", stream_urls=[web.tone(700, 5000)]),
        action("digits_receive", duration=3000, length=1),
        action("variable_set", key="got", value="${got}+${voipbin.call.digits}"),
        action("play", stream_urls=[web.tone(900, 300)]),
        action("hangup"),
    )

    call = await caller.answered_call(number)
    await call.media.hears(400)
    call.media.press("739")
    await call.expect("left", within=6.0)

    assert heard(call) == [400, 900]
    assert await collected(customer, number) == "73+9"


async def test_a_prompt_that_leads_to_no_collection_is_heard_out(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Only where digits are asked for do they cut a prompt short."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(800, 1200)]), action("hangup")
    )

    call = await caller.answered_call(number)
    await call.media.hears(800)
    call.media.press("5")
    await call.expect("left")

    (tone,) = call.media.recording.tones()
    assert tone.duration == pytest.approx(1.2, abs=0.1)


async def test_the_terminating_key_ends_the_collection_and_is_kept(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """`key`: the collection ends with it; what comes after is left for the next one."""
    number = await customer.number(
        action("answer"),
        action("digits_receive", duration=6000, length=0, key="#*"),
        action("variable_set", key="got", value="${voipbin.call.digits}"),
        action("digits_receive", duration=6000, length=1),
        action("variable_set", key="got", value="${got}+${voipbin.call.digits}"),
        action("hangup"),
    )

    call = await caller.answered_call(number)
    call.media.press("4711#8")
    await call.expect("left", within=5.0)

    assert await collected(customer, number) == "4711#+8"


async def test_the_collection_ends_when_its_time_is_over(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """`duration`: what was pressed until then counts, also nothing."""
    collect = [
        action("answer"),
        action("play", stream_urls=[web.tone(400, 200)]),
        action("digits_receive", duration=1500, length=4),
        action("variable_set", key="got", value="${voipbin.call.digits}"),
        action("play", stream_urls=[web.tone(900, 300)]),
        action("hangup"),
    ]
    numbers = [await customer.number(*collect), await customer.number(*collect)]

    async def press(number: str, keys: str) -> tuple[float, str]:
        call = await caller.answered_call(number)
        await call.media.hears(400)
        call.media.press(keys)
        await call.expect("left")
        prompt, signal = call.media.recording.tones()
        return signal.start - prompt.end, await collected(customer, number)

    results = await asyncio.gather(press(numbers[0], "12"), press(numbers[1], ""))

    # The two keys cut the prompt short, so that it only tells when the collection began.
    assert [digits for _, digits in results] == ["12", ""]
    assert results[1][0] == pytest.approx(1.5, abs=0.3)


@pytest.mark.parametrize(("milliseconds", "pause"), [(200, 120), (60, 60)])
async def test_all_sixteen_keys_arrive_once_and_in_order(
    milliseconds: int, pause: int, caller: Caller, customer: Customer
) -> None:
    """RFC 4733 events, pressed slowly and fast: none is lost, none counts twice."""
    number = await customer.number(*collect_until_d())

    call = await caller.answered_call(number)
    call.media.press(ALL_KEYS, milliseconds, pause)
    await call.expect("left", within=12.0)

    assert await collected(customer, number) == ALL_KEYS


async def test_a_key_soon_after_another_counts_once(caller: Caller, customer: Customer) -> None:
    """A pause that the network made shorter than the 45 ms that Asterisk wants: it tells such a key twice."""
    number = await customer.number(*collect_until_d())

    call = await caller.answered_call(number)
    for first, second in zip(ALL_KEYS[::2], ALL_KEYS[1::2], strict=True):
        call.media.press(first, pause=20)
        call.media.press(second, pause=300)
    await call.expect("left", within=12.0)

    assert await collected(customer, number) == ALL_KEYS
