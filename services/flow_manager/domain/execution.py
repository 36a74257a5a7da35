"""Steps through a flow: from a position to the next run.

Actions of the flow itself (branch, goto, condition_variable, variable_set, stop) are carried out on the
spot; actions of the call are collected into a run. A run ends where the way on is not known yet: before
the first action that reads the digits which a `digits_receive` of the same run is still to collect. It
also ends when it has grown long, or when the flow does.

Steps are taken ahead of the call, so each says what it changed: when the call ends early, the steps that
it never came to are taken back (`take_back`).
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from evercall.contracts.flow import Action, EndReason, RunAction
from flow_manager.domain.actions import (
    ACTION_TYPES,
    DIGITS,
    Branch,
    Comparison,
    ConditionVariable,
    DigitsReceive,
    Goto,
    Hangup,
    Option,
    Stop,
    ValueType,
    VariableSet,
    read_option,
)
from flow_manager.domain.loops import successor
from flow_manager.domain.options import fill, texts
from flow_manager.domain.variables import reads, refusal

MAX_RUN_ACTIONS = 50
MAX_RUN_BYTES = 64 * 1024
MAX_RUN_STEPS = 1000
MAX_EXECUTIONS = 100
MAX_STEPS = 10_000

MAX_KEPT_BYTES = 64 * 1024
"""Of values that variables had before, in one run. It ends there: what was reported on is not taken back."""

MAX_FAULT = 300


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where an activeflow stands between two runs.

    Actions are meant by their index. `next` is None past the end. `jumps` holds for each goto that has
    begun to count how many jumps it has left.
    """

    next: int | None
    variables: dict[str, str] = {}
    executions: dict[int, int] = {}
    jumps: dict[int, int] = {}
    steps: int = 0


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action that was begun on the way through a run.

    `needs` is how many actions of the run must have been begun for this step to have come to pass: an
    action of the call itself; one of the flow the action after, for only then the one before is known
    to be over. `before` holds the values that variables had before this step, None for those that did
    not exist; of steps with the same `needs`, which are taken back together, the first one alone has them.
    `fault` says why the action did nothing.
    """

    index: int
    needs: int
    before: dict[str, str | None] = {}
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run, the steps that led through it, and where it leaves the flow. `end` None: the executor
    reports and the flow goes on."""

    actions: list[RunAction]
    steps: list[Step]
    position: Position
    end: EndReason | None


def next_run(actions: Sequence[Action], start: Position) -> Stretch:
    """The run that begins at a position."""
    walk = _Walk(actions, start)
    end = walk.go()
    return Stretch(walk.run, walk.steps, walk.position(), end)


def take_back(variables: Mapping[str, str], steps: Sequence[Step]) -> dict[str, str]:
    """The variables as they were before these steps."""
    restored = dict(variables)
    for step in reversed(steps):
        for key, value in step.before.items():
            if value is None:
                restored.pop(key, None)
            else:
                restored[key] = value
    return restored


