"""Replicas of `flow_manager` on the lab's broker and database, beside those that run there already."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import httpx
import pytest

from deploy.lab.lab import Lab
from evercall.bus.bus import Bus
from evercall.contracts.base import Request
from evercall.service.errors import PlatformError
from evercall.service.identity import new_id

Answer = TypeVar("Answer")


@dataclass
class Service:
    """`flow_manager`, and a way to talk to it."""

    environment: dict[str, str]
    bus: Bus
    logs: Path
    replicas: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self) -> asyncio.subprocess.Process:
        """Starts a replica; returns when it is ready."""
        number = len(self.replicas)
        address = f"127.0.0.1:{29_000 + (os.getpid() + number) % 900}"
        environment = {
            **os.environ,
            **self.environment,
            "EVERCALL_INSTANCE": f"test-{os.getpid()}-{number}",
            "EVERCALL_HEALTH_LISTEN": address,
        }
        with (self.logs / f"{number}.log").open("ab") as log:
            replica = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "flow_manager", env=environment, stdout=log, stderr=log
            )
        self.replicas.append(replica)
        async with asyncio.timeout(20.0), httpx.AsyncClient(timeout=1.0) as client:
            while not await _is_ready(client, f"http://{address}/ready"):
                assert replica.returncode is None, (self.logs / f"{number}.log").read_text()
                await asyncio.sleep(0.05)
        return replica

    async def ask(self, request: Request[Answer], actor: UUID | None = None) -> Answer:
        """Asks, again and again while nobody can answer: a request may be said twice."""
        async with asyncio.timeout(20.0):
            while True:
                try:
                    return await self.bus.ask("flow_manager", request, actor=actor, timeout=1.0)
                except PlatformError as error:
                    if not error.retryable and error.code != "request_timeout":
                        raise
                await asyncio.sleep(0.1)


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture
async def service(lab: Lab, tmp_path: Path) -> AsyncIterator[Service]:
    """The service with one replica of the test's own."""
    environment = dict(lab.farm.of_module("flow_manager")[0].environment)
    shards = int(environment.get("EVERCALL_SHARDS", "8"))
    bus = Bus(environment["EVERCALL_AMQP_URL"], f"test-{new_id()}", shards)
    run = asyncio.create_task(bus.run())
    made = Service(environment, bus, tmp_path)
    await made.start()
    try:
        yield made
    finally:
        for replica in made.replicas:
            if replica.returncode is None:
                replica.send_signal(signal.SIGTERM)
        await asyncio.gather(*(replica.wait() for replica in made.replicas))
        await bus.close()
        await run
