"""What RabbitMQ and PostgreSQL have done so far, by their own count: to be read before and after a load."""

import asyncio
import re
import subprocess
from dataclasses import dataclass

import asyncpg

from deploy.lab.lab import Lab
from deploy.lab.launch import run_inside
from tests.bench.errors import MeasurementFailed

_STATISTICS_SECONDS = 1.2
"""PostgreSQL's processes tell what they did at most once a second."""

_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"

_RECEIVED = (
    "maps:get(messages_received_total,"
    " maps:get(#{protocol => amqp091}, rabbit_global_counters:overview()))."
)


@dataclass(frozen=True, slots=True)
class Counters:
    """Messages that publishers sent, transactions that were committed."""

    messages: int
    commits: int

    def until(self, later: "Counters") -> tuple[int, int]:
        """Messages and commits from here to a later reading."""
        return later.messages - self.messages, later.commits - self.commits


def read(lab: Lab) -> Counters:
    """Reads both.

    Raises:
        MeasurementFailed: RabbitMQ does not tell.
    """
    return Counters(_messages(lab), asyncio.run(_commits(lab)))


def _messages(lab: Lab) -> int:
    argv = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", "eval", _RECEIVED]
    launch = run_inside(lab.farm.named("rabbitmq"), lab.farm, lab.paths, argv)
    done = subprocess.run(
        launch.argv, env=dict(launch.environment), capture_output=True, text=True, check=False
    )
    found = re.search(r"^\d+$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise MeasurementFailed(f"rabbitmqctl: {(done.stdout + done.stderr).strip()[:300]}")
    return int(found[0])


async def _commits(lab: Lab) -> int:
    await asyncio.sleep(_STATISTICS_SECONDS)
    environment = dict(lab.farm.of_module("call_manager")[0].environment)
    connection = await asyncpg.connect(environment["EVERCALL_DATABASE_URL"])
    try:
        commits: int = await connection.fetchval(_COMMITS)
    finally:
        await connection.close()
    return commits
