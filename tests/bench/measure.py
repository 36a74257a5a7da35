"""A load with the accounts read before and after it, and the search for the highest rate."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.lab.lab import Lab
from deploy.lab.plan import Process
from tests.bench import accounting
from tests.bench.accounting import Usage
from tests.bench.load import Load, LoadResult, run_load
from tests.bench.search import RateSearch

SETTLE_SECONDS = 2.5
"""After the last call: outboxes are tidied and media ports given back."""

RECOVERY_SECONDS = 10.0
"""After a rate that was too high, before the next is tried: repetitions of BYE and INVITE die away."""

NOISE_CORES = 0.15
"""Programs that are not the lab's may use this much before the report mentions it."""

Check = Callable[[int], list[str]]
"""What the platform says of the calls of a load of so many: its faults."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A load and what the processes used for it, idling not counted."""

    load: LoadResult
    usage: Usage
    foreign_cores: float

    def ms_per_call(self) -> dict[str, float]:
        """Milliseconds of processor time per call, by group of processes."""
        calls = max(1, self.load.completed)
        return {group: 1000 * used / calls for group, used in self.usage.by_group().items()}

    def noise(self) -> str:
        """A remark where other programs were busy meanwhile, else nothing."""
        if self.foreign_cores < NOISE_CORES:
            return ""
        return f"other programs kept {self.foreign_cores:.2f} cores busy during this"


def idle_usage(lab: Lab, processes: tuple[Process, ...], seconds: float) -> Usage:
    """What the processes use with nothing to do."""
    before = accounting.read(lab, processes)
    time.sleep(seconds)
    return accounting.between(before, accounting.read(lab, processes))


def measured(lab: Lab, processes: tuple[Process, ...], load: Load, idle: Usage) -> Measured:
    """Runs a load between two readings."""
    before = accounting.read(lab, processes)
    own = time.process_time()
    result = run_load(lab, load)
    time.sleep(SETTLE_SECONDS)
    own = time.process_time() - own
    usage = accounting.between(before, accounting.read(lab, processes))
    known = sum(usage.seconds.values()) + result.caller_cpu_seconds + own
    foreign = max(0.0, usage.machine - known) / usage.wall
    return Measured(result, usage.minus_idle(idle), foreign)


@dataclass(slots=True)
class Search:
    """How a search for the highest rate is to be made."""

    start: float
    step_seconds: float
    most_seconds: float


def highest_rate(
    lab: Lab,
    load_at: Callable[[float, int], Load],
    check: Check,
    search: Search,
    say: Callable[[str], None],
) -> tuple[float, list[LoadResult]]:
    """The highest rate that is held for `step_seconds` without a failure, and all that was tried."""
    until = time.monotonic() + search.most_seconds
    steps = RateSearch(search.start)
    tried: list[LoadResult] = []
    while (rate := steps.next_rate()) is not None:
        if tried and time.monotonic() + search.step_seconds > until:
            break
        count = round(rate * search.step_seconds)
        result = run_load(lab, load_at(rate, count))
        time.sleep(SETTLE_SECONDS)
        result.faults += check(result.completed + result.failed)
        tried.append(result)
        steps.report(rate, held=not result.faults)
        if result.faults:
            time.sleep(RECOVERY_SECONDS)
        say(f"{rate:g} calls/s: {'; '.join(result.faults) or 'held'}")
    return steps.held, tried
