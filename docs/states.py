"""Draws `docs/states.md` from the transition tables, so that the diagrams cannot differ from the code."""

from collections.abc import Iterable, Mapping

from call_manager.domain import transitions as call
from flow_manager.domain import activeflow

Edge = tuple[str, str, str]

HEAD = """# States

Drawn from the transition tables by `make docs`; a test fails when this page is not current. A pair that is
missing in a diagram is ignored, or is an error to whoever asked: the tables list every one of them.
"""


def call_edges() -> Iterable[Edge]:
    """Changes of status only: what stays is work within a status."""
    for status, row in call.TRANSITIONS.items():
        for trigger, cell in row.items():
            if not isinstance(cell, call.Outcome):
                yield status.value, cell.value, trigger.value


def activeflow_edges() -> Iterable[Edge]:
    """Each message and the states that it may lead to."""
    for status, row in activeflow.TRANSITIONS.items():
        for message, cell in row.items():
            if not isinstance(cell, activeflow.Transition):
                continue
            for after in cell.to:
                if after is not None and after is not status:
                    before = status.value if status is not None else "[*]"
                    yield before, after.value, message.__name__


def diagram(edges: Iterable[Edge], first: Iterable[str], last: Iterable[str]) -> str:
    """A Mermaid state diagram; triggers with the same ends share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for before, after, label in edges:
        arrows.setdefault((before, after), []).append(label)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in first]
    lines += [
        f"    {before} --> {after} : {', '.join(sorted(labels))}"
        for (before, after), labels in arrows.items()
    ]
    lines += [f"    {state} --> [*]" for state in last]
    return "\n".join([*lines, "```"])


def table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """The whole table of a machine: triggers down, states across."""
    states = list(rows)
    triggers = list(rows[states[0]])
    lines = ["| | " + " | ".join(states) + " |", "|---" * (len(states) + 1) + "|"]
    lines += [
        f"| `{trigger}` | " + " | ".join(rows[state][trigger] for state in states) + " |"
        for trigger in triggers
    ]
    return "\n".join(lines)


def call_table() -> Mapping[str, Mapping[str, str]]:
    """The call's table in words."""
    words = {
        call.Outcome.STAY: "worked on",
        call.Outcome.IGNORED: "",
        call.Outcome.ILLEGAL: "error",
    }
    return {
        status.value: {
            trigger.value: words[cell] if isinstance(cell, call.Outcome) else f"→ {cell.value}"
            for trigger, cell in row.items()
        }
        for status, row in call.TRANSITIONS.items()
    }


def render() -> str:
    """The whole page."""
    return (
        "\n\n".join(
            [
                HEAD.strip(),
                "## A call\n\n`services/call_manager/domain/transitions.py`",
                diagram(call_edges(), ["dialing", "ringing"], ["hangup"]),
                "Every pair of status and trigger; an empty cell is ignored.",
                table(call_table()),
                "## An activeflow\n\n`services/flow_manager/domain/activeflow.py`",
                diagram(activeflow_edges(), [], ["ended"]),
            ]
        )
        + "\n"
    )
