"""Part `messages`: how many messages and transactions a plain inbound call needs.

RabbitMQ's firehose (rabbitmq.com/docs/firehose) copies every published message to an exchange, so they are
counted by type, whoever sent them. Calls come one by one: nothing is batched, which is the dearest case.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiormq
import asyncpg

from deploy.lab.__main__ import main as lab_command
from tests.bench.bench import Bench
from tests.bench.errors import MeasurementFailed
from tests.bench.load import run_load
from tests.bench.report import Budget, Section
from tests.bench.stack import Stack

CALLS = 6
RATE = 0.7
MESSAGES = Budget(10.0)
TRANSACTIONS = Budget(3.0)

STANDING = frozenset({"probe", "heartbeat"})
"""What is sent whether there are calls or not."""

_STATISTICS_SECONDS = 2.5
"""PostgreSQL's processes tell what they did at most once a second."""

_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


@dataclass(slots=True)
class Heard:
    """What the firehose brought."""

    types: Counter[str] = field(default_factory=Counter)
    octets: int = 0

    async def hear(self, message: Any) -> None:
        """Counts one copy."""
        properties = message.header.properties.headers.get("properties", {})
        kind = properties.get("type") or "?"
        if kind in STANDING:
            return
        exchange = message.header.properties.headers.get("exchange_name") or "reply"
        keys = message.header.properties.headers.get("routing_keys") or ["?"]
        self.types[f"{kind} > {_place(exchange, keys[0])}"] += 1
        self.octets += len(message.body)


def _place(exchange: str, key: str) -> str:
    """Where a message went, without ids: shards and customers all alike."""
    if exchange == "evercall.events":
        return "events"
    if key.startswith("amq."):
        return "reply"
    return key.partition(".")[0]


def run(bench: Bench, stack: Stack) -> None:
    """Counts messages and transactions of some calls, one by one."""
    bench.say("messages and transactions of single calls")
    asyncio.run(_run(bench, stack))


async def _run(bench: Bench, stack: Stack) -> None:
    environment = dict(bench.lab.farm.of_module("call_manager")[0].environment)
    async with _firehose(environment["EVERCALL_AMQP_URL"]) as heard:
        connection = await asyncpg.connect(environment["EVERCALL_DATABASE_URL"])
        try:
            idle = await _commits_in(connection, 5.0)
            heard.types.clear()
            began = time.monotonic()
            before = await _commits(connection)
            load = stack.load_at(RATE, CALLS)
            result = await asyncio.to_thread(run_load, bench.lab, load)
            commits = await _commits(connection) - before
            elapsed = time.monotonic() - began
        finally:
            await connection.close()
    faults = [*result.faults, *stack.check(CALLS)]
    if faults:
        raise MeasurementFailed("; ".join(faults))
    section = Section(f"Messages and transactions of a plain inbound call ({CALLS} single calls)")
    messages = heard.types.total() / CALLS
    section.add("messages_per_call", "messages", messages, "", MESSAGES)
    for kind, count in sorted(heard.types.items(), key=lambda pair: -pair[1]):
        section.add(f"messages_{_key(kind)}", f"  {kind}", count / CALLS, "")
    section.add("bytes_per_call", "bytes in messages", heard.octets / CALLS, "B")
    transactions = max(0.0, commits - idle * elapsed) / CALLS
    section.add("transactions_per_call", "transactions", transactions, "", TRANSACTIONS)
    bench.show(section)


@asynccontextmanager
async def _firehose(url: str) -> AsyncIterator[Heard]:
    heard = Heard()
    if lab_command(["rabbitmqctl", "-q", "trace_on"]) != 0:
        raise MeasurementFailed("the firehose can't be opened")
    try:
        connection = await aiormq.connect(url)
        try:
            channel = await connection.channel()
            declared = await channel.queue_declare("", exclusive=True, auto_delete=True)
            queue = declared.queue or ""
            await channel.queue_bind(queue, "amq.rabbitmq.trace", routing_key="publish.#")
            await channel.basic_consume(queue, heard.hear, no_ack=True)
            yield heard
        finally:
            await connection.close()
    finally:
        lab_command(["rabbitmqctl", "-q", "trace_off"])


async def _commits(connection: "asyncpg.Connection[Any]") -> int:
    await asyncio.sleep(_STATISTICS_SECONDS)
    commits: int = await connection.fetchval(_COMMITS)
    return commits


async def _commits_in(connection: "asyncpg.Connection[Any]", seconds: float) -> float:
    """Commits per second while nothing happens."""
    before, began = await _commits(connection), time.monotonic()
    await asyncio.sleep(seconds)
    return (await _commits(connection) - before) / (time.monotonic() - began)


def _key(kind: str) -> str:
    return kind.replace(" > ", "_to_").replace(".", "_")
