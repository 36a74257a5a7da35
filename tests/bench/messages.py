"""Part `messages`: how many messages and transactions a plain inbound call needs.

RabbitMQ's firehose (rabbitmq.com/docs/firehose) copies every published message to an exchange, so they are
counted by type, whoever sent them. Transactions are what the engine counts: its batches. Calls come one by
one: nothing is batched, which is the dearest case.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiormq
import httpx

from deploy.lab.__main__ import main as lab_command
from deploy.lab.plan import Kind
from tests.bench import counters
from tests.bench.bench import RATE as USUAL_RATE
from tests.bench.bench import Bench
from tests.bench.errors import MeasurementFailed
from tests.bench.load import run_load
from tests.bench.measure import SETTLE_SECONDS
from tests.bench.report import Budget, Section
from tests.bench.stack import Stack

CALLS = 6
RATE = 0.7
MESSAGES = Budget(10.0)
TRANSACTIONS = Budget(3.0)

STANDING = frozenset({"probe", "heartbeat"})
"""What is sent whether there are calls or not."""

_BATCHES = re.compile(r"^evercall_actor_batches_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)


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
    """Counts messages and transactions of some calls one by one, then of many at the usual rate."""
    bench.say("messages and transactions of single calls")
    asyncio.run(_single_calls(bench, stack))
    bench.say("messages and transactions at the usual rate")
    _many_calls(bench, stack)


def _many_calls(bench: Bench, stack: Stack) -> None:
    """As RabbitMQ and PostgreSQL count, with all that they are told; less what they are told when idle."""
    began, start = time.monotonic(), counters.read(bench.lab)
    time.sleep(6.0)
    waited, before = time.monotonic() - began, counters.read(bench.lab)
    began = time.monotonic()
    result = run_load(bench.lab, stack.load_at(USUAL_RATE, bench.calls))
    time.sleep(SETTLE_SECONDS)
    elapsed, after = time.monotonic() - began, counters.read(bench.lab)
    faults = [*result.faults, *stack.check(bench.calls)]
    if faults:
        raise MeasurementFailed("; ".join(faults))
    share = elapsed / waited
    idle_messages, idle_commits = start.until(before)
    messages, commits = before.until(after)
    section = Section(f"Messages and transactions at {USUAL_RATE:g} calls/s, as the servers count")
    net_messages = (messages - idle_messages * share) / bench.calls
    net_commits = (commits - idle_commits * share) / bench.calls
    section.add("messages_received", "messages that RabbitMQ got, per call", net_messages, "")
    section.add("commits", "commits in PostgreSQL, per call", net_commits, "")
    section.add("idle_messages", "messages per second when idle", idle_messages / waited, "1/s")
    section.add("idle_commits", "commits per second when idle", idle_commits / waited, "1/s")
    bench.show(section)


async def _single_calls(bench: Bench, stack: Stack) -> None:
    environment = dict(bench.lab.farm.of_module("call_manager")[0].environment)
    async with _firehose(environment["EVERCALL_AMQP_URL"]) as heard:
        before = _batches(bench)
        result = await asyncio.to_thread(run_load, bench.lab, stack.load_at(RATE, CALLS))
        await asyncio.sleep(SETTLE_SECONDS)
        batches = {name: count - before[name] for name, count in _batches(bench).items()}
    faults = [*result.faults, *stack.check(CALLS)]
    if faults:
        raise MeasurementFailed("; ".join(faults))
    section = Section(f"Messages and transactions of a plain inbound call ({CALLS} single calls)")
    messages = heard.types.total() / CALLS
    section.add("messages_per_call", "messages", messages, "", MESSAGES)
    for kind, count in sorted(heard.types.items(), key=lambda pair: -pair[1]):
        section.add(f"messages_{_key(kind)}", f"  {kind}", count / CALLS, "")
    section.add("bytes_per_call", "bytes in messages", heard.octets / CALLS, "B")
    transactions = sum(batches.values()) / CALLS
    section.add("transactions_per_call", "transactions", transactions, "", TRANSACTIONS)
    for name, number in batches.items():
        section.add(f"transactions_{name}", f"  {name}", number / CALLS, "")
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


def _batches(bench: Bench) -> dict[str, float]:
    """What each service with actors has committed."""
    counts: dict[str, float] = {}
    for process in bench.lab.farm.of_kind(Kind.SERVICE):
        metrics = httpx.get(f"{process.health_url}/metrics").text
        for found in _BATCHES.findall(metrics):
            counts[process.module] = counts.get(process.module, 0.0) + float(found)
    return counts


def _key(kind: str) -> str:
    return kind.replace(" > ", "_to_").replace(".", "_")
