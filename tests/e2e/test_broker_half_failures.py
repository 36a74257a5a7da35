"""RabbitMQ fails by halves while calls are up.

What must hold: no call drops, what is typed meanwhile is accounted for, nothing is a dead letter, memory stays
bounded, `/ready` tells, and everything goes on by itself. The services of the lab work on a cluster of three nodes
here, which is this module's own.
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from deploy.lab.lab import Lab
from deploy.lab.network import AMQP_PORT
from deploy.lab.plan import Farm, Kind, Process
from tests.e2e.theatre import GOES_ON, PROMPT, READY
from tests.support.brokers import Brokers, brokers
from tests.support.elsewhere import elsewhere
from tests.support.phone_sipp import Caller, SippCall
from tests.support.relay import Relay
from tests.support.rest import Customer, action
from tests.support.web import ToneServer

pytestmark = pytest.mark.timeout(240)

KEYS = "123456"
BEHIND = ("call_manager-1", "asterisk_proxy-1")
"""Services whose network can be cut."""
MOST_GROWTH = 64e6
"""Bytes that a service's memory may grow by while its broker takes nothing."""
SILENT_SECONDS = 30.0
LEFT_SECONDS = 12.0
"""Longer than a service stays with a node that confirms nothing (docs/operations.md)."""


class Network:
    """The network between some services and all nodes. It works in a thread, for longer than a test's loop."""

    def __init__(self, nodes: Sequence[Process], farm: Farm) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._addresses = {node.address: farm.network.address(0, 70 + node.index) for node in nodes}
        self._ways = [
            Relay((before, AMQP_PORT), (address, AMQP_PORT))
            for address, before in self._addresses.items()
        ]

    def url(self, url: str) -> str:
        """The URL by way of this network."""
        for address, before in self._addresses.items():
            url = url.replace(address, before)
        return url

    def cut(self) -> None:
        for way in self._ways:
            self._loop.call_soon_threadsafe(way.cut)

    def mend(self) -> None:
        for way in self._ways:
            self._loop.call_soon_threadsafe(way.mend)

    def __enter__(self) -> "Network":
        self._thread.start()
        for way in self._ways:
            asyncio.run_coroutine_threadsafe(way.__aenter__(), self._loop).result(5.0)
        return self

    def __exit__(self, *_: object) -> None:
        for way in self._ways:
            asyncio.run_coroutine_threadsafe(way.__aexit__(None, None, None), self._loop).result(
                5.0
            )
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def cluster(platform: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """Three nodes that know each other."""
    with brokers(platform, tmp_path_factory.mktemp("brokers"), 3) as made:
        asyncio.run(made.until_whole())
        yield made


@pytest.fixture(scope="module")
def network(
    platform: Lab, cluster: Brokers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Network]:
    """All services of the lab at work on the cluster, some of them by a network that can be cut."""
    with Network(cluster.nodes, cluster.farm) as made:
        urls = {
            process.name: made.url(cluster.url) if process.name in BEHIND else cluster.url
            for process in services(platform)
        }
        settings = {name: {"EVERCALL_AMQP_URL": url} for name, url in urls.items()}
        with elsewhere(platform, settings, tmp_path_factory.mktemp("services")):
            yield made


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
    network: Network, platform: Lab, caller: Caller, customer: Customer, web: ToneServer
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


async def checks(process: Process) -> dict[str, bool]:
    """What `/ready` says."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{process.health_url}/ready")
    told: dict[str, bool] = answer.json()["checks"]
    assert answer.status_code == (200 if all(told.values()) else 503)
    return told


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


@asynccontextmanager
async def watching(lab: Lab) -> AsyncIterator[set[str]]:
    """The names of services that say meanwhile that the broker is away or takes nothing."""
    seen: set[str] = set()

    async def watch() -> None:
        while True:
            for process in services(lab):
                told = await checks(process)
                if not (told["broker"] and told["broker_accepts"]):
                    seen.add(process.name)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


async def test_each_node_is_killed_in_turn(cluster: Brokers, calls: Calls) -> None:
    for node in cluster.nodes:
        await asyncio.to_thread(cluster.kill, node)
        calls.press()
        await asyncio.sleep(2.0)
        await calls.are_up()
        cluster.start(node)
        await cluster.until_whole()


async def test_each_node_is_cut_off_from_the_others_in_turn(
    platform: Lab, cluster: Brokers, calls: Calls
) -> None:
    """Its clients stay connected to a node that answers everything and confirms nothing: they go elsewhere."""
    async with watching(platform) as unready:
        for node in cluster.nodes:
            await asyncio.to_thread(cluster.cut_off, node)
            calls.press()
            await asyncio.sleep(LEFT_SECONDS)
            await calls.are_up()
            await asyncio.to_thread(cluster.join_up, node)
            await cluster.until_whole()
    assert unready
    left = [await metric(each, "evercall_bus_nodes_left_total") for each in services(platform)]
    assert sum(left) > 0


async def test_memory_and_disk_run_out_and_are_there_again(
    platform: Lab, cluster: Brokers, calls: Calls
) -> None:
    """The alarm of one node stops the publishers of all."""
    for raised, lifted in (
        (["set_vm_memory_high_watermark", "absolute", "1MB"],
         ["set_vm_memory_high_watermark", "absolute", "1GB"]),
        (["set_disk_free_limit", "900000GB"], ["set_disk_free_limit", "50MB"]),
    ):  # fmt: skip
        connects = [
            await metric(each, "evercall_bus_connects_total") for each in services(platform)
        ]
        await asyncio.to_thread(cluster.control, cluster.nodes[1], *raised)
        await until_all(platform, {"broker": True, "broker_accepts": False})
        calls.press()
        await asyncio.sleep(2.0)
        await calls.are_up()
        await asyncio.to_thread(cluster.control, cluster.nodes[1], *lifted)
        await until_all(platform, {"broker": True, "broker_accepts": True})
        again = [await metric(each, "evercall_bus_connects_total") for each in services(platform)]
        assert again == connects


async def until_all(lab: Lab, wanted: dict[str, bool]) -> None:
    """Every service says so."""
    async with asyncio.timeout(15.0):
        for process in services(lab):
            while not wanted.items() <= (await checks(process)).items():
                await asyncio.sleep(0.1)


async def test_the_network_of_some_services_drops_everything_for_half_a_minute(
    platform: Lab, network: Network, calls: Calls
) -> None:
    """They hear nothing of any node, and nobody tells them. What their Asterisk says in the meantime waits;
    everybody else goes on."""
    network.cut()
    calls.press()
    await asyncio.sleep(SILENT_SECONDS / 2)
    for process in services(platform):
        assert (await checks(process))["broker"] == (process.name not in BEHIND)
    await calls.are_up()
    await asyncio.sleep(SILENT_SECONDS / 2)
    network.mend()