class _Walk:
    """One pass of `next_run`: the position while it moves, and what was collected."""

    def __init__(self, actions: Sequence[Action], start: Position) -> None:
        self.run: list[RunAction] = []
        self.steps: list[Step] = []
        self._actions = actions
        self._index_of = {action.id: index for index, action in enumerate(actions)}
        self._next = start.next
        self._variables = dict(start.variables)
        self._executions = dict(start.executions)
        self._jumps = dict(start.jumps)
        self._total = start.steps
        self._run_bytes = 0
        self._kept_bytes = 0
        self._kept_at: dict[str, int] = {}
        """for which `needs` a variable's former value was kept last"""
        self._collects_digits = False

    def position(self) -> Position:
        return Position(
            next=self._next,
            variables=self._variables,
            executions=self._executions,
            jumps=self._jumps,
            steps=self._total,
        )

    def go(self) -> EndReason | None:
        """Steps until the run is complete; says why the flow ended, None when it goes on."""
        while self._next is not None:
            if self._must_report(self._next):
                return None
            if self._at_limit(self._next):
                return EndReason.LIMIT
            self._step(self._next)
        return EndReason.COMPLETED

    def _must_report(self, index: int) -> bool:
        if len(self.run) >= MAX_RUN_ACTIONS or self._run_bytes >= MAX_RUN_BYTES:
            return True
        if self._kept_bytes >= MAX_KEPT_BYTES:
            return True
        return self._collects_digits and _reads_digits(self._actions[index])

    def _at_limit(self, index: int) -> bool:
        return (
            len(self.steps) >= MAX_RUN_STEPS
            or self._total >= MAX_STEPS
            or self._executions.get(index, 0) >= MAX_EXECUTIONS
        )

    def _step(self, index: int) -> None:
        action = self._actions[index]
        self._executions[index] = self._executions.get(index, 0) + 1
        self._total += 1
        self._next = successor(self._actions, self._index_of, index)
        match _read(action, self._variables):
            case str() as fault:
                self._took(index, fault=fault)
            case Stop():
                self._took(index)
                self._next = None
            case Goto() as option:
                self._took(index)
                self._goto(index, option)
            case Branch() as option:
                self._branch(index, option)
            case ConditionVariable() as option:
                self._took(index)
                if not _holds(option, self._variables.get(option.variable, "")):
                    self._next = self._index_of[option.false_target_id]
            case VariableSet() as option:
                self._set(index, option)
            case option:
                self._hand_out(index, action, option)

    def _took(
        self, index: int, *, before: dict[str, str | None] | None = None, fault: str = ""
    ) -> None:
        needs = self._needs()
        kept = {key: value for key, value in (before or {}).items() if self._is_first(key, needs)}
        if self.run:
            self._kept_bytes += sum(_size(key) + _size(value) for key, value in kept.items())
        self.steps.append(Step(index=index, needs=needs, before=kept, fault=fault[:MAX_FAULT]))

    def _needs(self) -> int:
        return len(self.run) + 1 if self.run else 0

    def _is_first(self, key: str, needs: int) -> bool:
        """Whether a variable's former value has to be kept."""
        if self._kept_at.get(key) == needs:
            return False
        self._kept_at[key] = needs
        return True

    def _goto(self, index: int, option: Goto) -> None:
        left = self._jumps.get(index, option.loop_count)
        if left == 0:
            self._jumps.pop(index, None)  # reached again, it counts afresh
            return
        if left is not None:
            self._jumps[index] = left - 1
        self._next = self._index_of[option.target_id]

    def _branch(self, index: int, option: Branch) -> None:
        name = option.variable or DIGITS
        value = self._variables.get(name, "")
        target = option.target_ids.get(value, option.default_target_id)
        if target is not None:
            self._next = self._index_of[target]
        if name != DIGITS or not value:
            self._took(index)
            return
        self._took(index, before={name: value})
        self._variables[name] = ""

    def _set(self, index: int, option: VariableSet) -> None:
        fault = refusal(self._variables, option.key, option.value)
        if fault:
            self._took(index, fault=fault)
            return
        self._took(index, before={option.key: self._variables.get(option.key)})
        self._variables[option.key] = option.value

    def _hand_out(self, index: int, action: Action, option: Option) -> None:
        filled = msgspec.to_builtins(option)
        self.run.append(RunAction(id=action.id, type=action.type, option=filled))
        self.steps.append(Step(index=index, needs=len(self.run)))
        self._run_bytes += len(msgspec.json.encode(filled))
        self._collects_digits |= isinstance(option, DigitsReceive)
        if isinstance(option, Hangup):
            self._next = None


def _read(action: Action, variables: Mapping[str, str]) -> Option | str:
    """The options of an action that starts now, or why it can't."""
    kind = ACTION_TYPES.get(action.type)
    if kind is None:
        return "this type of action is not known any more"
    filled = fill(kind.option, action.option, variables)
    if filled is None:
        return "a text grows too long when its variables are filled in"
    try:
        return read_option(kind, filled)
    except msgspec.ValidationError as error:
        return f"its options are wrong once the variables are filled in: {error}"


def _size(value: str | None) -> int:
    return len(msgspec.json.encode(value))


def _reads_digits(action: Action) -> bool:
    kind = ACTION_TYPES.get(action.type)
    if kind is None:
        return False
    if kind.option is Branch and (action.option.get("variable") or DIGITS) == DIGITS:
        return True
    if action.option.get("variable") == DIGITS:
        return True
    return any(reads(text, DIGITS) for text in texts(kind.option, action.option))


_COMPARE: Mapping[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.EQUAL: operator.eq,
    Comparison.NOT_EQUAL: operator.ne,
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_OR_EQUAL: operator.ge,
    Comparison.LESS: operator.lt,
    Comparison.LESS_OR_EQUAL: operator.le,
}

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _holds(option: ConditionVariable, value: str) -> bool:
    compare = _COMPARE[option.condition]
    match option.value_type:
        case ValueType.STRING:
            return compare(value, option.value_string)
        case ValueType.LENGTH:
            return compare(len(value), option.value_length)
        case ValueType.NUMBER:
            if _NUMBER.fullmatch(value) is None:
                return option.condition is Comparison.NOT_EQUAL
            return compare(float(value), option.value_number)
