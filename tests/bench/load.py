"""A load of calls at a steady rate, made by one SIPp, and what SIPp says about it.

The callers have several addresses, as a carrier has, so that the load spreads over the flows that load
balancers pin. SIPp sends back the audio that it hears, so media flows both ways, and counts it.
"""

import csv
import secrets
import socket
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.lab import rootfs
from deploy.lab.lab import Lab
from deploy.lab.rootfs import Bind
from tests.bench import accounting
from tests.bench.errors import MeasurementFailed
from tests.bench.report import percentile

SCENARIO = "bench_call"
FIRST_CALLER = 150
CALLERS = 8
MEDIA_HOST = 149
# Not SIPp's usual ports: one that runs beside us may have taken those on all addresses.
MEDIA_PORTS = (16400, 16498)
SIP_PORT = 5562
CONTROL_PORT = 8893

DRAIN_SECONDS = 25.0
"""A call that has not ended so long after the last one began never will: its own timeouts are shorter."""

RETRANSMISSIONS_PER_CALL = 0.01
"""More than this and the farm only seems to keep up."""

LATE = 1.05
"""SIPp may take this much longer to begin all calls than the rate says."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be called, how often, how fast."""

    target: str
    user: str
    domain: str
    rate: float
    calls: int
    give_up: bool = False


@dataclass(slots=True)
class LoadResult:
    """What came of it, seen by the callers."""

    rate: float
    calls: int
    completed: int
    failed: int
    retransmissions: int
    offered_seconds: float
    answer_ms: list[float]
    rtp_packets: int
    caller_cpu_seconds: float
    faults: list[str] = field(default_factory=list)

    @property
    def rtp_per_call(self) -> float:
        return self.rtp_packets / max(1, self.completed)

    def as_data(self) -> dict[str, Any]:
        """For the file."""
        answers = self.answer_ms or [0.0]
        return {
            "rate": self.rate,
            "calls": self.calls,
            "completed": self.completed,
            "failed": self.failed,
            "retransmissions": self.retransmissions,
            "offered_seconds": round(self.offered_seconds, 2),
            "answer_ms_p50": round(percentile(answers, 0.5), 2),
            "answer_ms_p95": round(percentile(answers, 0.95), 2),
            "rtp_packets_per_call": round(self.rtp_per_call, 1),
            "caller_cpu_ms_per_call": round(1000 * self.caller_cpu_seconds / self.calls, 2),
            "faults": self.faults,
        }


def run_load(lab: Lab, load: Load) -> LoadResult:
    """Makes the calls and returns when the last has ended.

    With `give_up` no new calls are begun as soon as one has failed.

    Raises:
        MeasurementFailed: SIPp itself did not work.
    """
    folder = lab.paths.run / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        stale.unlink()
    addresses = [lab.farm.network.address(9, FIRST_CALLER + index) for index in range(CALLERS)]
    lines = [f"{address};+1555010{index:04}" for index, address in enumerate(addresses)]
    (folder / "callers.csv").write_text("SEQUENTIAL\n" + "\n".join(lines) + "\n")
    used = _run(lab, load, folder)
    result = _result(load, folder)
    result.caller_cpu_seconds = used
    return result


def _run(lab: Lab, load: Load, folder: Path) -> float:
    """Runs SIPp; returns the processor time that it took."""
    control = lab.farm.network.address(9, MEDIA_HOST)
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            _command(lab, load, folder, control),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            used = _watch(process, load, folder, control)
        finally:
            process.kill()
            process.wait()
    # 0: all calls went well, 1: some failed. All else is no measurement.
    if process.returncode not in (0, 1, -9):
        raise MeasurementFailed(
            f"SIPp ended with status {process.returncode} ({_first_error(folder / 'errors.log')})"
        )
    return used


def _watch(process: subprocess.Popen[bytes], load: Load, folder: Path, control: str) -> float:
    until = time.monotonic() + load.calls / load.rate * LATE + DRAIN_SECONDS
    used, quitting = 0.0, False
    while process.poll() is None and time.monotonic() < until:
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            # Read while it runs: bubblewrap does not wait for what it started.
            used = accounting.seconds_of(process.pid)
            if load.give_up and not quitting and _goes_wrong(folder / "stat.csv"):
                _quit_softly(control)
                quitting = True
    return used


def _goes_wrong(file: Path) -> bool:
    rows = _rows(file)
    if not rows:
        return False
    last = rows[-1]
    begun = int(last["OutgoingCall(C)"])
    bound = max(5.0, RETRANSMISSIONS_PER_CALL * begun)
    return int(last["FailedCall(C)"]) > 0 or int(last["Retransmissions(C)"]) > bound


