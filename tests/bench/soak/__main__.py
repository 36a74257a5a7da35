"""`python -m tests.bench.soak`: runs the load, samples, kills, draws, judges.

The exit status is 0 where all is well, 1 where something is not, 2 where the run was too short to tell.
Beside the picture `.lab/soak.png` there is `.lab/soak.json` with every sample and finding.
"""

import argparse
import asyncio
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import msgspec

from deploy.lab.errors import LabError
from deploy.lab.lab import Lab, open_lab
from deploy.lab.network import SIP_PORT
from deploy.lab.plan import Kind
from evercall.service import logging
from tests.bench import accounting, machine
from tests.bench.customer import Customer, bench_customer, forget_calls, now
from tests.bench.errors import MeasurementFailed
from tests.bench.load import MEDIA_HOST, Load, LoadResult, last_count, run_load
from tests.bench.report import percentile
from tests.bench.soak import plot, reading
from tests.bench.soak.kills import Planned, plan_kills
from tests.bench.soak.record import Kill, Outcome, Record
from tests.bench.soak.verdict import MIB, Finding, exit_status, judge, told
from tests.bench.sound import serve_tone

MINUTES = 60.0
FALLBACK_RATE = 20.0
"""Calls per second where `make bench` has not said what the machine holds: what two cores do with ease."""

KILL_EVERY = 180.0
LATE_MS = 4000.0
"""An answer after this is late: the caller has repeated the INVITE three times (RFC 3261, 17.1.1.2)."""

SAMPLE_SECONDS = 5.0
SERVERS_SECONDS = 20.0
TELL_SECONDS = 15.0
BACK_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """One soak."""
    options = _options(arguments)
    logging.configure("soak", "soak", level="ERROR", fmt="console", personal=False)
    lab = open_lab()
    try:
        lab.wait_ready([process.name for process in lab.farm.processes], seconds=30.0)
        soak = Soak(lab, options)
        soak.run()
    except (LabError, MeasurementFailed, OSError) as fault:
        print(f"soak: not measured: {fault}", file=sys.stderr)
        return 1
    return soak.conclude()


