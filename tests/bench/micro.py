"""Part `micro`: the hot pieces on their own, as ratios of something everybody knows.

The engine runs as the ledger service (`tests/support/ledger.py`), a process of its own on the real broker and
database, in a schema and on queues of its own.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from call_manager import ari_events
from evercall.bus import topology
from evercall.bus.bus import Bus
from evercall.bus.connection import Session
from evercall.bus.envelope import encode, properties, tag_of
from evercall.contracts.ids import affinity
from evercall.service.errors import PlatformError
from evercall.service.identity import new_id
from evercall.store.actor_tables import actor_tables
from tests.bench import accounting, clients
from tests.bench.bench import Bench
from tests.bench.errors import MeasurementFailed
from tests.bench.report import Section, percentile
from tests.support import ledger

SHARDS = 1
ACTORS = 200
EVENT_FILE = "ari/stasis_start.json"
_START_SECONDS = 20.0


def run(bench: Bench) -> None:
    """Measures JSON, the bus, the engine."""
    section = Section("Hot pieces")
    bench.say("JSON of an ARI event")
    _json(bench, section)
    bench.say("a message through the broker and back, by our client and by aiormq")
    asyncio.run(clients.compare(bench, section))
    bench.say("the bus and the engine, on the real broker and database")
    asyncio.run(_engine(bench, section))
    bench.show(section)


# -- JSON --------------------------------------------------------------------------------------


def _json(bench: Bench, section: Section) -> None:
    """msgspec decodes into a checked struct and leaves out what nobody needs; json makes dictionaries."""
    event = (bench.lab.paths.project / "tests" / "data" / EVENT_FILE).read_bytes()
    if type(ari_events.decode(msgspec.Raw(event))) is not ari_events.StasisStart:
        raise MeasurementFailed(f"{EVENT_FILE} is not what it should be")
    plain = json.loads(event)
    decode = _microseconds(lambda: ari_events.decode(msgspec.Raw(event)))
    section.add("decode_event", "decode an ARI event (msgspec, checked)", decode, "us")
    ratio = _microseconds(lambda: json.loads(event)) / decode
    section.add("decode_ratio", "  the standard library's time / ours", ratio, "x")
    ratio = _microseconds(lambda: json.dumps(plain)) / _microseconds(lambda: encode(plain))
    section.add("encode_ratio", "encode it: the standard library's time / ours", ratio, "x")


def _microseconds(work: Callable[[], object], repeat: int = 5, count: int = 5000) -> float:
    """The best of some rounds: what disturbs only makes it longer."""
    best = float("inf")
    for _ in range(repeat):
        began = time.perf_counter()
        for _ in range(count):
            work()
        best = min(best, time.perf_counter() - began)
    return best / count * 1e6


# -- bus and engine ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Service:
    """A running ledger service with one shard."""

    name: str
    bus: Bus
    pid: int

    async def read(self, identifier: UUID) -> ledger.Ledger:
        """Asks a ledger for its numbers."""
        request = ledger.Read(id=identifier)
        return await self.bus.ask(self.name, request, actor=identifier, timeout=60.0)

    async def until_written(self, identifier: UUID, number: int) -> None:
        """Returns when the ledger's last number is this one. The question waits behind the pile, so it is
        asked a few times only."""
        async with asyncio.timeout(120.0):
            while (await self.read(identifier)).numbers[-1:] != (number,):
                pass


async def _engine(bench: Bench, section: Section) -> None:
    async with _ledger_service(bench) as service:
        await _ask_times(bench, section, service)
        await _throughput(bench, section, service)


async def _ask_times(bench: Bench, section: Section, service: Service) -> None:
    """A request to a plain service: there and back, one at a time, then many at once."""
    doubler = f"{service.name}_doubler"
    times = []
    for number in range(300 if bench.quick else 1000):
        began = time.perf_counter()
        await service.bus.ask(doubler, ledger.Double(number=number))
        times.append((time.perf_counter() - began) * 1000)
    section.add("ask_p50", "request and answer over the bus, p50", percentile(times, 0.5), "ms")
    section.add("ask_p95", "request and answer over the bus, p95", percentile(times, 0.95), "ms")

    count, callers = (1000 if bench.quick else 4000), 32

    async def caller() -> None:
        for number in range(count // callers):
            await service.bus.ask(doubler, ledger.Double(number=number))

    before, own, began = accounting.seconds_of(service.pid), time.process_time(), time.monotonic()
    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed = time.monotonic() - began
    served = accounting.seconds_of(service.pid) - before
    asked = time.process_time() - own
    section.add("ask_rate", f"requests by {callers} callers at once", count / elapsed, "1/s")
    section.add("ask_caller_cpu", "  CPU of the caller, each", asked / count * 1000, "ms")
    section.add("ask_server_cpu", "  CPU of the server, each", served / count * 1000, "ms")


async def _throughput(bench: Bench, section: Section, service: Service) -> None:
    """One shard works off a pile of messages; each changes an actor and publishes an event."""
    count = 2000 if bench.quick else 8000
    near = new_id()
    actors = [new_id(near) for _ in range(ACTORS)]
    if len({affinity(actor) for actor in actors}) != 1:
        raise MeasurementFailed("ids that are near each other have different affinities")
    before, began = accounting.seconds_of(service.pid), time.monotonic()
    key = topology.shard_key(service.name, 0)
    for number in range(count):
        message = ledger.Add(id=actors[number % ACTORS], number=number)
        headers = properties(tag_of(message), message_id=new_id().hex)
        await service.bus.send(topology.RPC, key, encode(message), headers)
    await service.until_written(actors[(count - 1) % ACTORS], count - 1)
    elapsed = time.monotonic() - began
    used = accounting.seconds_of(service.pid) - before
    section.add(
        "engine_rate", "actor messages through one shard, with events", count / elapsed, "1/s"
    )
    section.add("engine_cpu", "  CPU of the engine's process, each", used / count * 1000, "ms")
    started = [new_id(near) for _ in range(200)]
    times = []
    for identifier in started:
        began = time.perf_counter()
        await service.read(identifier)
        times.append((time.perf_counter() - began) * 1000)
    section.add(
        "engine_ask_p50", "an actor that is read answers, p50", percentile(times, 0.5), "ms"
    )


@asynccontextmanager
async def _ledger_service(bench: Bench) -> AsyncIterator[Service]:
    name = f"bench_{new_id().hex[-12:]}"
    environment = dict(bench.lab.farm.of_module("flow_manager")[0].environment)
    url = environment["EVERCALL_DATABASE_URL"]
    connection = await asyncpg.connect(url)
    await connection.execute(actor_tables(name))
    bus = Bus(environment["EVERCALL_AMQP_URL"], "bench", SHARDS)
    running = asyncio.create_task(bus.run())
    process = None
    try:
        process = await _start(name, environment)
        service = Service(name, bus, process.pid)
        await _until_it_answers(service, process)
        yield service
    finally:
        if process is not None:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        await bus.attach(_delete_queues(name))
        await bus.close()
        await running
        await connection.execute(f"DROP SCHEMA {name} CASCADE")
        await connection.close()


async def _start(name: str, environment: dict[str, str]) -> asyncio.subprocess.Process:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {
        "EVERCALL_SHARDS": str(SHARDS),
        "EVERCALL_INSTANCE": name,
        "EVERCALL_HEALTH_LISTEN": f"127.0.0.1:{port}",
        "EVERCALL_LOG_LEVEL": "ERROR",
        "LEDGER_SERVICE": name,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.ledger", env={**os.environ, **environment, **own}
    )


async def _until_it_answers(service: Service, process: asyncio.subprocess.Process) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            await service.bus.ask(service.name, ledger.Read(id=UUID(int=1)), actor=UUID(int=1))
            await service.bus.ask(f"{service.name}_doubler", ledger.Double(number=1))
        except PlatformError as error:
            if time.monotonic() > until or process.returncode is not None:
                raise MeasurementFailed(f"the ledger service does not answer: {error}") from error
            await asyncio.sleep(0.1)
        else:
            return


def _delete_queues(name: str) -> Callable[[Session], Any]:
    async def delete(session: Session) -> None:
        channel = await session.channel()
        await channel.delete_queue(topology.shard_key(name, 0))
        await channel.delete_queue(f"{name}_doubler")

    return delete
