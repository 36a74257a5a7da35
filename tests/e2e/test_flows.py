"""Flows that go round and branch, and those that would never end.

What must hold: "actions `answer, play, talk, sleep, digits_receive, branch, goto, condition_variable,
variable_set, stop, hangup`; `${variables}`; … counters and limits against runaway loops".
"""

import uuid

import pytest

from tests.support.phone_sipp import Caller
from tests.support.rest import Customer, Problem, action
from tests.support.web import ToneServer


def new_action_id() -> str:
    return str(uuid.uuid4())


async def test_a_flow_with_loops_within_loops(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """A counted loop inside another runs as often in every round, each time with its prompt."""
    outer, inner = new_action_id(), new_action_id()
    number = await customer.number(
        action("answer"),
        action("play", id=outer, stream_urls=[web.tone(500, 150)]),
        action("play", id=inner, stream_urls=[web.tone(1000, 100)]),
        action("goto", target_id=inner, loop_count=2),
        action("goto", target_id=outer, loop_count=3),
        action("hangup"),
    )

    call = await caller.answered_call(number)
    await call.expect("left", within=20.0)

    # Back to back, three times the same tone is one: the line is told apart by the long tones.
    heard = [round(tone.frequency / 10) * 10 for tone in call.media.recording.tones()]
    assert [frequency for frequency in heard if frequency == 500] == [500] * 4
    flow = await customer.ended_flow((await customer.calls())[0])
    steps = [step["type"] for step in flow["executed_actions"]]
    assert steps.count("play") == 4 + 4 * 3
    assert steps.count("goto") == 4 * 3 + 4
    assert steps[-1] == "hangup"


async def test_variables_and_conditions_steer_a_call(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """Variables of the platform and of the flow, filled in late; conditions choose the way."""
    wrong = new_action_id()
    number = await customer.number(
        action("answer"),
        action("variable_set", key="tone", value="620"),
        action("variable_set", key="from", value="${voipbin.call.source.target}"),
        action(
            "condition_variable",
            condition="==",
            variable="from",
            value_type="string",
            value_string="+493012345678",
            false_target_id=wrong,
        ),
        action(
            "condition_variable",
            condition=">",
            variable="tone",
            value_type="number",
            value_number=600,
            false_target_id=wrong,
        ),
        action("play", stream_urls=[web.tone("${tone}", 300)]),
        action("stop"),
        action("play", id=wrong, stream_urls=[web.tone(2000, 300)]),
        action("hangup"),
    )

    call = await caller.answered_call(number)
    await call.expect("left")

    (tone,) = call.media.recording.tones()
    assert tone.frequency == pytest.approx(620, abs=5)
    flow = await customer.ended_flow((await customer.calls())[0])
    assert flow["variables"]["from"] == "+493012345678"
    assert flow["variables"]["voipbin.call.destination.target"] == number


async def test_a_loop_that_never_ends_is_ended(caller: Caller, customer: Customer) -> None:
    """A loop in which time passes is allowed, so its rounds are counted: the flow ends at the limit, and
    its call with it."""
    again = new_action_id()
    number = await customer.number(
        action("answer"),
        action("sleep", id=again, duration=10),
        action("goto", target_id=again),
    )

    call = await caller.answered_call(number)
    await call.expect("left", within=20.0)

    ended = await customer.ended((await customer.call_to(number))["id"])
    assert ended["hangup_by"] == "local"
    flow = await customer.ended_flow(ended)
    assert flow["end_reason"] == "limit"
    assert len(flow["executed_actions"]) >= 100


async def test_a_loop_in_which_no_time_passes_is_refused(customer: Customer) -> None:
    """ "a flow with … a loop" is refused when it is created, with the path of the fault."""
    again = new_action_id()
    looping = [
        action("answer"),
        action("variable_set", id=again, key="a", value="b"),
        action("goto", target_id=again),
    ]

    with pytest.raises(Problem) as refused:
        await customer.flow(*looping)

    assert refused.value.status == 400
    assert "actions[" in refused.value.text


async def test_a_long_flow_is_worked_off_in_order(
    caller: Caller, customer: Customer, web: ToneServer
) -> None:
    """More actions than one run holds: the runs join without a gap that anybody would hear."""
    actions = [action("answer")]
    for index in range(60):
        actions.append(action("variable_set", key="n", value=f"${{n}}{index % 10}"))
        actions.append(action("sleep", duration=10))
    actions += [action("play", stream_urls=[web.tone(900, 200)]), action("hangup")]
    number = await customer.number(*actions)

    call = await caller.answered_call(number)
    await call.expect("left", within=15.0)

    (tone,) = call.media.recording.tones()
    assert tone.frequency == pytest.approx(900, abs=5)
    flow = await customer.ended_flow((await customer.calls())[0])
    assert flow["variables"]["n"] == "0123456789" * 6
