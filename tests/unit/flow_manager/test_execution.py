"""The stepper: what a run holds, where it ends, and where it leaves the flow."""

from typing import Any

import msgspec
import pytest

from evercall.contracts.flow import Action, EndReason
from flow_manager.domain import execution
from flow_manager.domain.actions import DIGITS
from flow_manager.domain.execution import Position, Stretch, next_run, take_back
from tests.unit.flow_manager.builders import act, digits, flow, name, say


def begin(actions: list[Action], **variables: str) -> Stretch:
    return next_run(actions, Position(next=0 if actions else None, variables=variables))


def go_on(actions: list[Action], stretch: Stretch, pressed: str | None = None) -> Stretch:
    """The run that follows when the executor reports these digits."""
    position = stretch.position
    variables = position.variables if pressed is None else {**position.variables, DIGITS: pressed}
    return next_run(
        actions,
        Position(
            next=position.next,
            variables=variables,
            executions=position.executions,
            jumps=position.jumps,
            steps=position.steps,
        ),
    )


def texts(stretch: Stretch) -> list[str]:
    """What a run says, and the types of its other actions."""
    return [action.option.get("text", action.type) for action in stretch.actions]


def faults(stretch: Stretch) -> list[str]:
    return [step.fault for step in stretch.steps if step.fault]


# -- runs --------------------------------------------------------------------------------------


def test_a_plain_flow_is_one_final_run() -> None:
    run = begin(flow(act("answer"), say("hi"), act("hangup")))
    assert texts(run) == ["answer", "hi", "hangup"]
    assert run.end is EndReason.COMPLETED
    assert run.position.next is None
    assert run.position.steps == 3


def test_an_empty_flow_is_an_empty_final_run() -> None:
    run = begin([])
    assert (run.actions, run.end) == ([], EndReason.COMPLETED)


def test_options_have_their_defaults_set() -> None:
    run = begin(flow(act("digits_receive", duration=5), act("hangup"), act("talk", text="x")))
    assert [action.option for action in run.actions] == [
        {"duration": 5, "length": 1, "key": ""},
        {"reason": "normal"},
    ]


def test_hangup_and_stop_end_the_flow() -> None:
    assert texts(begin(flow(act("hangup"), say()))) == ["hangup"]
    assert texts(begin(flow(say("a"), act("stop"), say("b")))) == ["a"]
    assert begin(flow(act("stop"))).end is EndReason.COMPLETED


def test_next_id_leads_on() -> None:
    actions = flow({**say("a"), "next_id": str(name(3))}, say("b"), say("c", 3))
    assert texts(begin(actions)) == ["a", "c"]


@pytest.mark.parametrize(
    "reader",
    [
        act("branch"),
        act("branch", variable=""),
        act("branch", variable=DIGITS),
        act(
            "condition_variable",
            condition="==",
            variable=DIGITS,
            value_type="string",
            false_target_id=name(1),
        ),
        act(
            "condition_variable",
            condition="==",
            variable="v",
            value_type="string",
            value_string=f"${{{DIGITS}}}",
            false_target_id=name(1),
        ),
        act("variable_set", key="pin", value=f"x${{{DIGITS}}}"),
        act("talk", text=f"You pressed ${{{DIGITS}}}"),
        act("play", stream_urls=["http://x/a", f"http://x/${{{DIGITS}}}.wav"]),
    ],
)
def test_a_run_ends_before_who_reads_digits_that_it_collects(reader: dict[str, Any]) -> None:
    actions = flow(act("answer"), digits(), say("after"), reader, say("end", 1))
    run = begin(actions)
    assert texts(run) == ["answer", "digits_receive", "after"]
    assert run.end is None
    assert run.position.next == 3
    assert go_on(actions, run, "7").end is EndReason.COMPLETED


