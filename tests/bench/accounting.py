"""Processor time from the processes' own accounting: /proc/<pid>/stat of a process and all its descendants.

The time of threads and children that have ended is in there too (proc(5): utime, stime of the whole thread
group; cutime, cstime of children that were waited for). The kernel shows it in steps of 10 ms, so it is read
before and after some hundred calls, never per call.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind, Process
from tests.bench.errors import MeasurementFailed

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of processor time by process name at one moment."""

    at: float
    pids: Mapping[str, int]
    seconds: Mapping[str, float]
    machine: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used between two readings."""

    wall: float
    seconds: Mapping[str, float]
    machine: float

    def minus_idle(self, idle: "Usage") -> "Usage":
        """Without what the same processes would have used with nothing to do."""
        share = self.wall / idle.wall
        seconds = {
            name: max(0.0, used - idle.seconds.get(name, 0.0) * share)
            for name, used in self.seconds.items()
        }
        return Usage(self.wall, seconds, self.machine)

    def by_group(self) -> dict[str, float]:
        """Replicas of a kind together."""
        groups: dict[str, float] = {}
        for name, used in self.seconds.items():
            group = group_of(name)
            groups[group] = groups.get(group, 0.0) + used
        return groups


def group_of(name: str) -> str:
    """The kind of a process: its name without the number of the replica."""
    stem, _, number = name.rpartition("-")
    return stem if stem and number.isdigit() else name


def control_plane(lab: Lab) -> set[str]:
    """The groups that are our own Python processes."""
    return {process.module for process in lab.farm.of_kind(Kind.SERVICE)}


def read(lab: Lab, processes: tuple[Process, ...]) -> Reading:
    """Reads the accounts of these processes."""
    states = lab.supervisor.states()
    pids = {process.name: states[process.name].pid for process in processes}
    stopped = [name for name, pid in pids.items() if pid == 0]
    if stopped:
        raise MeasurementFailed(f"not running: {', '.join(stopped)}")
    stats = _all_stats()
    seconds = {name: sum(stats[pid][1] for pid in _tree(pid, stats)) for name, pid in pids.items()}
    return Reading(time.monotonic(), pids, seconds, machine_seconds())


def between(before: Reading, after: Reading) -> Usage:
    """What was used from one reading to the next.

    Raises:
        MeasurementFailed: a process was restarted in between.
    """
    restarted = [name for name, pid in before.pids.items() if after.pids.get(name) != pid]
    if restarted:
        raise MeasurementFailed(f"restarted while measuring: {', '.join(restarted)}")
    seconds = {name: after.seconds[name] - used for name, used in before.seconds.items()}
    return Usage(after.at - before.at, seconds, after.machine - before.machine)


def seconds_of(pid: int) -> float:
    """Of one process of ours, with its descendants."""
    stats = _all_stats()
    return sum(stats[member][1] for member in _tree(pid, stats))


def parse_stat(text: str) -> tuple[int, float]:
    """Parent and processor seconds from a line of /proc/<pid>/stat. The second field, in parentheses, may hold
    anything, so what counts is after its end."""
    fields = text.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])
    return int(fields[1]), ticks / TICKS


def _all_stats() -> dict[int, tuple[int, float]]:
    stats = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stats[int(folder.name)] = parse_stat((folder / "stat").read_text())
        except OSError:  # it has ended
            continue
    return stats


def _tree(root: int, stats: Mapping[int, tuple[int, float]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    found = [root] if root in stats else []
    for pid in found:
        found += children.get(pid, [])
    return found


def machine_seconds() -> float:
    """Busy seconds of all processors together: user, nice, system, irq, softirq (proc(5))."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    busy = [int(fields[index]) for index in (0, 1, 2, 5, 6)]
    return sum(busy) / TICKS
