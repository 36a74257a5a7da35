"""What holds for all flows: validation never crashes and agrees with decoding, and whatever it lets
through comes to an end."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from evercall.contracts.flow import Action, FlowCreate
from evercall.service.errors import InvalidRequest
from flow_manager.domain import execution
from flow_manager.domain.actions import ACTION_TYPES, DIGITS, Option, read_option
from flow_manager.domain.execution import Position, Stretch, next_run, take_back
from flow_manager.domain.options import option_faults
from flow_manager.domain.schema import FIELDS, TEMPLATES
from flow_manager.domain.validation import validate
from tests.unit.flow_manager.builders import create, name

SIZE = 8
"""Actions of a random flow; targets are among them, so that most of them are right."""

text = st.text(max_size=5) | st.sampled_from(
    ["${a}", "${voipbin.call.digits}", "http://x/y", "a", "${", "\0", "1", "en-US", "==", "number"]
)
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
json = st.recursive(
    scalar | st.sampled_from([str(name(number)) for number in range(SIZE)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
option_names = st.sampled_from(sorted({field for fields in FIELDS.values() for field in fields}))
types = st.sampled_from([*ACTION_TYPES, "nothing"])
anything = json | st.fixed_dictionaries(
    {"type": types | json, "option": st.dictionaries(option_names | text, json) | json},
    optional={"id": json, "next_id": json, "tm_execute": json},
)


def validated(request: FlowCreate) -> list[Action] | None:
    try:
        return validate(request)
    except InvalidRequest as error:
        faults = error.details["faults"]
    assert faults
    assert all(fault["path"].startswith("actions") and fault["message"] for fault in faults)
    return None


@given(st.lists(anything, max_size=6))
def test_validation_never_crashes(actions: list[Any]) -> None:
    validated(create(*actions))


# -- flows that are right ------------------------------------------------------------------------

target = st.integers(0, SIZE - 1).map(lambda number: str(name(number)))
words = st.lists(
    st.sampled_from(["a", "b ", "${a}", "${b}", "${voipbin.call.digits}", "http://x/"]), max_size=4
).map("".join)
variable = st.sampled_from(["a", "b", DIGITS])
right_options: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "answer": {},
    "play": {"stream_urls": st.just(["http://x/${a}"])},
    "talk": {"text": words.filter(bool)},
    "sleep": {"duration": st.integers(0, 5)},
    "digits_receive": {"duration": st.integers(0, 5), "length": st.integers(0, 3)},
    "branch": {
        "variable": variable,
        "default_target_id": st.none() | target,
        "target_ids": st.dictionaries(st.sampled_from(["1", "2", ""]), target),
    },
    "external_media_start": {"url": st.just("wss://x/${a}")},
    "external_media_stop": {},
    "goto": {"target_id": target, "loop_count": st.none() | st.integers(0, 3)},
    "condition_variable": {
        "condition": st.sampled_from(["==", "!=", ">", ">=", "<", "<="]),
        "variable": variable,
        "value_type": st.sampled_from(["string", "number", "length"]),
        "value_string": words,
        "value_number": st.integers(0, 3),
        "value_length": st.integers(0, 3),
        "false_target_id": target,
    },
    "variable_set": {"key": st.sampled_from(["a", "b"]), "value": words},
    "stop": {},
    "hangup": {},
}
right_action = st.sampled_from(list(right_options)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"type": st.just(kind), "option": st.fixed_dictionaries(right_options[kind])},
        optional={"next_id": target},
    )
)
right_flow = st.lists(right_action, min_size=SIZE, max_size=SIZE).map(
    lambda actions: [{**action, "id": str(name(number))} for number, action in enumerate(actions)]
)
presses = st.lists(st.sampled_from(["1", "2", "", "12"]), min_size=1, max_size=5)


def nearly_right(kind: str) -> st.SearchStrategy[tuple[type[Option], dict[str, Any]]]:
    """Options of a type of which some may be missing, of another kind or out of bounds."""
    fields = {field: right | right | right | json for field, right in right_options[kind].items()}
    whole = st.fixed_dictionaries(fields)
    partly = st.fixed_dictionaries({}, optional={**fields, "extra": json})
    return st.tuples(st.just(ACTION_TYPES[kind].option), whole | partly)


@settings(max_examples=500)
@given(st.sampled_from(sorted(ACTION_TYPES)).flatmap(nearly_right))
def test_validation_and_decoding_agree(drawn: tuple[type[Option], dict[str, Any]]) -> None:
    struct, option = drawn
    # Two things that only validation looks at: templates, and what PostgreSQL can't keep.
    if "${" in str(option) or "\\x00" in repr(option):
        return
    faults = list(option_faults(struct, option, "option"))
    try:
        msgspec.convert(option, struct)
    except msgspec.ValidationError:
        assert faults
    else:
        assert not faults


def test_the_strategy_covers_every_type() -> None:
    assert right_options.keys() == ACTION_TYPES.keys()


def follow(actions: list[Action], pressed: list[str]) -> list[Stretch]:
    """All runs of an activeflow whose caller presses these keys over and over."""
    position = Position(next=0)
    runs: list[Stretch] = []
    while not runs or runs[-1].end is None:
        run = next_run(actions, position)
        runs.append(run)
        position = msgspec.structs.replace(
            run.position,
            variables={**run.position.variables, DIGITS: pressed[len(runs) % len(pressed)]},
        )
    return runs


@settings(max_examples=300)
@given(right_flow, presses)
def test_what_validation_lets_through_ends_within_its_limits(
    written: list[dict[str, Any]], pressed: list[str]
) -> None:
    actions = validated(create(*written))
    if actions is None:
        return
    runs = follow(actions, pressed)
    assert sum(len(run.steps) for run in runs) == runs[-1].position.steps <= execution.MAX_STEPS
    assert max(runs[-1].position.executions.values()) <= execution.MAX_EXECUTIONS
    for run in runs:
        assert run.actions or run.end is not None
        assert len(run.actions) <= execution.MAX_RUN_ACTIONS
        for action in run.actions:
            assert read_option(ACTION_TYPES[action.type], action.option)


@given(right_flow, presses)
def test_the_stepper_is_deterministic_and_changes_nothing_it_is_given(
    written: list[dict[str, Any]], pressed: list[str]
) -> None:
    actions = validated(create(*written))
    if actions is None:
        return
    before = msgspec.json.encode(actions)
    position = Position(next=0, variables={DIGITS: pressed[0]})
    first = next_run(actions, position)
    assert position == Position(next=0, variables={DIGITS: pressed[0]})
    assert next_run(actions, position) == first
    assert take_back(first.position.variables, first.steps) == position.variables
    assert follow(actions, pressed) == follow(actions, pressed)
    assert msgspec.json.encode(actions) == before


@settings(max_examples=300)
@given(right_flow)
def test_flows_without_prompts_that_pass_run_into_no_limit(written: list[dict[str, Any]]) -> None:
    """What the search for loops promises: without anything that waits, a flow ends by itself. (Counts
    that multiply may still reach a limit; three gotos of up to three jumps do not.)"""
    for action in written:
        if action["type"] in ("play", "talk", "sleep", "digits_receive"):
            action.update(type="answer", option={})
    if sum(action["type"] == "goto" for action in written) > 3:
        return
    actions = validated(create(*written))
    if actions is not None:
        last = follow(actions, ["1"])[-1]
        assert last.end is not None
        assert last.end.value == "completed"


def test_templates_are_texts() -> None:
    assert {option.__name__: names for option, names in TEMPLATES.items() if names} == {
        "ConditionVariable": ("value_string",),
        "ExternalMediaStart": ("url", "external_host"),
        "Play": ("stream_urls",),
        "Talk": ("text", "language", "voice_id"),
        "VariableSet": ("value",),
    }
