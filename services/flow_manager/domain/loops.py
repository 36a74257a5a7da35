"""Finds loops in which no time passes: what would spin until a limit ends the flow.

A loop is harmless when something in it waits (a prompt, a sleep, digits) or when a goto with a
`loop_count` closes it, because that one lets go. So: take the graph of all successions, leave out what
waits and the jumps that are counted; every cycle that is left is a fault. Loops inside loops of counted
jumps end as well: take the actions in an order without cycles; the last counted goto is never reached
again once it has let go, so it jumps a bounded number of times, and so, one after the other, do those
before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from uuid import UUID

from evercall.contracts.flow import Action
from flow_manager.domain.actions import (
    Branch,
    ConditionVariable,
    Goto,
    Hangup,
    Option,
    Stop,
)


class _Mark(Enum):
    OPEN = 1
    DONE = 2


def successor(actions: Sequence[Action], index_of: Mapping[UUID, int], index: int) -> int | None:
    """The action that follows when nothing jumps; None at the end."""
    following = actions[index].next_id
    if following is not None:
        return index_of[following]
    return index + 1 if index + 1 < len(actions) else None


def endless_loops(actions: Sequence[Action], options: Sequence[Option]) -> Iterator[list[int]]:
    """Cycles of actions that can run without any time passing, each as the indexes on its way."""
    index_of = {action.id: index for index, action in enumerate(actions)}
    edges = [
        _instant_successors(actions, index_of, index, option)
        for index, option in enumerate(options)
    ]
    marks: dict[int, _Mark] = {}
    for start in range(len(actions)):
        if start not in marks:
            yield from _cycles_from(start, edges, marks)


def _instant_successors(
    actions: Sequence[Action], index_of: Mapping[UUID, int], index: int, option: Option
) -> list[int]:
    if option.waits() or isinstance(option, Stop | Hangup):
        return []
    following = successor(actions, index_of, index)
    onward = [] if following is None else [following]
    targets = [index_of[target] for _, target in option.targets()]
    match option:
        case Goto(loop_count=None):
            return targets
        case Goto():
            return onward
        case Branch(default_target_id=None) | ConditionVariable():
            return targets + onward
        case Branch():
            return targets
    return onward


def _cycles_from(
    start: int, edges: Sequence[Sequence[int]], marks: dict[int, _Mark]
) -> Iterator[list[int]]:
    """Depth first, with a stack of our own: a flow may be longer than Python's stack is deep."""
    marks[start] = _Mark.OPEN
    path = [start]
    waiting = [iter(edges[start])]
    while path:
        following = next(waiting[-1], None)
        if following is None:
            marks[path.pop()] = _Mark.DONE
            waiting.pop()
        elif following not in marks:
            marks[following] = _Mark.OPEN
            path.append(following)
            waiting.append(iter(edges[following]))
        elif marks[following] is _Mark.OPEN:
            yield path[path.index(following) :]
