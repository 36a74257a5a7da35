"""What a soak has shown: one finding per claim, good, bad or undecided. Pure.

The bounds. After their warm-up
- memory of a process may grow by 5 % or 8 MiB over the window, whichever is more, beside what `PER_CALL` names,
- descriptors by 5 % or 4,
- messages in a queue by 50; queues by 4,
- tables that don't grow with the calls by 10 % or 200 rows, and by 10 % or 1 MiB; `GROWING` names the others
  with the rows that a call may leave.

The window of a process is its longest life between kills: memory begins anew with each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.bench.accounting import group_of
from tests.bench.soak.record import ProcessSample, Record
from tests.bench.soak.trend import Trend, trend

MIB = 2**20
NEAREST = 8
"""Series within their limits that are told of: those that are nearest to them."""

WARM_UP = 180.0
"""Seconds after a process' first sample: caches, pools, the allocator's arenas."""

TABLES_WARM_UP = 960.0
"""Ids of handled messages are kept for 900 s (`DEDUP_WINDOW`): before that their table must grow."""

SHORTEST = 480.0
"""Seconds of a window: in less, nothing that leaks slowly can be told from chance."""

PER_CALL = {"call_manager": 2500.0, "flow_manager": 2000.0}
"""Bytes that the services with actors may keep for each call: ids of handled messages, 100 000 for each shard
(`evercall.actor.memory.SEEN`). That many take more than an hour to come together. Measured: 1400 in a
call_manager, 900 in a flow_manager."""

GROWING = {
    "call_manager.actor": 2.0,
    "flow_manager.actor": 2.0,
    "api_manager.audit_log": 0.1,
    "api_manager.audit_result": 0.1,
}
"""Rows that a call may leave: what has ended is history, and kept until somebody removes it."""

DEAD = ("call_manager.dead_letter", "flow_manager.dead_letter")
DEAD_QUEUE = "evercall.dead"


class State(StrEnum):
    """Of a finding."""

    OK = "ok"
    BAD = "bad"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim and what became of it. `used`: of a series that must not grow, the share of its limit."""

    claim: str
    state: State
    text: str
    used: float | None = None


def judge(record: Record) -> list[Finding]:
    """All claims."""
    return [
        *_calls(record),
        *_kills(record),
        *_dead_letters(record),
        *_processes(record),
        *_queues(record),
        *_tables(record),
    ]


def exit_status(findings: Iterable[Finding]) -> int:
    """0: all good. 1: something is bad. 2: nothing is bad, but not everything could be told."""
    states = {finding.state for finding in findings}
    if State.BAD in states:
        return 1
    return 2 if State.UNDECIDED in states or not states else 0


def told(findings: Iterable[Finding]) -> list[Finding]:
    """What is worth a line: all but the many series that are far from their limit or too short."""
    ordered = sorted(findings, key=lambda one: (one.state is not State.BAD, -(one.used or 0.0)))
    series = [one for one in ordered if one.used is not None]
    shown = [one for one in series if one.state is State.BAD]
    shown += [one for one in series if one.state is State.OK][:NEAREST]
    others = [one for one in ordered if one.used is None]
    return [*others, *shown, *_counted(series, State.OK), *_counted(series, State.UNDECIDED)]


def _counted(series: Sequence[Finding], state: State) -> list[Finding]:
    count = sum(one.state is state for one in series)
    text = f"{count} series of memory, descriptors, queues and tables"
    return [Finding("growth", state, text)] if count else []


# -- calls -------------------------------------------------------------------------------------


def _calls(record: Record) -> Iterable[Finding]:
    outcome = record.outcome
    if outcome is None:
        yield Finding("calls", State.UNDECIDED, "not told what became of them")
        return
    unfinished = outcome.calls - outcome.completed - outcome.failed
    text = (
        f"{outcome.completed} of {outcome.calls} went well; {outcome.failed} failed, {unfinished} not made or"
        f" not ended, {outcome.late} answered late"
    )
    good = outcome.calls > 0 and outcome.completed == outcome.calls
    yield Finding("calls", State.OK if good else State.BAD, text)
    audio = outcome.packets_per_call >= 40
    text = f"{outcome.packets_per_call:.0f} packets per call; a second has 50"
    yield Finding("audio", State.OK if audio else State.BAD, text)
    told = (
        "; ".join(outcome.faults)
        or "every call is in the list, ended by the flow, none is left live"
    )
    yield Finding("lost or stuck", State.BAD if outcome.faults else State.OK, told)


def _kills(record: Record) -> Iterable[Finding]:
    slowest = max((kill.away for kill in record.kills), default=0.0)
    text = f"{len(record.kills)} processes killed, the slowest was back after {slowest:.1f} s"
    yield Finding("kills", State.OK, text)
    if record.faults:
        yield Finding("measurement", State.BAD, "; ".join(record.faults))


