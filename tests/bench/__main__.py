"""`python -m tests.bench`: runs the parts, prints the table, writes `.lab/bench.json`.

The exit status is 0 whatever the figures are, and 1 when a measurement could not be made.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from deploy.lab.errors import LabError
from deploy.lab.lab import open_lab
from deploy.lab.plan import Kind, Process
from evercall.service import logging
from tests.bench import bare, legs, machine, media, messages, micro, stack, streams
from tests.bench.bench import Bench
from tests.bench.customer import bench_customer, forget_calls
from tests.bench.errors import MeasurementFailed
from tests.bench.load import MEDIA_HOST
from tests.bench.report import Report
from tests.bench.sound import serve_tone

ALONE: dict[str, Callable[[Bench], None]] = {
    "bare": bare.run,
    "micro": micro.run,
    "media": media.run,
    "streams": streams.run,
    "legs": legs.run,
}
"""Parts that bring their own calls, or need none."""

WHOLE: dict[str, Callable[[Bench, stack.Stack], None]] = {
    "calls": stack.run_calls,
    "messages": messages.run,
    "rate": stack.run_rate,
}
"""Parts that call a customer's number. The search for the highest rate comes last: it breaks things."""

PARTS = (*ALONE, *WHOLE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for."""
    options = _options(arguments)
    logging.configure("bench", "bench", level="ERROR", fmt="console", personal=False)
    lab = open_lab()
    try:
        lab.wait_ready(_needed(lab.farm.processes, options.only), seconds=20.0)
    except LabError as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 1
    report = Report(machine.facts(), {"quick": options.quick, "parts": list(options.only)})
    bench = Bench(lab, report, options.quick)
    facts = report.machine
    print(f"bench: {facts['cores']} cores, {facts['processor']}, load {facts['load_before']}")
    _run_parts(bench, options.only)
    file = lab.paths.base / "bench.json"
    report.write(file)
    for reason in report.faults:
        print(f"bench: not measured: {reason}", file=sys.stderr)
    print(f"\nbench: {'failed' if report.faults else 'ok'}, figures in {file}")
    return 1 if report.faults else 0


def _run_parts(bench: Bench, only: Sequence[str]) -> None:
    for name, alone in ALONE.items():
        if name in only:
            with _noting_faults(bench.report, name):
                alone(bench)
    if any(name in only for name in WHOLE):
        with _noting_faults(bench.report, "customer"):
            _run_whole(bench, only)


def _run_whole(bench: Bench, only: Sequence[str]) -> None:
    lab = bench.lab
    with (
        serve_tone(lab.farm.network.address(9, MEDIA_HOST)) as sound,
        bench_customer(lab, sound.url) as customer,
    ):
        called = stack.Stack(bench, customer)
        for name, whole in WHOLE.items():
            if name in only:
                with _noting_faults(bench.report, name):
                    whole(bench, called)
    print(f"  the sound was fetched {sound.fetched} times")
    database_url = dict(lab.farm.of_module("call_manager")[0].environment)["EVERCALL_DATABASE_URL"]
    asyncio.run(forget_calls(database_url, customer.id))


@contextmanager
def _noting_faults(report: Report, part: str) -> Iterator[None]:
    """A part that can't be measured is noted; the others go on."""
    try:
        yield
    except (MeasurementFailed, LabError, OSError) as fault:
        report.faults.append(f"{part}: {fault}")
        print(f"  {part}: {fault}")


def _needed(processes: Iterable[Process], only: Sequence[str]) -> list[str]:
    """Who must be up for these parts."""
    if any(name in only for name in (*WHOLE, "legs")):
        return [process.name for process in processes]
    kinds = {Kind.ASTERISK} if "bare" in only else set()
    kinds |= {Kind.RABBITMQ, Kind.POSTGRESQL} if "micro" in only else set()
    return [process.name for process in processes if process.kind in kinds]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes, coarser figures")
    parser.add_argument(
        "--only",
        type=_parts,
        default=PARTS,
        metavar="PART,…",
        help=f"some parts of: {', '.join(PARTS)}",
    )
    return parser.parse_args(arguments)


def _parts(text: str) -> tuple[str, ...]:
    wanted = tuple(text.split(","))
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(unknown)}")
    return wanted


if __name__ == "__main__":
    raise SystemExit(main())
