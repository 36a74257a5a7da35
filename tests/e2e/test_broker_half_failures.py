"""RabbitMQ fails by halves while calls are up.

What must hold: no call drops, what is typed meanwhile is accounted for, nothing is a dead letter, memory stays
bounded, and everything goes on by itself. The services of the lab work on a cluster of three nodes here, which is
this module's own.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind, Process
from tests.e2e.theatre import GOES_ON, PROMPT, READY
from tests.support.brokers import Brokers, brokers
from tests.support.elsewhere import elsewhere
from tests.support.phone_sipp import Caller, SippCall
from tests.support.rest import Customer, action
from tests.support.web import ToneServer

pytestmark = pytest.mark.timeout(240)

KEYS = "123456"
MOST_GROWTH = 64e6
"""Bytes that a service's memory may grow by while its broker takes nothing."""


@pytest.fixture(scope="module")
def cluster(platform: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """Three nodes that know each other."""
    with brokers(platform, tmp_path_factory.mktemp("brokers"), 3) as made:
        asyncio.run(made.until_whole())
        yield made


@pytest.fixture(scope="module")
def moved(
    platform: Lab, cluster: Brokers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """All services of the lab at work on the cluster."""
    settings = {each.name: {"EVERCALL_AMQP_URL": cluster.url} for each in services(platform)}
    with elsewhere(platform, settings, tmp_path_factory.mktemp("services")):
        yield


@dataclass
class Calls:
    """Calls that are up: some are typed to, one listens to a prompt. They end when all keys are typed."""

    typing: list[SippCall]
    listening: SippCall
    typed: int = 0

    def press(self) -> None:
        """The next key, to all."""
        for call in self.typing:
            call.media.press(KEYS[self.typed])
        self.typed += 1

    async def are_up(self) -> None:
        """The prompt is heard now."""
        media = self.listening.media
        await media.hears(PROMPT, since=media.now, lasting=0.3)
        assert not any(call.has_ended for call in self.typing)


@pytest.fixture
async def calls(
    moved: None, platform: Lab, caller: Caller, customer: Customer, web: ToneServer
) -> AsyncIterator[Calls]:
    """Six calls. Afterwards they have heard everything, ended as they should, and left no dead letter."""
    typist = await customer.number(
        action("answer"),
        action("play", stream_urls=[web.tone(READY, 400)]),
        action("digits_receive", duration=600_000, length=len(KEYS)),
        action("variable_set", key="got", value="${voipbin.call.digits}"),
        action("play", stream_urls=[web.tone(GOES_ON, 300)]),
        action("hangup"),
    )
    listener = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(PROMPT, 150_000)]), action("hangup")
    )
    made = Calls(
        [await caller.answered_call(typist) for _ in range(5)], await caller.answered_call(listener)
    )
    await asyncio.gather(*(call.media.hears(READY) for call in made.typing))
    await made.are_up()
    before = await asyncio.gather(*(memory(process) for process in services(platform)))

    yield made

    await asyncio.to_thread(platform.wait_ready, [each.name for each in services(platform)], 30.0)
    await made.are_up()
    while made.typed < len(KEYS):
        made.press()
        await asyncio.sleep(0.3)
    await asyncio.gather(*(call.media.hears(GOES_ON, within=40.0) for call in made.typing))
    await asyncio.gather(*(call.expect("left") for call in made.typing))
    await made.listening.bye()
    told = await customer.all_ended(within=30.0)
    ends = sorted((call["hangup_by"], call["hangup_reason"]) for call in told)
    assert ends == [("local", "normal")] * len(made.typing) + [("remote", "normal")]
    for call in told:
        if call["hangup_by"] == "local":
            assert (await customer.ended_flow(call))["variables"]["got"] == KEYS
    assert sum([await dead_letters(process) for process in services(platform)]) == 0
    after = await asyncio.gather(*(memory(process) for process in services(platform)))
    growth = [now - then for now, then in zip(after, before, strict=True)]
    assert max(growth) < MOST_GROWTH, growth


def services(lab: Lab) -> tuple[Process, ...]:
    return lab.farm.of_kind(Kind.SERVICE)


async def metric(process: Process, name: str) -> float:
    """The sum of a metric over its labels; 0 where there is none."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{process.health_url}/metrics")).text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (.+)$", text, re.M))


async def memory(process: Process) -> float:
    found = await metric(process, "process_resident_memory_bytes")
    assert found > 0
    return found


async def dead_letters(process: Process) -> float:
    return await metric(process, "evercall_actor_dead_letters_total")


async def test_each_node_is_killed_in_turn(cluster: Brokers, calls: Calls) -> None:
    for node in cluster.nodes:
        await asyncio.to_thread(cluster.kill, node)
        calls.press()
        await asyncio.sleep(2.0)
        await calls.are_up()
        cluster.start(node)
        await cluster.until_whole()
