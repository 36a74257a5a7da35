"""What a customer is told about a flow with faults."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from evercall.contracts.flow import Action, FlowUpdate
from evercall.service.errors import InvalidRequest
from flow_manager.domain import validation
from flow_manager.domain.validation import validate
from tests.unit.flow_manager.builders import (
    CUSTOMER,
    FLOW_ID,
    act,
    create,
    digits,
    flow,
    name,
    say,
)


def faults(*actions: Any, **fields: Any) -> dict[str, str]:
    """The messages of a refused flow, by path."""
    with pytest.raises(InvalidRequest) as caught:
        validate(create(*actions, **fields))
    assert caught.value.code == "invalid_argument"
    listed = caught.value.details["faults"]
    assert caught.value.details["fault_count"] >= len(listed)
    msgspec.json.encode(caught.value.to_data())
    return {fault["path"]: fault["message"] for fault in listed}


def test_a_flow_with_every_type_of_action_is_accepted() -> None:
    actions = flow(
        act("answer"),
        act("play", stream_urls=["http://127.20.9.7/tone.wav", "https://x.example/${lang}.wav"]),
        act("talk", 1, text="Hello ${voipbin.call.source.target}", language="de", voice_id="mb"),
        act("sleep", duration=0),
        act("digits_receive", duration=86_400_000, length=3, key="#"),
        act("branch", default_target_id=name(2), target_ids={"1": name(1), "": name(2)}),
        act("goto", 2, target_id=name(1), loop_count=3),
        act(
            "condition_variable",
            condition=">=",
            variable="voipbin.call.digits",
            value_type="number",
            value_number=1.5,
            false_target_id=name(3),
        ),
        act("variable_set", key="Provider name", value="${voipbin.call.id}"),
        act("stop"),
        act("hangup", 3, reason="busy"),
    )
    assert len(actions) == 11
    assert actions[2].id == name(1)
    assert actions[5].option == {
        "default_target_id": str(name(2)),
        "target_ids": {"1": str(name(1)), "": str(name(2))},
    }


def test_an_empty_flow_is_accepted() -> None:
    assert flow() == []


def test_an_update_is_checked_like_a_creation() -> None:
    update = FlowUpdate(id=FLOW_ID, customer_id=CUSTOMER, name="", detail="", actions=[7])
    with pytest.raises(InvalidRequest):
        validate(update)


def test_all_faults_are_named_at_once() -> None:
    found = faults(
        act("answer", volume=3),
        act("sing"),
        act("sleep"),
        act("sleep", duration="1000"),
        act("goto", target_id="nowhere"),
        act("goto", target_id=name(9)),
        "hangup",
        {"type": "stop", "colour": "red", "id": "x", "next_id": 4},
        {"option": {}},
        name="n" * 256,
    )
    assert list(found) == ["name"]
    found = faults(
        act("answer", volume=3),
        act("sing"),
        act("sleep"),
        act("sleep", duration="1000"),
        act("goto", target_id="nowhere"),
        act("goto", target_id=name(9)),
        "hangup",
        {"type": "stop", "colour": "red", "id": "x", "next_id": 4},
        {"option": {}},
    )
    assert found == {
        "actions[0].option.volume": "is not known; the options are: none",
        "actions[1].type": '"sing" is not known; the types are: answer, branch, condition_variable,'
        " digits_receive, external_media_start, external_media_stop, goto, hangup, play, sleep, stop,"
        " talk, variable_set",
        "actions[2].option.duration": "is missing; it must be an integer from 0 to 86400000",
        "actions[3].option.duration": 'must be an integer from 0 to 86400000, not "1000"',
        "actions[4].option.target_id": 'must be a UUID, not "nowhere"',
        "actions[5].option.target_id": f"no action of this flow has the id {name(9)}",
        "actions[6]": 'must be an object, not "hangup"',
        "actions[7].colour": "is not known; the fields are: id, type, next_id, option, tm_execute",
        "actions[7].id": 'must be a UUID, not "x"',
        "actions[7].next_id": "must be a UUID, not 4",
        "actions[8].type": "is missing; the types are: answer, branch, condition_variable,"
        " digits_receive, external_media_start, external_media_stop, goto, hangup, play, sleep, stop,"
        " talk, variable_set",
    }


@pytest.mark.parametrize(
    ("action", "path", "message"),
    [
        (act("sleep", duration=-1), "duration", "must be an integer from 0 to 86400000, not -1"),
        (act("sleep", duration=1.5), "duration", "must be an integer from 0 to 86400000, not 1.5"),
        (
            act("sleep", duration=True),
            "duration",
            "must be an integer from 0 to 86400000, not true",
        ),
        (
            act("sleep", duration=None),
            "duration",
            "must be an integer from 0 to 86400000, not null",
        ),
        (
            act("sleep", duration=10**4000),
            "duration",
            "must be an integer from 0 to 86400000, not a very large integer",
        ),
        (
            act("play", stream_urls=[]),
            "stream_urls",
            "must be a list of 1 to 100 items, not a list of 0 items",
        ),
        (
            act("play", stream_urls="http://x/y"),
            "stream_urls",
            'must be a list of 1 to 100 items, not "http://x/y"',
        ),
        (
            act("play", stream_urls=["http://x/y", "ftp://x/y"]),
            "stream_urls[1]",
            'must be an http or https URL of at most 2048 characters, not "ftp://x/y"',
        ),
        (
            act("play", stream_urls=["http://x/y\0${z}"]),
            "stream_urls[0]",
            'must be an http or https URL of at most 2048 characters, not "http://x/y\\u0000${z}"',
        ),
        (act("talk", text=""), "text", 'must be a text of 1 to 32768 characters, not ""'),
        (
            act("talk", text="a\0"),
            "text",
            'must be a text of 1 to 32768 characters, not "a\\u0000"',
        ),
        (
            act("talk", text="x" * 32_769),
            "text",
            f'must be a text of 1 to 32768 characters, not "{"x" * 64}…"',
        ),
        (
            act("talk", text="${a}" + "x" * 32_768),
            "text",
            f'must be a text of 1 to 32768 characters, not "${{a}}{"x" * 60}…"',
        ),
        (
            act("talk", text="x", voice_id="v" * 65),
            "voice_id",
            f'must be a text of at most 64 characters, not "{"v" * 64}…"',
        ),
        (
            act("talk", text="x", language="english!"),
            "language",
            'must be a BCP 47 language tag such as en-US, not "english!"',
        ),
        (
            act("talk", text="x", provider="acme"),
            "provider",
            'must be one of "", "espeak", "gcp", "aws", not "acme"',
        ),
        (
            act("talk", text="x", provider=["aws"]),
            "provider",
            'must be one of "", "espeak", "gcp", "aws", not a list of 1 items',
        ),
        (
            act("digits_receive", duration=1, key="x"),
            "key",
            'must be up to 16 of the keys 0-9, A-D, # and *, not "x"',
        ),
        (
            act("digits_receive", duration=1, length=101),
            "length",
            "must be an integer from 0 to 100, not 101",
        ),
        (
            act("goto", 1, target_id=name(1), loop_count=100),
            "loop_count",
            "must be an integer from 0 to 99 or null, not 100",
        ),
        (
            act("branch", target_ids=[]),
            "target_ids",
            "must be an object of at most 100 entries, not a list of 0 items",
        ),
        (act("branch", target_ids={"1": "x"}), "target_ids.1", 'must be a UUID, not "x"'),
        (
            act("branch", 1, target_ids={"k" * 256: name(1)}),
            f"target_ids.{'k' * 64}…",
            f'must be a text of at most 255 characters, not "{"k" * 64}…"',
        ),
        (
            act("branch", variable="${a}"),
            "variable",
            'must be the name of a variable: up to 255 characters other than $, { and }, not "${a}"',
        ),
        (
            act("branch", default_target_id={}),
            "default_target_id",
            "must be a UUID or null, not an object of 0 entries",
        ),
        (
            act("variable_set", key="voipbin.call.id", value=""),
            "key",
            "must be the name of a variable: 1 to 255 characters other than $, { and },"
            ' not beginning with voipbin., not "voipbin.call.id"',
        ),
        (act("hangup", reason="lost"), "reason", None),
        (
            act("talk", text="x", digits_handle="stop"),
            "digits_handle",
            'must be one of "", "next", not "stop"',
        ),
    ],
)
def test_each_fault_says_what_is_allowed(
    action: dict[str, Any], path: str, message: str | None
) -> None:
    found = faults(action)
    assert list(found) == [f"actions[0].option.{path}"]
    if message is not None:
        assert found[f"actions[0].option.{path}"] == message


def test_numbers_of_conditions_are_finite() -> None:
    def condition(number: Any) -> dict[str, Any]:
        return act(
            "condition_variable",
            1,
            condition="==",
            variable="v",
            value_type="number",
            value_number=number,
            false_target_id=name(2),
        )

    assert flow(condition(5), act("stop", 2))
    for bad in (10**400, "5", True):
        assert list(faults(condition(bad), act("stop", 2))) == ["actions[0].option.value_number"]


def test_option_and_type_have_their_kinds() -> None:
    assert flow({"type": "stop"}, {"type": "stop", "option": None})
    assert faults({"type": "stop", "option": []}) == {
        "actions[0].option": "must be an object, not a list of 0 items"
    }
    assert "[]" not in faults({"type": [], "option": {}})["actions[0].type"]


def test_a_template_is_checked_when_it_is_filled_in() -> None:
    assert flow(act("play", stream_urls=["${url}"]), act("talk", text="${t}", language="${l}"))


# -- ids ---------------------------------------------------------------------------------------


def test_missing_ids_are_generated_and_the_same_every_time() -> None:
    first = flow(act("answer"), act("hangup"))
    assert first == flow(act("answer"), act("hangup"))
    assert len({action.id for action in first}) == 2
    assert all(action.id.version == 7 for action in first)


@pytest.mark.parametrize("nobody", [None, "", "00000000-0000-0000-0000-000000000000"])
def test_empty_ids_mean_none(nobody: Any) -> None:
    (action,) = flow({"type": "answer", "id": nobody, "next_id": nobody, "tm_execute": ""})
    assert action == Action(id=flow(act("answer"))[0].id, type="answer")


def test_a_flow_that_was_read_back_can_be_changed() -> None:
    before = msgspec.to_builtins(flow(act("answer"), say(), act("hangup")))
    after = flow(act("sleep", duration=1), *before)
    assert [str(action.id) for action in after[1:]] == [action["id"] for action in before]
    assert len({action.id for action in after}) == 4


def test_duplicate_ids() -> None:
    found = faults(say(number=1), say(number=2), say(number=1), say(number=1))
    assert found == {
        "actions[2].id": "is the id of actions[0] already",
        "actions[3].id": "is the id of actions[0] already",
    }


def test_dangling_targets() -> None:
    found = faults(
        {"type": "answer", "next_id": str(name(8))},
        act("branch", default_target_id=name(7), target_ids={"1": name(6)}),
        act(
            "condition_variable",
            condition="==",
            variable="v",
            value_type="string",
            false_target_id=name(5),
        ),
    )
    assert {path: message[-4:] for path, message in found.items()} == {
        "actions[0].next_id": "0008",
        "actions[1].option.default_target_id": "0007",
        "actions[1].option.target_ids.1": "0006",
        "actions[2].option.false_target_id": "0005",
    }


def test_ids_may_be_written_in_any_case() -> None:
    upper = str(UUID("018f0000-0000-7000-8000-00000001abcd")).upper()
    assert flow(
        {"type": "talk", "id": upper, "option": {"text": "x"}}, act("goto", target_id=upper.lower())
    )


# -- loops -------------------------------------------------------------------------------------

LOOP = "is part of a loop in which no time passes: "


def test_a_loop_without_waiting_is_refused_with_its_way() -> None:
    found = faults(
        act("answer", 1),
        act("variable_set", 2, key="a", value="b"),
        act("goto", 3, target_id=name(2)),
    )
    assert list(found) == ["actions[1]"]
    assert found["actions[1]"].startswith(LOOP + "actions[1] -> actions[2] -> actions[1]; ")


@pytest.mark.parametrize(
    "actions",
    [
        [act("goto", 1, target_id=name(1))],
        [{"type": "answer", "id": str(name(1)), "next_id": str(name(1))}],
        [act("sleep", 1, duration=0), act("goto", target_id=name(1))],
        [act("digits_receive", 1, duration=0), act("goto", target_id=name(1))],
        [act("branch", 1, target_ids={"1": name(1)})],
        [act("branch", 1, default_target_id=name(1)), say()],
        [
            act("goto", 1, target_id=name(2)),
            say(),
            act("branch", 2),
            act("goto", target_id=name(1)),
        ],
        [
            act(
                "condition_variable",
                1,
                condition="==",
                variable="v",
                value_type="string",
                false_target_id=name(1),
            ),
        ],
        # The goto lets go, but what follows leads back to it.
        [
            act("variable_set", 1, key="a", value="b"),
            {**act("goto", 2, target_id=name(1), loop_count=2), "next_id": str(name(1))},
        ],
    ],
)
def test_loops_in_which_no_time_passes(actions: list[Any]) -> None:
    found = faults(*actions)
    assert all(message.startswith(LOOP) for message in found.values())


@pytest.mark.parametrize(
    "actions",
    [
        [say(number=1), act("goto", target_id=name(1))],
        [act("play", 1, stream_urls=["http://x/y"]), act("goto", target_id=name(1))],
        [act("sleep", 1, duration=1), act("goto", target_id=name(1))],
        [digits(1), act("branch", default_target_id=name(1))],
        [act("answer", 1), act("goto", target_id=name(1), loop_count=99)],
        [act("answer", 1), act("goto", target_id=name(1), loop_count=0)],
        [
            act("answer", 1),
            act("goto", 2, target_id=name(1), loop_count=2),
            act("goto", target_id=name(1), loop_count=2),
        ],
        [act("stop", 1), act("goto", target_id=name(1))],
        [act("hangup", 1), act("goto", target_id=name(1))],
        [act("goto", target_id=name(1)), act("goto", target_id=name(1)), say(number=1)],
    ],
)
def test_loops_that_wait_or_let_go_are_fine(actions: list[Any]) -> None:
    assert flow(*actions)


def test_a_long_loop_is_shown_in_part() -> None:
    many = [act("answer", number) for number in range(validation.MAX_ACTIONS - 1)]
    found = faults(*many, act("goto", target_id=name(0)))
    assert list(found) == ["actions[0]"]
    assert "actions[19] -> … -> actions[0]; " in found["actions[0]"]


# -- limits ------------------------------------------------------------------------------------


def test_the_number_of_actions_is_bounded() -> None:
    assert len(flow(*[act("answer")] * 1000)) == 1000
    assert faults(*[act("answer")] * 1001) == {
        "actions": "must be a list of at most 1000, not 1001 items"
    }


def test_the_size_is_bounded() -> None:
    assert flow(*[say("x" * 32_000)] * 8)
    assert list(faults(*[say("x" * 32_000)] * 9)) == ["actions"]


def test_deep_nesting_is_refused() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert list(faults(deep)) == ["actions"]


def test_texts_of_the_flow_itself() -> None:
    assert list(faults(name="n" * 256, detail="d" * 4097)) == ["name", "detail"]
    assert list(faults(name="\0")) == ["name"]
    assert validate(create(name="n" * 255, detail="d" * 4096)) == []


def test_a_flow_can_not_follow_another_one_yet() -> None:
    assert list(faults(on_complete_flow_id=name(1))) == ["on_complete_flow_id"]


def test_the_list_of_faults_is_bounded_but_counted() -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(create(*[7] * 500))
    assert len(caught.value.details["faults"]) == 100
    assert caught.value.details["fault_count"] == 500


def test_many_loops_are_found_quickly_and_listed_in_part() -> None:
    targets = {str(number): name(number) for number in range(100)}
    many = [act("branch", number, target_ids=targets) for number in range(40)]
    rest = [act("answer", number) for number in range(40, 100)]
    began = datetime.now(UTC)
    assert len(faults(*many, *rest)) <= 100
    assert (datetime.now(UTC) - began).total_seconds() < 2
