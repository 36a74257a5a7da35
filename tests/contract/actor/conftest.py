"""Starts replicas of the ledger service as processes, each test in a schema and on queues of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from deploy.lab.lab import Lab
from evercall.actor.query import ActorQuery
from evercall.bus import topology
from evercall.bus.bus import Bus
from evercall.bus.connection import Session
from evercall.service.identity import new_id
from evercall.store.actor_tables import actor_tables
from evercall.store.database import Database
from tests.support import ledger

SHARDS = 4


@dataclass
class Replica:
    """One process of the ledger service."""

    name: str
    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """An orderly stop."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@dataclass
class Service:
    """The ledger service under test, and ways to talk to it."""

    name: str
    environment: dict[str, str]
    bus: Bus
    database: Database
    query: "ActorQuery[ledger.Ledger]"
    log: Path
    replicas: list[Replica] = field(default_factory=list)

    async def start(self, name: str) -> Replica:
        """Starts a replica; does not wait for it."""
        environment = {
            **os.environ,
            **self.environment,
            "EVERCALL_INSTANCE": name,
            "EVERCALL_HEALTH_LISTEN": f"127.0.0.1:{20_000 + len(self.replicas) + os.getpid() % 9000}",
        }
        with (self.log / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.support.ledger",
                env=environment,
                stdout=log,
                stderr=log,
            )
        replica = Replica(name, process)
        self.replicas.append(replica)
        return replica

    async def dead_letters(self) -> list[asyncpg.Record]:
        """The rows, oldest first."""
        return await self.database.pool.fetch(
            f"SELECT * FROM {self.name}.dead_letter ORDER BY at, id"
        )

    async def dead(self, *words: str) -> tuple[int, str]:
        """Runs the command for dead letters; returns its exit status and what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "evercall.actor.dead",
            *words,
            env={**os.environ, **self.environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return int(process.returncode or 0), said.decode()

    async def read(self, ledger_id: object, seconds: float = 15.0) -> ledger.Ledger:
        """Asks for a ledger, as long as nobody answers."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    request = ledger.Read(id=ledger_id)  # type: ignore[arg-type]
                    return await self.bus.ask(self.name, request, actor=request.id, timeout=1.0)
                except Exception as error:
                    if not getattr(error, "retryable", False) and "request_timeout" not in str(
                        error
                    ):
                        raise
                    await asyncio.sleep(0.1)


@pytest.fixture
async def service(lab: Lab, tmp_path: Path) -> AsyncIterator[Service]:
    """A ledger service without replicas yet."""
    name = f"ledger_{new_id().hex[-12:]}"
    environment = dict(lab.farm.of_module("flow_manager")[0].environment)
    environment["EVERCALL_SHARDS"] = str(SHARDS)
    environment["LEDGER_SERVICE"] = name
    url = environment["EVERCALL_DATABASE_URL"]
    connection = await asyncpg.connect(url)
    await connection.execute(actor_tables(name))
    bus = Bus(environment["EVERCALL_AMQP_URL"], "test", SHARDS)
    database = Database(url)
    runs = [asyncio.create_task(bus.run()), asyncio.create_task(database.run())]
    while not (bus.connected and database.available):
        await asyncio.sleep(0.02)
    query = ActorQuery(database, name, ledger.KIND)
    made = Service(name, environment, bus, database, query, tmp_path)
    try:
        yield made
    finally:
        for replica in made.replicas:
            if replica.process.returncode is None:
                await replica.kill()
        await bus.attach(_delete_queues(name))
        await bus.close()
        await database.close()
        await asyncio.gather(*runs)
        await connection.execute(f"DROP SCHEMA {name} CASCADE")
        await connection.close()


def _delete_queues(name: str):  # type: ignore[no-untyped-def]
    async def delete(session: Session) -> None:
        channel = await session.channel()
        for shard in range(SHARDS):
            await channel.delete_queue(topology.shard_key(name, shard))
        await channel.delete_queue(f"{name}_doubler")

    return delete
