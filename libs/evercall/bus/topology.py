"""The names on the broker (docs/architecture.md, "The bus") and how they are declared."""

from typing import Any

from evercall.bus.amqp import Channel

RPC = "evercall.rpc"
"""Direct exchange: `<service>`, `<service>.shard.<n>`, `asterisk.<asterisk_id>`."""

EVENTS = "evercall.events"
"""Topic exchange: `<customer_id>.<resource>.<event>`."""

FARM = "evercall.farm"
"""Topic exchange: heartbeats of the farm."""

DEAD = "evercall.dead"
"""Fanout exchange, and the queue behind it: messages that could not be handled, with their reason."""

SHARD_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    # A replica that stops returns what it holds; RabbitMQ 4 would drop a message after 20 such
    # returns. Messages that really fail are counted by the engine instead.
    "x-delivery-limit": -1,
}

SERVICE_ARGUMENTS: dict[str, Any] = {"x-queue-type": "classic"}

OWN_ARGUMENTS: dict[str, Any] = {"x-queue-type": "classic", "x-expires": 60_000}
"""A queue of one process: it goes when nobody has used it for a minute."""


def shard_key(service: str, shard: int) -> str:
    """Routing key and queue name of one shard of a service."""
    return f"{service}.shard.{shard}"


def asterisk_key(asterisk_id: str) -> str:
    """Routing key and queue name of the commands for one Asterisk."""
    return f"asterisk.{asterisk_id}"


async def declare(channel: Channel) -> None:
    """Declares what everybody uses. Harmless when it exists."""
    await channel.declare_exchange(RPC, "direct")
    await channel.declare_exchange(EVENTS, "topic")
    await channel.declare_exchange(FARM, "topic")
    await channel.declare_exchange(DEAD, "fanout")
    await channel.declare_queue(DEAD, SERVICE_ARGUMENTS)
    await channel.bind(DEAD, DEAD)


async def declare_queue(channel: Channel, key: str, arguments: dict[str, Any]) -> None:
    """Declares the durable queue `key` and binds it to `evercall.rpc` under its own name."""
    await channel.declare_queue(key, arguments)
    await channel.bind(key, RPC, key)
