"""The names on the broker (docs/architecture.md, "The bus") and how they are declared."""

from typing import Any

from evercall.bus.amqp import Channel, Declined
from evercall.bus.connection import Session
from evercall.service.logging import get_logger

log = get_logger(__name__)

RPC = "evercall.rpc"
"""Direct exchange: `<service>`, `<service>.shard.<n>`, `asterisk.<asterisk_id>`."""

EVENTS = "evercall.events"
"""Topic exchange: `<customer_id>.<resource>.<event>`."""

FARM = "evercall.farm"
"""Topic exchange: heartbeats of the farm."""

PROBE = "evercall.probe"
"""Queue that every process publishes to now and then, to know whether the broker takes and confirms: a node that
is cut off from its cluster answers everything else."""

SERVICE_ARGUMENTS: dict[str, Any] = {
    # A classic queue is away with its node; a quorum queue is there as long as most nodes are.
    "x-queue-type": "quorum",
    # A replica that stops returns what it holds; RabbitMQ 4 would drop a message after 20 such
    # returns. Messages that really fail are counted by the engine instead.
    "x-delivery-limit": -1,
}
"""Of every durable queue."""

SHARD_ARGUMENTS: dict[str, Any] = {**SERVICE_ARGUMENTS, "x-single-active-consumer": True}

PROBE_ARGUMENTS: dict[str, Any] = {**SERVICE_ARGUMENTS, "x-max-length": 1}

_PRECONDITION_FAILED = 406


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


async def declare_queue(channel: Channel, key: str, arguments: dict[str, Any]) -> None:
    """Declares the durable queue `key` and binds it to `evercall.rpc` under its own name."""
    await channel.declare_queue(key, arguments)
    await channel.bind(key, RPC, key)


async def declare_durable(session: Session, name: str, arguments: dict[str, Any]) -> Channel:
    """Declares a durable queue; returns the channel to go on with. One of the same name that was declared
    otherwise is replaced when it is empty and nobody uses it.

    Raises:
        Declined: the broker refuses it.
    """
    channel = await session.channel()
    try:
        await channel.declare_queue(name, arguments)
    except Declined as error:
        if error.code != _PRECONDITION_FAILED:
            raise
        channel = await _replace(session, name, arguments)
    return channel


async def _replace(session: Session, name: str, arguments: dict[str, Any]) -> Channel:
    channel = await session.channel()
    try:
        await channel.delete_idle_queue(name)
    except Declined:
        hint = "work it off with what made it and delete it (in the lab: make clean)"
        log.error("queue_of_another_kind", queue=name, hint=hint)
        raise
    log.warning("queue_replaced", queue=name)
    await channel.declare_queue(name, arguments)
    return channel
