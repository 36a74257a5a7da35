"""Listens to the domain events of a customer, over a queue that outlives the broker."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deploy.lab.lab import Lab
from evercall.bus.bus import Bus
from evercall.bus.connection import Session
from evercall.contracts.base import ResourceEvent


@dataclass
class Heard:
    """What was heard: per call the types of its events, each once, in order of arrival."""

    by_call: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _seen: set[uuid.UUID] = field(default_factory=set)

    async def take(self, event: ResourceEvent) -> None:
        """Events are published at least once; a repetition has the same id."""
        if event.id not in self._seen:
            self._seen.add(event.id)
            self.by_call[str(event.resource_id)].append(event.type)


@asynccontextmanager
async def call_events(lab: Lab, customer_id: str) -> AsyncIterator[Heard]:
    """Hears all events of the customer's calls while the block runs."""
    url = dict(lab.farm.of_module("flow_manager")[0].environment)["EVERCALL_AMQP_URL"]
    queue = f"test_events_{customer_id}"
    bus, heard = Bus(url, "test"), Heard()
    await bus.subscribe_events([f"{customer_id}.call.*"], heard.take, queue=queue)
    running = asyncio.create_task(bus.run())
    while not bus.connected:
        await asyncio.sleep(0.02)
    try:
        yield heard
    finally:

        async def remove(session: Session) -> None:
            await (await session.channel()).delete_queue(queue)

        await bus.attach(remove)
        await bus.close()
        await running
