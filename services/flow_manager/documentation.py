"""Writes the reference of flows, docs/flows.md, from the option structs and the limits that hold.

`python -m flow_manager.documentation` prints it. Nothing about a single option stands here: what the page
says of them is what validation checks.
"""

import inspect as source
import sys
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from flow_manager.domain import execution, state, validation, variables
from flow_manager.domain.actions import ACTION_TYPES, ActionType, Executor
from flow_manager.domain.schema import FIELDS, TEMPLATES, describe, unwrap

EXAMPLE: list[dict[str, Any]] = [
    {"type": "answer"},
    {
        "id": "018f5a1e-0000-7000-8000-000000000001",
        "type": "talk",
        "option": {"text": "Press 1 to hear your number."},
    },
    {"type": "digits_receive", "option": {"duration": 5000}},
    {
        "type": "branch",
        "option": {
            "target_ids": {"1": "018f5a1e-0000-7000-8000-000000000002"},
            "default_target_id": "018f5a1e-0000-7000-8000-000000000003",
        },
    },
    {
        "id": "018f5a1e-0000-7000-8000-000000000002",
        "type": "talk",
        "option": {"text": "You call from ${voipbin.call.source.target}."},
    },
    {"type": "hangup"},
    {
        "id": "018f5a1e-0000-7000-8000-000000000003",
        "type": "goto",
        "option": {"target_id": "018f5a1e-0000-7000-8000-000000000001", "loop_count": 2},
    },
    {"type": "hangup", "option": {"reason": "noanswer"}},
]
"""A menu that is read out three times at most."""

_HEAD = """# Flows

A flow is a list of actions. When a call starts one, it runs as an *activeflow*: from the first action on,
each followed by the next in the list, unless `next_id` or the action itself names another. After the last
action, or a `stop`, the call hangs up.

This page is made from the code by `make docs`; a test fails when it is not current.

## An action

| field | |
|---|---|
| `id` | A UUID, needed where another action leads here. Left out, one is generated. |
| `type` | One of the types below. |
| `next_id` | The id of the action that follows, where it is not the next in the list. |
| `option` | What the type needs to know. |

A menu that is read out three times at most:
"""

_FAULTS = f"""## Faults

A flow is checked as a whole when it is created or changed. All faults are reported at once, in the error's
`details.faults`, each with its path: `actions[2].option.duration`. Refused are also

- an option that the type does not know, or that is missing or out of bounds;
- an id that two actions share, and a target that no action has;
- a loop in which no time passes. Close a loop with a `goto` that has a `loop_count`, or put an action into
  it that waits: `play`, `talk`, or `sleep` and `digits_receive` with a duration;
- more than {validation.MAX_ACTIONS} actions, or {validation.MAX_FLOW_BYTES // 1024} KiB of them;
- `on_complete_flow_id`: a flow can't follow another one yet.

An action that can't be carried out when its turn comes is left out, and the activeflow's `faults` say so (the
newest {state.MAX_FAULTS} are kept): a variable that grows too large, a URL that is none once its variables
are filled in.
"""

_VARIABLES = f"""## Variables

A variable is a text with a name. In the options marked with ✎, `${{name}}` is replaced by its value when the
action starts; an unknown name gives nothing. What a value contains is not looked at again.

An activeflow has at most {variables.MAX_KEYS} variables, of {variables.MAX_VALUE_BYTES // 1024} KiB each and
{variables.MAX_TOTAL_BYTES // 1024} KiB together. Names that begin with `voipbin.` are the platform's:

| variable | |
|---|---|
| `voipbin.activeflow.id`, `.flow_id` | The activeflow and its flow. |
| `voipbin.activeflow.reference_type`, `.reference_id` | `call`, and the id of the call. |
| `voipbin.call.id`, `.direction` | The call, `incoming` or `outgoing`. |
| `voipbin.call.source.*`, `.destination.*` | `type`, `target`, `target_name`, `name`, `detail` of a party. |
| `voipbin.call.digits` | What the last `digits_receive` collected. |
"""

_RUNS = f"""## Runs and limits

The flow is handed to the call in *runs*: all actions up to the next one whose successor depends on an
outcome. A run ends before an action that reads the digits which are still to be collected in it, and after
{execution.MAX_RUN_ACTIONS} actions or {execution.MAX_RUN_BYTES // 1024} KiB of options.

An activeflow that runs away is ended with the `end_reason` `limit`:

| limit | |
|---|---|
| steps of one run, counting those of the flow itself | {execution.MAX_RUN_STEPS} |
| executions of one action in an activeflow | {execution.MAX_EXECUTIONS} |
| steps of an activeflow | {execution.MAX_STEPS} |

The other end reasons are `completed`, `reference_ended` (the call was over before), `stopped` (through the
API) and `flow_unavailable` (the flow was gone when the call came). An activeflow keeps its newest
{state.MAX_EXECUTED_ACTIONS} executed actions. A change of a flow does not touch the activeflows that run.
"""

_EXECUTORS = {
    Executor.CALL: "Carried out by the call.",
    Executor.FLOW: "Decided at once by the flow.",
}


def render() -> str:
    """The whole page."""
    example = msgspec.json.format(msgspec.json.encode(EXAMPLE)).decode()
    actions = "\n".join(_action(kind) for kind in ACTION_TYPES.values())
    return "\n".join(
        [
            _HEAD,
            f"```json\n{example}\n```\n",
            f"## Types of action\n\n{actions}",
            _VARIABLES,
            _FAULTS,
            _RUNS,
        ]
    )


def _action(kind: ActionType) -> str:
    text = source.cleandoc(kind.option.__doc__ or "")
    lines = [f"### {kind.name}", "", text, "", _EXECUTORS[kind.executor], ""]
    fields = FIELDS[kind.option]
    if not fields:
        return "\n".join([*lines, "It has no options.", ""])
    lines += ["| option | must be | default | |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_row(kind, field) for field in fields.values()), ""])


def _row(kind: ActionType, field: inspect.Field) -> str:
    _, notes = unwrap(field.type)
    mark = " ✎" if field.name in TEMPLATES[kind.option] else ""
    what = describe(field.type)
    if isinstance(inner := unwrap(field.type)[0], inspect.ListType):
        what += f", each {describe(inner.item_type)}"
    return f"| `{field.name}`{mark} | {what} | {_default(field)} | {notes['description']} |"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    default = field.default_factory() if field.default is NODEFAULT else field.default
    return f"`{msgspec.json.encode(default).decode()}`"


if __name__ == "__main__":
    sys.stdout.write(render())
