"""A network between a service and its broker that passes nothing on, for less and for more than a heartbeat."""

import asyncio
import time

import pytest

from deploy.lab.network import AMQP_PORT
from evercall.bus import topology
from evercall.bus.bus import PROBE_ID, PUBLISH_TIMEOUT, Letter
from evercall.bus.connection import HEARTBEAT
from evercall.bus.wire import Properties
from evercall.contracts.base import Message
from evercall.service.errors import Unavailable
from evercall.service.identity import new_id
from tests.contract.broker.conftest import Connect
from tests.contract.broker.test_alarms import until
from tests.support.brokers import Brokers
from tests.support.relay import Relay


class Note(Message, frozen=True, kw_only=True):
    number: int


def cuttable(broker: Brokers) -> Relay:
    """The network before the broker's node."""
    return Relay((_before(broker), AMQP_PORT), (broker.nodes[0].address, AMQP_PORT))


def url_through(broker: Brokers) -> str:
    return broker.url.replace(broker.nodes[0].address, _before(broker))


def _before(broker: Brokers) -> str:
    return broker.farm.network.address(0, 70)


async def test_a_publish_that_is_not_confirmed_is_told_and_leaves_nothing_behind(
    broker: Brokers, connect: Connect
) -> None:
    """The session lives on: the network is back before the broker counts as silent."""
    async with cuttable(broker) as network:
        bus = await connect(url_through(broker))
        heard: asyncio.Queue[list[Note]] = asyncio.Queue()
        key = f"notes.{new_id().hex[-12:]}"
        await bus.consume(key, (Note,), heard.put)
        session, channel = bus._connection.session, bus._confirmed
        assert channel is not None

        network.cut()
        began = time.monotonic()
        letters = [Letter(topology.RPC, key, Properties(), b'{"type":"note","number":1}')] * 50
        assert not await bus.publish_all(letters)
        assert PUBLISH_TIMEOUT - 0.5 < time.monotonic() - began < PUBLISH_TIMEOUT + 2.0
        waiting = [
            message for confirm, message in channel._unconfirmed.values() if not confirm.done()
        ]
        assert waiting in ([], [PROBE_ID])
        network.mend()

        await until(lambda: not channel._unconfirmed)
        await bus.publish(key, Note(number=2))
        got: list[int] = []
        async with asyncio.timeout(5.0):
            while len(got) < 51:
                got += [note.number for note in await heard.get()]
        # What was not confirmed had arrived all the same: the publisher can't know.
        assert got == [1] * 50 + [2]
        await until(lambda: not bus.blocked)
        assert bus._connection.session is session


async def test_a_silent_broker_is_left_in_time_and_found_again(
    broker: Brokers, connect: Connect
) -> None:
    """What docs/operations.md promises: noticed within two and a half times the heartbeat."""
    async with cuttable(broker) as network:
        bus = await connect(url_through(broker))
        network.cut()
        assert await until(lambda: not bus.connected, 20.0) < 2.5 * HEARTBEAT + 1.0
        with pytest.raises(Unavailable, match="broker_unavailable"):
            await bus.publish("anywhere", Note(number=1))
        network.mend()
        await until(lambda: bus.connected, 15.0)
        await until(lambda: not bus.blocked)
