"""Builds flows for tests, briefly."""

from typing import Any
from uuid import UUID

from evercall.contracts.flow import Action, FlowCreate
from flow_manager.domain.validation import validate

CUSTOMER = UUID("018f0000-0000-7000-8000-0000000000aa")
FLOW_ID = UUID("018f0000-0000-7000-8000-0000000000bb")


def name(number: int) -> UUID:
    """The id of the action that tests call by this number."""
    return UUID(int=0x018F_0000_0000_7000_8000_0000_0001_0000 + number)


def act(kind: str, number: int | None = None, **option: Any) -> dict[str, Any]:
    """An action as a customer writes it. UUIDs in options become text, as in JSON."""
    written: dict[str, Any] = {"type": kind, "option": {k: _json(v) for k, v in option.items()}}
    if number is not None:
        written["id"] = str(name(number))
    return written


def _json(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    return value


def create(*actions: Any, **fields: Any) -> FlowCreate:
    return FlowCreate(id=FLOW_ID, customer_id=CUSTOMER, actions=list(actions), **fields)


def flow(*actions: Any) -> list[Action]:
    """A validated flow."""
    return validate(create(*actions))


def say(text: str = "hello", number: int | None = None) -> dict[str, Any]:
    return act("talk", number, text=text)


def digits(number: int | None = None) -> dict[str, Any]:
    return act("digits_receive", number, duration=5000)