@pytest.mark.parametrize(
    "other",
    [
        act("branch", variable="v"),
        act(
            "condition_variable",
            condition="!=",
            variable="v",
            value_type="string",
            value_string="x",
            false_target_id=name(1),
        ),
        act("variable_set", key="pin", value="${voipbin.call.id}"),
        act("talk", text="You pressed voipbin.call.digits"),
        act("goto", target_id=name(1)),
    ],
)
def test_a_run_goes_on_where_nobody_reads_the_digits(other: dict[str, Any]) -> None:
    assert begin(flow(digits(), other, say("end", 1))).end is EndReason.COMPLETED


def test_digits_that_are_known_already_end_no_run() -> None:
    actions = flow(
        act("branch", target_ids={"1": name(1)}), say("none"), act("stop"), say("one", 1)
    )
    assert texts(begin(actions, **{DIGITS: "1"})) == ["one"]
    assert texts(begin(actions)) == ["none"]


def test_a_long_run_is_cut() -> None:
    actions = flow(*[say(str(number)) for number in range(60)])
    first = begin(actions)
    assert len(first.actions) == execution.MAX_RUN_ACTIONS
    assert first.end is None
    second = go_on(actions, first)
    assert texts(second) == [str(number) for number in range(50, 60)]
    assert second.end is EndReason.COMPLETED


def test_a_heavy_run_is_cut() -> None:
    actions = flow(*[say("x" * 30_000)] * 5)
    first = begin(actions)
    assert len(first.actions) == 3
    assert len(go_on(actions, first).actions) == 2


def test_a_run_of_exactly_the_limit_is_final() -> None:
    assert begin(flow(*[act("answer")] * execution.MAX_RUN_ACTIONS)).end is EndReason.COMPLETED


# -- branch, goto, condition_variable, variable_set -----------------------------------------------


def menu() -> list[Action]:
    return flow(
        digits(),
        act("branch", target_ids={"1": name(1), "2": name(2)}, default_target_id=name(3)),
        say("one", 1),
        act("stop"),
        say("two", 2),
        act("stop"),
        say("other", 3),
    )


@pytest.mark.parametrize(
    ("pressed", "said"), [("1", ["one"]), ("2", ["two"]), ("", ["other"]), ("12", ["other"])]
)
def test_branch(pressed: str, said: list[str]) -> None:
    actions = menu()
    run = go_on(actions, begin(actions), pressed)
    assert texts(run) == said
    assert run.position.variables[DIGITS] == ""


def test_branch_without_default_goes_on() -> None:
    actions = flow(
        act("branch", variable="v", target_ids={"1": name(1)}), say("next"), say("one", 1)
    )
    assert texts(begin(actions, v="9")) == ["next", "one"]
    assert texts(begin(actions, v="1")) == ["one"]


def test_branch_on_another_variable_clears_nothing() -> None:
    run = begin(flow(act("branch", variable="v")), v="1", **{DIGITS: "5"})
    assert run.position.variables == {"v": "1", DIGITS: "5"}


def test_goto_with_a_count_jumps_so_often() -> None:
    actions = flow(say("a", 1), act("goto", target_id=name(1), loop_count=2), say("b"))
    run = begin(actions)
    assert texts(run) == ["a", "a", "a", "b"]
    assert run.position.jumps == {}


def test_goto_with_a_count_of_zero_never_jumps() -> None:
    assert texts(begin(flow(say("a", 1), act("goto", target_id=name(1), loop_count=0)))) == ["a"]


def test_goto_counts_afresh_in_every_round_of_an_outer_loop() -> None:
    actions = flow(
        say("out", 1),
        say("in", 2),
        act("goto", target_id=name(2), loop_count=1),
        act("goto", target_id=name(1), loop_count=2),
    )
    assert texts(begin(actions)) == ["out", "in", "in"] * 3


def test_goto_counts_over_runs() -> None:
    actions = flow(
        digits(1), act("branch"), act("goto", target_id=name(1), loop_count=2), say("end")
    )
    run = begin(actions)
    seen = []
    while run.end is None:
        seen.append(texts(run))
        run = go_on(actions, run, "1")
    assert seen == [["digits_receive"]] * 3
    assert texts(run) == ["end"]


