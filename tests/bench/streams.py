"""Part `streams`: media streams that one core carries, both ways, and what one costs.

The server (`stream_server`) has one core, the load (`stream_load`) another; each is a process of its own. Held is
a number of streams at which 99 % of the packets are less than 20 ms late in either direction, and nothing is
lost. Beside it: a plain echo of the same packets on the same event loop, which is the least that receiving and
sending them in Python costs.

`python -m tests.bench.streams` runs this part alone; it needs no lab.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deploy.lab.paths import PROJECT
from tests.bench import datagrams, machine
from tests.bench.bench import Bench
from tests.bench.errors import MeasurementFailed
from tests.bench.measure import NOISE_CORES
from tests.bench.report import Budget, Report, Section, table
from tests.bench.search import RateSearch
from tests.bench.stream_load import Outcome, Plan
from tests.bench.stream_server import Listening

LATE_MS = 20.0
STREAMS = 1000
"""Budget of one core."""
COST = 1_000_000 * 0.02 / STREAMS
"""The same as microseconds per frame and stream."""
USUAL = 500
"""Streams at which the cost is measured: the core is half idle."""
FIRST = 500.0
PRECISION = 0.125
"""Of what fails: a tenth, as for calls, is less than two runs differ by."""
TRIES = 3
"""A number that failed is tried again: whatever else runs on the machine disturbs this more than calls."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Streams of one sort."""

    key: str
    encapsulation: str
    rate: int


KINDS = (
    Kind("rtp", "rtp", 8000),
    Kind("sln", "sln", 8000),
    Kind("audiosocket", "audiosocket", 8000),
    Kind("sln16", "sln", 16000),
    Kind("audiosocket16", "audiosocket", 16000),
)
SEARCHED = ("rtp", "sln", "audiosocket16")
ECHOED = "rtp"
"""The kind of which the echo's number is searched too: what the machine of this run can carry at all."""


def run(bench: Bench) -> None:
    """As a part of `make bench`."""
    bench.show(measure(bench.report, bench.quick))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, writes the file. The exit status is 1 only where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.streams", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes, coarser figures")
    parser.add_argument("--file", type=Path, default=PROJECT / ".lab" / "bench-streams.json")
    options = parser.parse_args(arguments)
    report = Report(machine.facts(), {"quick": options.quick})
    try:
        section = measure(report, options.quick)
    except (MeasurementFailed, OSError) as fault:
        print(f"not measured: {fault}", file=sys.stderr)
        return 1
    report.sections.append(section)
    print(table(section))
    options.file.parent.mkdir(parents=True, exist_ok=True)
    report.write(options.file)
    print(f"figures in {options.file}")
    return 0


