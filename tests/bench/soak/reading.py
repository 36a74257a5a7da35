"""Reads what grows: processes from /proc, queues from rabbitmqctl, tables from PostgreSQL, calls from SIPp."""

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import asyncpg

from deploy.lab.errors import LabError
from deploy.lab.lab import Lab
from deploy.lab.launch import run_inside
from tests.bench.accounting import parse_stat
from tests.bench.errors import MeasurementFailed
from tests.bench.soak.record import CallSample, ProcessSample, QueueSample, TableSample

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RABBITMQ_SECONDS = 60.0
"""Of patience with rabbitmqctl, which starts an Erlang node of its own on a busy machine."""

_TABLES = """
SELECT schemaname || '.' || relname AS name, n_live_tup AS rows, pg_total_relation_size(relid) AS bytes
FROM pg_stat_user_tables
"""


def read_processes(lab: Lab, at: float) -> list[ProcessSample]:
    """One sample of each process that runs."""
    samples = []
    for name, state in lab.supervisor.states().items():
        if state.pid == 0:
            continue
        try:
            members = lab.pids(name)
        except LabError:  # it has just been killed
            continue
        samples.append(_of_tree(at, name, members))
    return samples


def _of_tree(at: float, name: str, members: Iterable[int]) -> ProcessSample:
    pid, *_ = members = list(members)
    sample = ProcessSample(at, name, pid, 0, 0, 0.0)
    for member in members:
        folder = Path("/proc") / str(member)
        try:
            memory = own_bytes((folder / "statm").read_text())
            cpu = parse_stat((folder / "stat").read_text())[1]
            descriptors = len(os.listdir(folder / "fd"))
        except OSError:  # it has ended
            continue
        sample.memory += memory
        sample.cpu += cpu
        sample.descriptors += descriptors
    return sample


def own_bytes(statm: str) -> int:
    """Resident and not shared, from a line of /proc/<pid>/statm (proc(5): pages)."""
    resident, shared = (int(field) for field in statm.split()[1:3])
    return (resident - shared) * PAGE_BYTES


def read_queues(lab: Lab, at: float) -> QueueSample:
    """Asks rabbitmqctl, which costs a second or two of processor time: not to be done often.

    Raises:
        MeasurementFailed: RabbitMQ does not tell.
    """
    argv = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", "list_queues", "--no-table-headers"]
    argv += ["-p", "evercall", "name", "messages"]
    launch = run_inside(lab.farm.named("rabbitmq"), lab.farm, lab.paths, argv)
    try:
        done = subprocess.run(
            launch.argv,
            env=dict(launch.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=RABBITMQ_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementFailed("rabbitmqctl hangs") from None
    if done.returncode != 0:
        raise MeasurementFailed(f"rabbitmqctl: {(done.stdout + done.stderr).strip()[:300]}")
    return parse_queues(done.stdout, at)


def parse_queues(text: str, at: float) -> QueueSample:
    """Lines of a name, a tabulator and a number. Queues that the broker named live with a connection; their
    names mean nothing, their messages and their number do."""
    messages: dict[str, int] = {}
    queues = 0
    for line in text.splitlines():
        name, tabulator, count = line.rpartition("\t")
        if not tabulator or not count.isdigit():
            continue
        queues += 1
        key = "amq.gen" if name.startswith("amq.gen-") else name
        messages[key] = messages.get(key, 0) + int(count)
    return QueueSample(at, messages, queues)


async def read_tables(database_url: str, at: float) -> TableSample:
    """Every table, catalogues not counted."""
    connection = await asyncpg.connect(database_url, timeout=10.0)
    try:
        rows = await connection.fetch(_TABLES, timeout=10.0)
    finally:
        await connection.close()
    return TableSample(
        at,
        {row["name"]: row["rows"] for row in rows},
        {row["name"]: row["bytes"] for row in rows},
    )


def parse_calls(row: Mapping[str, str], at: float) -> CallSample:
    """From a line of SIPp's statistics."""
    return CallSample(
        at,
        begun=int(row["OutgoingCall(C)"]),
        completed=int(row["SuccessfulCall(C)"]),
        failed=int(row["FailedCall(C)"]),
        live=int(row["CurrentCall"]),
    )