@pytest.mark.parametrize(
    ("condition", "value_type", "wanted", "value", "holds"),
    [
        ("==", "string", "a", "a", True),
        ("==", "string", "a", "b", False),
        ("!=", "string", "a", "b", True),
        ("<", "string", "b", "a", True),
        (">", "string", "b", "a", False),
        (">=", "string", "b", "b", True),
        ("<=", "string", "b", "c", False),
        ("==", "string", "10", "9", False),
        (">", "string", "10", "9", True),
        ("==", "number", 9, "9.0", True),
        ("<", "number", 10, "9", True),
        (">", "number", 10, "9", False),
        (">=", "number", 1.5, "1.5", True),
        ("<=", "number", -1, "-1e0", True),
        ("==", "number", 0, "", False),
        ("!=", "number", 0, "", True),
        ("!=", "number", 0, "nan", True),
        ("<", "number", 5, "nan", False),
        (">", "number", 5, "inf", False),
        ("==", "number", 10, "1_0", False),
        ("==", "number", 3, "٣", False),
        (">", "number", 5, "1e999", True),
        ("==", "length", 3, "abc", True),
        (">", "length", 3, "abc", False),
        ("==", "length", 0, None, True),
        ("==", "string", "", None, True),
    ],
)
def test_conditions(
    condition: str, value_type: str, wanted: Any, value: str | None, holds: bool
) -> None:
    actions = flow(
        act(
            "condition_variable",
            condition=condition,
            variable="v",
            value_type=value_type,
            **{f"value_{value_type}": wanted},
            false_target_id=name(1),
        ),
        say("true"),
        act("stop"),
        say("false", 1),
    )
    given = {} if value is None else {"v": value}
    assert texts(begin(actions, **given)) == ["true" if holds else "false"]


def test_variables_are_filled_in_when_the_action_starts() -> None:
    actions = flow(
        act("variable_set", key="who", value="Ada"),
        say("hi ${who}"),
        act("variable_set", key="who", value="${who} L."),
        say("bye ${who}${nobody}"),
    )
    run = begin(actions)
    assert texts(run) == ["hi Ada", "bye Ada L."]
    assert run.position.variables == {"who": "Ada L."}


def test_lists_are_filled_in_item_by_item() -> None:
    run = begin(flow(act("play", stream_urls=["${url}", "http://x/${n}"])), url="http://a/b", n="5")
    assert run.actions[0].option == {"stream_urls": ["http://a/b", "http://x/5"]}


# -- what can't be done ---------------------------------------------------------------------------


def test_an_action_whose_options_turn_out_wrong_is_left_out() -> None:
    run = begin(flow(act("play", stream_urls=["${url}"]), say("on")), url="file:///etc/passwd")
    assert texts(run) == ["on"]
    (fault,) = faults(run)
    assert "stream_urls" in fault
    assert "passwd" not in fault


def test_a_text_that_grows_too_long_is_left_out() -> None:
    run = begin(flow(say("${v}${v}"), say("on")), v="x" * 20_000)
    assert texts(run) == ["on"]
    assert faults(run) == ["a text grows too long when its variables are filled in"]


def test_a_variable_that_does_not_fit_is_left_out() -> None:
    run = begin(flow(act("variable_set", key="v", value="${w}${w}"), say()), w="é" * 10_000)
    assert faults(run) == ["the value exceeds 32768 bytes"]
    assert "v" not in run.position.variables


def test_a_type_that_is_gone_is_left_out() -> None:
    actions = [Action(id=name(1), type="fax"), *flow(digits(), say("on"))]
    run = begin([*actions[1:], actions[0]])
    assert texts(run) == ["digits_receive", "on"]
    assert faults(run) == ["this type of action is not known any more"]


# -- limits ------------------------------------------------------------------------------------


def run_to_the_end(actions: list[Action], pressed: str = "1") -> tuple[Stretch, int]:
    run = begin(actions)
    handed_out = len(run.actions)
    while run.end is None:
        assert run.actions
        run = go_on(actions, run, pressed)
        handed_out += len(run.actions)
    return run, handed_out


