"""docs/flows.md is what the code says, and its example works."""

from pathlib import Path

import pytest

from evercall.contracts.flow import EndReason
from flow_manager import documentation
from flow_manager.domain.actions import ACTION_TYPES, DIGITS, ActionType
from flow_manager.domain.execution import Position, next_run
from flow_manager.domain.schema import FIELDS, unwrap
from tests.unit.flow_manager.builders import flow

PAGE = Path(__file__).parents[3] / "docs" / "flows.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == documentation.render(), "run `make docs`"


def test_every_action_and_option_is_on_the_page() -> None:
    page = documentation.render()
    for kind in ACTION_TYPES.values():
        section = page.split(f"### {kind.name}\n")[1].split("\n#")[0]
        for name in FIELDS[kind.option]:
            assert f"| `{name}`" in section


@pytest.mark.parametrize("kind", ACTION_TYPES.values(), ids=lambda kind: kind.name)
def test_everything_is_described(kind: ActionType) -> None:
    assert kind.option.__doc__
    for field in FIELDS[kind.option].values():
        assert unwrap(field.type)[1]["description"]


def test_the_example_works() -> None:
    actions = flow(*documentation.EXAMPLE)
    run = next_run(actions, Position(next=0, variables={"voipbin.call.source.target": "+4930"}))
    assert [action.type for action in run.actions] == ["answer", "talk", "digits_receive"]
    at = run.position
    chosen = next_run(actions, Position(next=at.next, variables={**at.variables, DIGITS: "1"}))
    assert chosen.actions[0].option["text"] == "You call from +4930."
    assert chosen.end is EndReason.COMPLETED
    other = next_run(actions, Position(next=at.next, variables={**at.variables, DIGITS: "9"}))
    assert [action.type for action in other.actions] == ["talk", "digits_receive"]
