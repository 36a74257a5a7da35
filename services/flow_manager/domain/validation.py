"""Checks a whole flow when it is created or changed, and names all its faults at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from evercall.contracts.flow import Action, FlowCreate, FlowUpdate
from evercall.contracts.ids import derived_id
from evercall.service.errors import InvalidRequest
from flow_manager.domain.actions import ACTION_TYPES, ActionType, Option
from flow_manager.domain.faults import Fault, cut, shown
from flow_manager.domain.loops import endless_loops
from flow_manager.domain.options import is_uuid, option_faults, read_unfilled

MAX_ACTIONS = 1000
MAX_FLOW_BYTES = 256 * 1024
MAX_NAME = 255
MAX_DETAIL = 4096
MAX_FAULTS = 100
SHOWN_STEPS = 20

_ACTION_FIELDS = ("id", "type", "next_id", "option", "tm_execute")
_NOBODY = UUID(int=0)


@dataclass(slots=True)
class _Draft:
    """An action on its way from JSON to `Action`. `option` is None while it is not known to be right."""

    path: str
    id: UUID | None = None
    next_id: UUID | None = None
    kind: ActionType | None = None
    given: dict[str, Any] = field(default_factory=dict)
    option: Option | None = None


def validate(request: FlowCreate | FlowUpdate) -> list[Action]:
    """The flow's actions, each with an id.

    Raises:
        InvalidRequest: `details["faults"]` lists what is wrong, as `{path, message}`.
    """
    faults = [*_text_faults(request), *_size_faults(request.actions)]
    if faults:
        raise _refused(faults)
    drafts = [_Draft(f"actions[{index}]") for index in range(len(request.actions))]
    for draft, given in zip(drafts, request.actions, strict=True):
        faults += _read(draft, given)
    faults += _duplicates(drafts)
    _generate_ids(request.id, drafts)
    faults += _dangling_targets(drafts)
    if faults:
        raise _refused(faults)
    actions = [_finish(draft) for draft in drafts]
    faults = list(islice(_loop_faults(actions, drafts), MAX_FAULTS))
    if faults:
        raise _refused(faults)
    return actions


def _refused(faults: Sequence[Fault]) -> InvalidRequest:
    listed = [msgspec.to_builtins(fault) for fault in faults[:MAX_FAULTS]]
    details = {"faults": listed, "fault_count": len(faults)}
    return InvalidRequest("invalid_argument", "The flow has faults", details=details)


def _text_faults(request: FlowCreate | FlowUpdate) -> Iterator[Fault]:
    for path, text, most in (
        ("name", request.name, MAX_NAME),
        ("detail", request.detail, MAX_DETAIL),
    ):
        if len(text) > most or "\0" in text:
            yield Fault(path, f"must be a text of at most {most} characters, without U+0000")
    if request.on_complete_flow_id is not None:
        # A flow that runs when the call is over could not be heard or do anything yet.
        yield Fault("on_complete_flow_id", "must be null: a flow can't follow another one yet")


def _size_faults(actions: list[Any]) -> Iterator[Fault]:
    if len(actions) > MAX_ACTIONS:
        yield Fault("actions", f"must be a list of at most {MAX_ACTIONS}, not {len(actions)} items")
        return
    try:
        size = len(msgspec.json.encode(actions))
    except RecursionError:
        yield Fault("actions", "must not be nested this deeply")
        return
    if size > MAX_FLOW_BYTES:
        yield Fault("actions", f"must be at most {MAX_FLOW_BYTES} bytes of JSON, not {size}")


# -- one action --------------------------------------------------------------------------------


def _read(draft: _Draft, given: object) -> Iterator[Fault]:
    if not isinstance(given, dict):
        yield Fault(draft.path, f"must be an object, not {shown(given)}")
        return
    for name in given:
        if name not in _ACTION_FIELDS:
            known = ", ".join(_ACTION_FIELDS)
            yield Fault(f"{draft.path}.{cut(name)}", f"is not known; the fields are: {known}")
    for name in ("id", "next_id"):
        identifier = given.get(name)
        if identifier in (None, ""):
            continue
        if not is_uuid(identifier):
            yield Fault(f"{draft.path}.{name}", f"must be a UUID, not {shown(identifier)}")
        elif UUID(identifier) != _NOBODY:  # clients of the reference send it for "none"
            setattr(draft, name, UUID(identifier))
    yield from _read_option(draft, given)


def _read_option(draft: _Draft, given: dict[str, Any]) -> Iterator[Fault]:
    name = given.get("type")
    kind = ACTION_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(ACTION_TYPES)
        what = "is missing" if name is None else f"{shown(name)} is not known"
        yield Fault(f"{draft.path}.type", f"{what}; the types are: {known}")
        return
    option = given.get("option")
    option = {} if option is None else option
    if not isinstance(option, dict):
        yield Fault(f"{draft.path}.option", f"must be an object, not {shown(option)}")
        return
    faults = list(option_faults(kind.option, option, f"{draft.path}.option"))
    yield from faults
    draft.kind, draft.given = kind, option
    if not faults:
        draft.option = read_unfilled(kind.option, option)
        for field, what in draft.option.contradictions():
            yield Fault(f"{draft.path}.option.{field}", what)


def _finish(draft: _Draft) -> Action:
    assert draft.id is not None  # noqa: S101 - narrows the types
    assert draft.kind is not None  # noqa: S101
    return Action(id=draft.id, type=draft.kind.name, next_id=draft.next_id, option=draft.given)


# -- all together ------------------------------------------------------------------------------


def _duplicates(drafts: Sequence[_Draft]) -> Iterator[Fault]:
    first: dict[UUID, str] = {}
    for draft in drafts:
        if draft.id is None:
            continue
        if draft.id in first:
            yield Fault(f"{draft.path}.id", f"is the id of {first[draft.id]} already")
        first.setdefault(draft.id, draft.path)


def _generate_ids(flow_id: UUID, drafts: Sequence[_Draft]) -> None:
    """Gives ids to actions without one: the same on every run, and none that is taken.

    A customer who inserts an action into a flow that was read back shifts those that have generated ids.
    """
    taken = {draft.id for draft in drafts}
    for index, draft in enumerate(drafts):
        attempt = 0
        while draft.id is None:
            candidate = derived_id(flow_id, f"action.{index}.{attempt}")
            draft.id = None if candidate in taken else candidate
            attempt += 1
        taken.add(draft.id)


def _dangling_targets(drafts: Sequence[_Draft]) -> Iterator[Fault]:
    known = {draft.id for draft in drafts}
    for draft in drafts:
        targets = dict(draft.option.targets()) if draft.option else {}
        named = {f"option.{cut(path)}": target for path, target in targets.items()}
        if draft.next_id is not None:
            named["next_id"] = draft.next_id
        for path, target in named.items():
            if target not in known:
                yield Fault(f"{draft.path}.{path}", f"no action of this flow has the id {target}")


def _loop_faults(actions: Sequence[Action], drafts: Sequence[_Draft]) -> Iterator[Fault]:
    options = [draft.option for draft in drafts if draft.option is not None]
    for cycle in endless_loops(actions, options):
        way = " -> ".join(f"actions[{index}]" for index in cycle[:SHOWN_STEPS])
        way += " -> … -> " if len(cycle) > SHOWN_STEPS else " -> "
        way += f"actions[{cycle[0]}]"
        yield Fault(
            f"actions[{cycle[0]}]",
            f"is part of a loop in which no time passes: {way}; let a goto with a loop_count"
            " close it or put an action into it that waits",
        )
