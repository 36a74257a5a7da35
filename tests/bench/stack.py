"""Parts `calls` and `rate`: the whole platform, called by way of the external load balancer."""

from datetime import timedelta

from deploy.lab.network import SIP_PORT
from tests.bench import accounting
from tests.bench.bench import RATE, Bench
from tests.bench.customer import Customer, now
from tests.bench.errors import MeasurementFailed
from tests.bench.load import Load
from tests.bench.measure import Measured, highest_rate
from tests.bench.report import Budget, Section, percentile

FIRST_RATE = 25.0
MOST_SECONDS = 240.0

RATIO = Budget(1.0)
ADDED = Budget(40.0)
HIGHEST = Budget(100.0, at_most=False)

_CLOCKS = timedelta(milliseconds=100)
"""Asterisk's time stamps are cut to milliseconds."""


class Stack:
    """The customer's number as something to call."""

    def __init__(self, bench: Bench, customer: Customer) -> None:
        self._bench = bench
        self._customer = customer
        self._moment = now()

    def load_at(self, rate: float, calls: int) -> Load:
        """Calls to the number."""
        self._moment = now() - _CLOCKS
        address = f"{self._bench.lab.farm.network.external_sip}:{SIP_PORT}"
        return Load(address, self._customer.number, address, rate, calls, give_up=True)

    def check(self, calls: int) -> list[str]:
        """What the API says is wrong with the calls of the last load."""
        return self._customer.check_calls(self._moment, calls)


def run_calls(bench: Bench, stack: Stack) -> None:
    """Part `calls`: processor time per call by process, and the delay until the answer."""
    idle = bench.idle("all processes", bench.processes)
    bench.say("the whole platform at the usual rate")
    found = bench.run_usual(bench.processes, stack.load_at, idle)
    faults = stack.check(bench.calls)
    if faults:
        raise MeasurementFailed("; ".join(faults))
    bare = bench.bare()
    bench.show(_cost(bench, found, bare))
    bench.show(_delay(found, bare))


def run_rate(bench: Bench, stack: Stack) -> None:
    """Part `rate`: the highest rate that the platform holds."""
    bench.say("the whole platform: the highest rate")
    search = bench.search(FIRST_RATE, MOST_SECONDS)
    held, tried = highest_rate(bench.lab, stack.load_at, stack.check, search, bench.say)
    bench.report.runs += [result.as_data() for result in tried]
    section = Section("Highest rate, whole platform")
    title = f"calls/s held for {bench.seconds:g} s without a failure"
    section.add("highest_rate", title, held, "calls/s", HIGHEST)
    failed = [result for result in tried if result.faults]
    if failed:
        first = min(failed, key=lambda result: result.rate)
        section.notes.append(f"at {first.rate:g} calls/s: {'; '.join(first.faults)}")
    bench.show(section)


def _cost(bench: Bench, found: Measured, bare: Measured) -> Section:
    costs = found.ms_per_call()
    ours = sorted(accounting.control_plane(bench.lab))
    control_plane = sum(costs[name] for name in ours)
    asterisk = costs["asterisk-call"]
    section = Section(f"CPU per call at {RATE:g} calls/s, {found.load.completed} calls")
    section.add("control_plane_cpu", "control plane, all our processes", control_plane, "ms")
    for name in ours:
        section.add(f"{name}_cpu", f"  {name}", costs[name], "ms")
    section.add("asterisk_cpu", "Asterisk, the same calls", asterisk, "ms")
    section.add("cpu_ratio", "control plane / Asterisk", control_plane / asterisk, "x", RATIO)
    (alone,) = bare.ms_per_call().values()
    section.add("cpu_ratio_bare", "control plane / bare Asterisk", control_plane / alone, "x")
    for name in sorted(set(costs) - set(ours) - {"asterisk-call"}):
        section.add(f"{name}_cpu", f"beside: {name}", costs[name], "ms")
    section.add("total_cpu", "everything together", sum(costs.values()), "ms")
    section.notes += [note for note in [found.noise()] if note]
    return section


def _delay(found: Measured, bare: Measured) -> Section:
    section = Section(f"INVITE to 200 at {RATE:g} calls/s")
    for share in (50, 95, 99):
        whole = percentile(found.load.answer_ms, share / 100)
        alone = percentile(bare.load.answer_ms, share / 100)
        section.add(f"answer_p{share}", f"whole platform, p{share}", whole, "ms")
        section.add(
            f"answer_added_p{share}",
            f"  added to bare Asterisk's {alone:.1f} ms",
            whole - alone,
            "ms",
            ADDED if share == 95 else None,
        )
    return section
