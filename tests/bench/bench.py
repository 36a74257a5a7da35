"""What the parts of a run share: the lab, the report, figures that more than one part needs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind, Process
from tests.bench.accounting import Usage
from tests.bench.errors import MeasurementFailed
from tests.bench.load import Load
from tests.bench.measure import Measured, Search, idle_usage, measured
from tests.bench.report import Report, Section, table

RATE = 20.0
"""Calls per second at which cost and delay are measured."""

WARM_UP_CALLS = 60
BARE_USER = "bench"

LoadAt = Callable[[float, int], Load]
"""The load of so many calls at a rate."""


@dataclass(slots=True)
class Bench:
    """One run."""

    lab: Lab
    report: Report
    quick: bool = False
    _bare: Measured | None = None
    _idle: dict[str, Usage] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long a load is kept up."""
        return 6.0 if self.quick else 20.0

    @property
    def calls(self) -> int:
        """The calls of a load at the usual rate."""
        return round(RATE * self.seconds)

    @property
    def processes(self) -> tuple[Process, ...]:
        return self.lab.farm.processes

    @property
    def asterisk(self) -> tuple[Process, ...]:
        """The Asterisk that is measured bare: one of them."""
        return self.lab.farm.of_kind(Kind.ASTERISK)[:1]

    def search(self, start: float, most_seconds: float) -> Search:
        """How to search for the highest rate."""
        return Search(start, self.seconds, 20.0 if self.quick else most_seconds)

    def idle(self, name: str, processes: tuple[Process, ...]) -> Usage:
        """What these processes use when idle, measured once."""
        if name not in self._idle:
            self.say(f"measuring {name} idle")
            self._idle[name] = idle_usage(self.lab, processes, 3.0 if self.quick else 10.0)
        return self._idle[name]

    def bare_load(self, rate: float, calls: int) -> Load:
        """Calls to bare Asterisk: its dialplan answers, plays a second and hangs up."""
        address = f"{self.asterisk[0].address}:5060"
        return Load(address, BARE_USER, address, rate, calls, give_up=True)

    def bare(self) -> Measured:
        """Bare Asterisk at the usual rate, measured once."""
        if self._bare is None:
            idle = self.idle("bare Asterisk", self.asterisk)
            self.say("bare Asterisk at the usual rate")
            self._bare = self.run_usual(self.asterisk, self.bare_load, idle)
        return self._bare

    def run_usual(self, processes: tuple[Process, ...], load_at: LoadAt, idle: Usage) -> Measured:
        """Warms up, then measures the usual load.

        Raises:
            MeasurementFailed: not every call went well, so the figures would mean nothing.
        """
        measured(self.lab, processes, load_at(RATE, WARM_UP_CALLS), idle)
        found = measured(self.lab, processes, load_at(RATE, self.calls), idle)
        self.report.runs.append(found.load.as_data())
        if found.load.faults:
            raise MeasurementFailed("; ".join(found.load.faults))
        return found

    def say(self, text: str) -> None:
        """Tells whoever waits what is being done."""
        print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)

    def show(self, section: Section) -> None:
        """Adds a section to the report and prints it."""
        self.report.sections.append(section)
        print(table(section), flush=True)