def test_an_action_runs_a_hundred_times_at_most() -> None:
    last, handed_out = run_to_the_end(flow(say("a", 1), act("goto", target_id=name(1))))
    assert last.end is EndReason.LIMIT
    assert handed_out == execution.MAX_EXECUTIONS


def test_a_run_takes_a_thousand_steps_at_most() -> None:
    inner = [act("variable_set", number, key="a", value="b") for number in range(20)]
    actions = flow(*inner, act("goto", target_id=name(0), loop_count=99), say())
    last, handed_out = run_to_the_end(actions)
    assert last.end is EndReason.LIMIT
    assert len(last.steps) == execution.MAX_RUN_STEPS
    assert handed_out == 0


def test_an_activeflow_takes_ten_thousand_steps_at_most() -> None:
    inner = [act("answer", number) for number in range(150)]
    actions = flow(digits(200), act("branch"), *inner, act("goto", target_id=name(200)))
    last, _ = run_to_the_end(actions)
    assert last.end is EndReason.LIMIT
    assert last.position.steps == execution.MAX_STEPS


# -- taking back -------------------------------------------------------------------------------


def test_each_step_says_what_it_needs() -> None:
    run = begin(
        flow(
            act("variable_set", key="a", value="1"),
            say(),
            act("variable_set", key="a", value="2"),
            act("variable_set", key="b", value="3"),
            say(),
            act("stop"),
        )
    )
    assert [(step.index, step.needs) for step in run.steps] == [
        (0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (5, 3),
    ]  # fmt: skip
    variables = run.position.variables
    assert take_back(variables, run.steps[3:]) == {"a": "2"}
    assert take_back(variables, run.steps[2:]) == {"a": "1"}
    assert take_back(variables, run.steps) == {}
    assert take_back(variables, []) == {"a": "2", "b": "3"}


def test_cleared_digits_are_taken_back() -> None:
    run = begin(flow(say(), act("branch"), say()), **{DIGITS: "5"})
    assert run.position.variables == {DIGITS: ""}
    assert take_back(run.position.variables, run.steps[1:]) == {DIGITS: "5"}


def test_what_a_variable_was_is_kept_once_for_what_is_taken_back_together() -> None:
    """A valid flow of 219 KB kept 800 former values of 32 KB each."""
    sets = [act("variable_set", key="a", value=letter * 32_000) for letter in "bcdefg"]
    looping = [
        act("answer"),
        act("variable_set", 1, key="a", value="a" * 32_000),
        *sets,
        act("goto", target_id=name(1), loop_count=99),
        act("digits_receive", duration=60_000),
        act("branch"),
    ]
    run = begin(flow(*looping), a="first")
    assert len(run.steps) > 700
    assert len(msgspec.json.encode(run.steps)) < 100_000
    assert take_back(run.position.variables, run.steps[1:]) == {"a": "first"}


def test_a_run_ends_when_it_keeps_too_many_former_values() -> None:
    steps = [
        each
        for letter in "abcdefgh"
        for each in (say(), act("variable_set", key="a", value=letter * 30_000))
    ]
    actions = flow(*steps)
    run = begin(actions, a="x" * 30_000)
    seen, spoken = 0, 0
    while run.end is None:
        kept = sum(len(msgspec.json.encode(step.before)) for step in run.steps)
        assert kept < execution.MAX_KEPT_BYTES + 40_000
        spoken += len(run.actions)
        seen += 1
        assert run.actions
        run = go_on(actions, run)
    assert (seen, spoken + len(run.actions)) == (2, 8)


def test_a_fault_is_short() -> None:
    run = begin(flow(act("variable_set", key="k", value="${long}"), say()), long="x" * 32_000)
    assert run.position.variables["k"] == "x" * 32_000
    assert all(len(fault) <= execution.MAX_FAULT for fault in faults(run))