def measure(report: Report, quick: bool) -> Section:
    """Costs first, then the searches.

    Raises:
        MeasurementFailed: there are not two cores, or a server or a load failed.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise MeasurementFailed("two cores are needed: one for the streams, one for the load")
    section = Section("Media streams on one core, both ways")
    seconds = 3.0 if quick else 8.0
    kinds = KINDS[:2] if quick else KINDS
    for kind in kinds:
        _cost(section, report, kind, seconds)
    for kind in kinds:
        if kind.key in SEARCHED:
            _search(section, report, kind, seconds)
    for way, cost in datagrams.measure(50 if quick else 300).items():
        key = f"streams_datagrams_{way.replace(' ', '_')}_us"
        section.add(key, f"a packet in and out, {way}", cost, "us")
    section.notes += _noise(report)
    section.notes.append(
        "the echo: one packet over UDP and one message over WebSocket, each sent back; on loopback the kernel"
        " does part of the receiver's work at the sender's expense, in both cases"
    )
    return section


def _noise(report: Report) -> list[str]:
    """A remark where other programs took part of the two cores, without which more would be held."""
    worst = max(float(run["foreign_cores"]) for run in report.runs if "foreign_cores" in run)
    if worst < NOISE_CORES:
        return []
    return [f"other programs kept up to {worst:.2f} cores busy during this: the streams had less"]


def _cost(section: Section, report: Report, kind: Kind, seconds: float) -> None:
    ours = _one(report, kind, USUAL, seconds, echo=False)
    plain = _one(report, kind, USUAL, seconds, echo=True)
    key, name = f"streams_{kind.key}", f"{kind.encapsulation} at {kind.rate} Hz"
    section.add(f"{key}_us", f"{name}, CPU per 20 ms", ours.microseconds, "us", Budget(COST))
    section.add(f"{key}_echo_us", "  a plain echo of it", plain.microseconds, "us")
    section.add(f"{key}_ratio", "  ours / echo", ours.microseconds / plain.microseconds, "x")
    worst = max(ours.to_call.p99, ours.to_application.p99)
    section.add(
        f"{key}_late_p99",
        f"  lateness with {USUAL}, p99",
        worst,
        "ms",
        Budget(LATE_MS, at_most=True),
    )


def _search(section: Section, report: Report, kind: Kind, seconds: float) -> None:
    held = _most_held(report, kind, seconds, echo=False)
    name = f"{kind.encapsulation} at {kind.rate} Hz, streams held"
    section.add(f"streams_{kind.key}_held", name, held, "streams", Budget(STREAMS, at_most=False))
    if kind.key != ECHOED:
        return
    echoed = _most_held(report, kind, seconds, echo=True)
    section.add(f"streams_{kind.key}_echo_held", "  by a plain echo of it", echoed, "streams")


def _most_held(report: Report, kind: Kind, seconds: float, *, echo: bool) -> float:
    search = RateSearch(FIRST, PRECISION)
    while (rate := search.next_rate()) is not None:
        search.report(rate, held=_is_held(report, kind, int(rate), seconds, echo=echo))
    return search.held


def _is_held(report: Report, kind: Kind, streams: int, seconds: float, *, echo: bool) -> bool:
    name = f"echo of {kind.key}" if echo else kind.key
    for _ in range(TRIES):
        try:
            faults = _one(report, kind, streams, seconds, echo=echo).faults(LATE_MS)
        except MeasurementFailed as fault:
            faults = [str(fault)]
        print(f"  {time.strftime('%H:%M:%S')} {name} {streams}: {'; '.join(faults) or 'held'}")
        if not faults:
            return True
    return False


def _one(report: Report, kind: Kind, streams: int, seconds: float, *, echo: bool) -> Outcome:
    """One run of so many streams.

    Raises:
        MeasurementFailed: there is nothing to tell.
    """
    load_core, server_core = sorted(os.sched_getaffinity(0))[:2]
    with _server("echo" if echo else "streams", server_core) as server:
        plan = Plan(server, load_core, streams, seconds, kind.encapsulation, kind.rate, echo)
        command = [sys.executable, "-m", "tests.bench.stream_load", _text(plan)]
        try:
            done = subprocess.run(
                command, cwd=PROJECT, capture_output=True, check=False, timeout=60 + 2 * seconds
            )
        except subprocess.TimeoutExpired:
            raise MeasurementFailed(f"the load of {streams} streams hung") from None
    if done.returncode:
        raise MeasurementFailed(done.stderr.decode(errors="replace").strip()[-500:])
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    report.runs.append({"kind": kind.key, "echo": echo, **msgspec.to_builtins(outcome)})
    return outcome


@contextmanager
def _server(kind: str, core: int) -> Iterator[Listening]:
    command = [sys.executable, "-m", "tests.bench.stream_server", kind, str(core)]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise MeasurementFailed("the server of the streams did not start")
            yield msgspec.json.decode(line, type=Listening)
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _text(plan: Plan) -> str:
    return msgspec.json.encode(plan).decode()


if __name__ == "__main__":
    raise SystemExit(main())
