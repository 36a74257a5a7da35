"""What a message costs in Python: published with a confirm, delivered, acked, by our AMQP client and by aiormq.

Both do the same on the same broker, to a queue of their own; some messages are on their way at a time, as under
a light load. Compared is the processor time of this process, so the broker's does not count.
"""

import asyncio
import time

import aiormq
from aiormq import spec
from aiormq.abc import DeliveredMessage

from evercall.bus import amqp
from evercall.bus.address import parse_url
from evercall.bus.envelope import properties
from tests.bench.bench import Bench
from tests.bench.report import Section

TOGETHER = 4
BODY = b"x" * 700


async def compare(bench: Bench, section: Section) -> None:
    """Adds what each of them needs for a message."""
    url = dict(bench.lab.farm.of_module("call_manager")[0].environment)["EVERCALL_AMQP_URL"]
    count = 1000 if bench.quick else 4000
    ours, theirs = await _ours(url, count), await _aiormq(url, count)
    section.add("amqp_message_cpu", "a message: publish, confirm, deliver, ack", ours, "ms")
    section.add("amqp_ratio", "  aiormq's CPU / ours", theirs / ours, "x")


async def _ours(url: str, count: int) -> float:
    address = parse_url(url)
    connection = await amqp.connect(address, address.hosts[0], "bench", 10)
    channel = await connection.channel(confirms=True)
    queue = await channel.declare_own_queue()
    arrived = asyncio.Semaphore(0)

    def hear(delivery: amqp.Delivery) -> None:
        delivery.channel.ack(delivery.delivery_tag)
        arrived.release()

    await channel.consume(queue, hear)
    headers = properties("bench", message_id="bench", persistent=False)
    began = time.process_time()
    for _ in range(count // TOGETHER):
        confirms = [channel.publish("", queue, headers, BODY) for _ in range(TOGETHER)]
        for confirm in confirms:
            await confirm
            await arrived.acquire()
    used = time.process_time() - began
    await connection.close()
    return used / count * 1000


async def _aiormq(url: str, count: int) -> float:
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=True)
    queue = (await channel.queue_declare("", exclusive=True)).queue or ""
    arrived = asyncio.Semaphore(0)

    async def hear(message: DeliveredMessage) -> None:
        await channel.basic_ack(message.delivery_tag or 0, wait=False)
        arrived.release()

    await channel.basic_consume(queue, hear)
    headers = spec.Basic.Properties(message_type="bench", message_id="bench", delivery_mode=1)
    began = time.process_time()
    for _ in range(count // TOGETHER):
        confirms = [
            channel.basic_publish(BODY, routing_key=queue, properties=headers)
            for _ in range(TOGETHER)
        ]
        await asyncio.gather(*confirms)
        for _ in range(TOGETHER):
            await arrived.acquire()
    used = time.process_time() - began
    await connection.close()
    return used / count * 1000