def _quit_softly(control: str) -> None:
    """SIPp's remote control: no new calls, those that are up go on to their end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"q", (control, CONTROL_PORT))


def _command(lab: Lab, load: Load, folder: Path, control: str) -> list[str]:
    scenarios = lab.paths.project / "tests" / "data" / "sipp"
    first_port, last_port = MEDIA_PORTS
    values: dict[str, object] = {
        "-sf": f"/scenarios/{SCENARIO}.xml",
        "-inf": "callers.csv",
        # One socket per address of the injection file.
        "-t": "ui",
        "-max_socket": 4 * CALLERS,
        "-i": lab.farm.network.address(9, FIRST_CALLER),
        "-p": SIP_PORT,
        "-mi": control,
        "-min_rtp_port": first_port,
        "-max_rtp_port": last_port,
        "-ci": control,
        "-cp": CONTROL_PORT,
        "-r": f"{load.rate:g}",
        "-m": load.calls,
        "-l": load.calls,
        "-f": 5,
        "-fd": 1,
        "-stf": "stat.csv",
        "-rtt_freq": 1,
        "-screen_file": "screen.log",
        "-error_file": "errors.log",
    }
    argv = ["sipp", load.target, "-nostdin", "-rtp_echo"]
    argv += ["-trace_stat", "-trace_rtt", "-trace_screen", "-trace_err"]
    # Inside its own process namespace SIPp has the same process id every time: what it makes of that is
    # not unique from load to load, and servers remember calls and transactions for some seconds.
    run = secrets.token_hex(4)
    argv += ["-cid_str", f"%u-{run}@%s", "-key", "run", run]
    argv += ["-key", "user", load.user, "-key", "domain", load.domain]
    for option, value in values.items():
        argv += [option, str(value)]
    binds = [Bind(folder, writable=True), Bind(scenarios, "/scenarios")]
    return rootfs.command(lab.paths, argv, binds, "bench", str(folder))


# -- what SIPp wrote ---------------------------------------------------------------------------


def last_count(lab: Lab) -> dict[str, str] | None:
    """The newest line of the statistics of the load that runs; None before there is one."""
    rows = _rows(lab.paths.run / "bench" / "stat.csv")
    return rows[-1] if rows else None


def _result(load: Load, folder: Path) -> LoadResult:
    rows = _rows(folder / "stat.csv")
    if not rows:
        raise MeasurementFailed("SIPp wrote no statistics")
    last = rows[-1]
    result = LoadResult(
        rate=load.rate,
        calls=load.calls,
        completed=int(last["SuccessfulCall(C)"]),
        failed=int(last["FailedCall(C)"]),
        retransmissions=int(last["Retransmissions(C)"]),
        offered_seconds=offered_seconds(rows),
        answer_ms=[
            time for file in folder.glob("*_rtt.csv") for time in answer_times(file.read_text())
        ],
        rtp_packets=echoed_packets((folder / "screen.log").read_text(errors="replace")),
        caller_cpu_seconds=0.0,
    )
    result.faults = list(_faults(load, result, folder))
    return result


def _faults(load: Load, result: LoadResult, folder: Path) -> Iterable[str]:
    if result.failed:
        yield f"{result.failed} calls failed ({_first_error(folder / 'errors.log')})"
    unfinished = load.calls - result.completed - result.failed
    if unfinished:
        yield f"{unfinished} calls not made or not ended"
    bound = RETRANSMISSIONS_PER_CALL * load.calls
    if result.retransmissions > bound:
        yield f"{result.retransmissions} retransmissions, more than {bound:g}"
    if result.offered_seconds > load.calls / load.rate * LATE + 1.0:
        yield f"the calls took {result.offered_seconds:.1f} s to begin"
    if result.rtp_per_call < 40:
        yield f"{result.rtp_per_call:.0f} packets of audio per call; a second has 50"


def _rows(file: Path) -> list[dict[str, str]]:
    """The complete lines of SIPp's statistics."""
    if not file.is_file():
        return []
    text, _, _ = file.read_text().rpartition("\n")
    rows = csv.DictReader(text.splitlines(), delimiter=";")
    return [row for row in rows if row.get("Retransmissions(C)")]


def offered_seconds(rows: list[dict[str, str]]) -> float:
    """How long it took to begin all calls, to the second."""
    begun = max(int(row["OutgoingCall(C)"]) for row in rows)
    first = next(row for row in rows if int(row["OutgoingCall(C)"]) == begun)
    hours, minutes, seconds = first["ElapsedTime(C)"].split(":")[:3]
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def answer_times(text: str) -> list[float]:
    """Milliseconds from each INVITE to its 200."""
    rows = csv.DictReader(text.splitlines(), delimiter=";")
    return [float(row["response_time_ms"]) for row in rows if row["rtd_no"] == "answer"]


def echoed_packets(screen: str) -> int:
    """The RTP packets that SIPp has got, from the last of its screens."""
    lines = [line for line in screen.splitlines() if "Total echo RTP pckts 1st stream" in line]
    return int(lines[-1].split()[0]) if lines else 0


def _first_error(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    found = [line for line in lines if line[:2] == "20" and "Discarding message" not in line]
    return found[0].split(": ", 1)[-1][:160] if found else "no reason given"