def _dead_letters(record: Record) -> Iterable[Finding]:
    if not record.tables or not record.queues:
        yield Finding("dead letters", State.UNDECIDED, "neither tables nor queues were read")
        return
    first, last = record.tables[0].rows, record.tables[-1].rows
    grown = sum(last.get(name, 0) - first.get(name, 0) for name in DEAD)
    ends = (record.queues[0].messages, record.queues[-1].messages)
    grown += ends[1].get(DEAD_QUEUE, 0) - ends[0].get(DEAD_QUEUE, 0)
    state = State.BAD if grown > 0 else State.OK
    yield Finding("dead letters", state, f"{max(0, grown)} more than at the beginning")


# -- what must not grow ------------------------------------------------------------------------


def _processes(record: Record) -> Iterable[Finding]:
    speed = record.rate
    for name in sorted({sample.name for sample in record.processes}):
        life = longest_life([sample for sample in record.processes if sample.name == name])
        memory = trend([(one.at, float(one.memory)) for one in life], SHORTEST)
        extra = PER_CALL.get(group_of(name), 0.0) * speed
        yield _growth(f"memory of {name}", memory, (8 * MIB, 0.05), MIB, "MiB", extra)
        opened = trend([(one.at, float(one.descriptors)) for one in life], SHORTEST)
        yield _growth(f"descriptors of {name}", opened, (4.0, 0.05))


def longest_life(samples: Sequence[ProcessSample]) -> list[ProcessSample]:
    """Of one process: the samples between two kills that cover most time, without their warm-up."""
    lives: dict[int, list[ProcessSample]] = {}
    for sample in samples:
        lives.setdefault(sample.pid, []).append(sample)
    warm = [[one for one in life if one.at >= life[0].at + WARM_UP] for life in lives.values()]
    return max(warm, key=lambda life: life[-1].at - life[0].at if life else -1.0)


def _queues(record: Record) -> Iterable[Finding]:
    samples = [sample for sample in record.queues if sample.at >= WARM_UP]
    names = sorted({name for sample in record.queues for name in sample.messages})
    if not names:
        yield Finding("messages", State.UNDECIDED, "no queue was read")
    for name in names:
        points = [(one.at, float(one.messages.get(name, 0))) for one in samples]
        yield _growth(f"messages in {name}", trend(points, SHORTEST), (50.0, 0.0))
    numbers = [(one.at, float(one.queues)) for one in samples]
    yield _growth("queues", trend(numbers, SHORTEST), (4.0, 0.0))


def _tables(record: Record) -> Iterable[Finding]:
    samples = [sample for sample in record.tables if sample.at >= TABLES_WARM_UP]
    names = sorted({name for sample in record.tables for name in sample.rows})
    if not names:
        yield Finding("tables", State.UNDECIDED, "no table was read")
    for name in names:
        if name in GROWING:
            yield _growing(name, record)
            continue
        rows = [(one.at, float(one.rows.get(name, 0))) for one in samples]
        yield _growth(f"rows of {name}", trend(rows, SHORTEST), (200.0, 0.1))
        size = [(one.at, float(one.bytes.get(name, 0))) for one in samples]
        yield _growth(f"size of {name}", trend(size, SHORTEST), (MIB, 0.1), MIB, "MiB")


def _growing(name: str, record: Record) -> Finding:
    """A table that is meant to grow: by so much for each call, from the first sample to the last."""
    first, last = record.tables[0], record.tables[-1]
    calls = _begun(record, last.at) - _begun(record, first.at)
    if calls <= 0:
        return Finding(f"growth of {name}", State.UNDECIDED, "no calls between its samples")
    rows = (last.rows.get(name, 0) - first.rows.get(name, 0)) / calls
    size = (last.bytes.get(name, 0) - first.bytes.get(name, 0)) / calls
    state = State.BAD if rows > GROWING[name] else State.OK
    text = f"{rows:.2f} rows and {size:.0f} bytes per call (limit {GROWING[name]:g} rows)"
    return Finding(f"growth of {name}", state, text)


def _begun(record: Record, at: float) -> int:
    return max((one.begun for one in record.calls if one.at <= at), default=0)


def _growth(
    claim: str,
    found: Trend | None,
    bounds: tuple[float, float],
    divisor: float = 1.0,
    unit: str = "",
    extra_per_second: float = 0.0,
) -> Finding:
    """`bounds`: what may be added, as a number and as a share of the level, whichever is more."""
    if found is None:
        text = f"no window of {SHORTEST / 60:g} min after its warm-up"
        return Finding(claim, State.UNDECIDED, text, used=0.0)
    number, share = bounds
    limit = max(number, share * found.level) + extra_per_second * found.seconds
    text = (
        f"{found.level / divisor:.1f} {unit}, {found.growth / divisor:+.1f} in {found.seconds / 60:.0f} min"
        f" (limit {limit / divisor:.1f}, tau {found.tau:.2f})"
    )
    state = State.BAD if found.exceeds(limit) else State.OK
    return Finding(claim, state, text, used=found.growth / limit)