class Soak:
    """One run: the load in the main thread, whatever watches and kills beside it."""

    def __init__(self, lab: Lab, options: argparse.Namespace) -> None:
        self._lab = lab
        self._rate = options.rate or _default_rate(lab.paths.base / "bench.json")
        self._record = Record(machine.facts(), options.minutes * 60.0, self._rate, options.seed)
        self._kill_every = options.kill_every
        self._over = threading.Event()
        self._begun = time.monotonic()

    def run(self) -> None:
        """Makes the customer, then the calls."""
        lab, record = self._lab, self._record
        say(
            f"soak: {record.rate:g} calls/s for {record.seconds / 60:g} min, a kill every {self._kill_every:g} s"
            f" on average, seed {record.seed}; {record.machine['cores']} cores, load"
            f" {record.machine['load_before']}"
        )
        with (
            serve_tone(lab.farm.network.address(9, MEDIA_HOST)) as sound,
            bench_customer(lab, sound.url) as customer,
        ):
            self._soak(customer)
        asyncio.run(forget_calls(self._database_url, customer.id))

    def _soak(self, customer: Customer) -> None:
        record, address = self._record, f"{self._lab.farm.network.external_sip}:{SIP_PORT}"
        calls = round(record.rate * record.seconds)
        load = Load(address, customer.number, address, record.rate, calls)
        moment = now()
        self._begun = time.monotonic()
        self._noting(self._sample_servers)
        with self._beside():
            result = run_load(self._lab, load)
        self._noting(self._sample_servers)
        say("the calls are made; asking the API what it has of them")
        record.outcome = outcome_of(result, customer.check_calls(moment, calls))

    def conclude(self) -> int:
        """Writes and prints what there is."""
        findings = judge(self._record)
        base = self._lab.paths.base
        data = {
            "findings": [_as_data(one) for one in findings],
            "record": msgspec.to_builtins(self._record),
        }
        (base / "soak.json").write_text(json.dumps(data) + "\n")
        plot.draw(self._record, accounting.control_plane(self._lab), base / "soak.png")
        for finding in told(findings):
            print(f"  {finding.state:<9} {finding.claim:<36} {finding.text}")
        status = exit_status(findings)
        word = {0: "ok", 1: "failed", 2: "nothing bad, but too short to tell all"}[status]
        print(f"\nsoak: {word}; {base / 'soak.png'}, {base / 'soak.json'}")
        return status

    # -- beside the load -----------------------------------------------------------------------

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Samples, kills and tells until the block ends."""
        services = [process.name for process in self._lab.farm.of_kind(Kind.SERVICE)]
        record = self._record
        planned = plan_kills(services, record.seconds, self._kill_every, record.seed)
        threads = [
            threading.Thread(target=self._every, args=(SAMPLE_SECONDS, self._sample_processes)),
            threading.Thread(target=self._every, args=(SERVERS_SECONDS, self._sample_servers)),
            threading.Thread(target=self._every, args=(TELL_SECONDS, self._tell)),
            threading.Thread(target=self._kill, args=(planned,)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while not self._over.wait(seconds):
            self._noting(work)

    def _noting(self, work: Callable[[], None]) -> None:
        """A sample that can't be taken is missing, no more; a kind of which there is none is told at the end."""
        try:
            work()
        except (LabError, MeasurementFailed, OSError, asyncpg.PostgresError) as fault:
            say(f"no sample: {fault}")

    def _sample_processes(self) -> None:
        at = self._seconds()
        self._record.processes += reading.read_processes(self._lab, at)
        row = last_count(self._lab)
        if row:
            self._record.calls.append(reading.parse_calls(row, at))

    def _sample_servers(self) -> None:
        at = self._seconds()
        self._record.queues.append(reading.read_queues(self._lab, at))
        self._record.tables.append(asyncio.run(reading.read_tables(self._database_url, at)))

    def _kill(self, planned: Sequence[Planned]) -> None:
        for kill in planned:
            self._over.wait(max(0.0, kill.at - self._seconds()))
            if self._over.is_set():
                return
            try:
                self._kill_one(kill.name)
            except LabError as fault:
                self._record.faults.append(f"{kill.name} was killed: {fault}")

    def _kill_one(self, name: str) -> None:
        at = self._seconds()
        self._lab.kill(name)
        self._lab.wait_ready([name], BACK_SECONDS)
        away = self._seconds() - at
        self._record.kills.append(Kill(at, name, away))
        say(f"killed {name}, back after {away:.1f} s")

    def _tell(self) -> None:
        record = self._record
        if not record.calls:
            return
        calls = record.calls[-1]
        last = {sample.name: sample for sample in record.processes}.values()
        memory, opened = sum(one.memory for one in last), sum(one.descriptors for one in last)
        waiting = sum(record.queues[-1].messages.values()) if record.queues else 0
        say(
            f"{self._seconds() / 60:5.1f} of {record.seconds / 60:g} min: {calls.begun} calls, {calls.live} up,"
            f" {calls.failed} failed; {memory / MIB:.0f} MiB, {opened} descriptors,"
            f" {waiting} messages in queues"
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._begun

    @property
    def _database_url(self) -> str:
        (first, *_) = self._lab.farm.of_module("call_manager")
        return dict(first.environment)["EVERCALL_DATABASE_URL"]


def outcome_of(result: LoadResult, faults: list[str]) -> Outcome:
    """What the callers saw, and what the API says is wrong."""
    answers = result.answer_ms or [0.0]
    return Outcome(
        calls=result.calls,
        completed=result.completed,
        failed=result.failed,
        late=sum(answer > LATE_MS for answer in answers),
        retransmissions=result.retransmissions,
        answer_ms_p50=percentile(answers, 0.5),
        answer_ms_p99=percentile(answers, 0.99),
        answer_ms_most=max(answers),
        packets_per_call=result.rtp_per_call,
        faults=faults,
    )


def say(text: str) -> None:
    """Tells whoever waits."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


def _as_data(finding: Finding) -> dict[str, str]:
    return {"claim": finding.claim, "state": finding.state.value, "text": finding.text}


def _default_rate(file: Path) -> float:
    """Half of the highest rate that `make bench` has found on this machine."""
    try:
        figures = json.loads(file.read_text())["figures"]
        return max(1.0, float(figures["highest_rate"]["value"]) / 2)
    except (OSError, ValueError, KeyError):
        return FALLBACK_RATE


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="default: %(default)g")
    parser.add_argument(
        "--rate",
        type=float,
        help=f"calls/s; default: half of highest_rate in .lab/bench.json, else {FALLBACK_RATE:g}",
    )
    parser.add_argument(
        "--kill-every",
        type=float,
        default=KILL_EVERY,
        metavar="SECONDS",
        help="on average; 0: never; default: %(default)g",
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
