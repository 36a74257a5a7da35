"""Proxy, keeper, broker and Asterisk die, one at a time and together, while calls type digits."""

import asyncio
import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from evercall.ari import commands
from evercall.bus.bus import Bus
from evercall.contracts.asterisk import NO_ANSWER, Heartbeat, ProxyReason
from tests.contract.ari.conftest import Control, TakenCall
from tests.contract.ari.phone import Phone
from tests.contract.ari.rig import SHARDS, ProxyProcess, Rig, keeper_pids
from tests.contract.ari.shards import Shards

WHOLE_CALL = ["StasisStart", "ChannelStateChange", "ChannelDestroyed"]


async def type_digits(calls: Sequence[TakenCall], digits: str) -> None:
    """Each call types all digits, one every 120 ms: Asterisk keeps them apart by itself else."""
    for digit in digits:
        await asyncio.gather(*(call.phone.digit(digit) for call in calls))
        await asyncio.sleep(0.12)


async def test_a_dead_proxy_misses_nothing(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    staying = await control.take(phone, "2001")
    leaving = await control.take(phone, "2002")
    await type_digits([staying, leaving], "1")
    await proxy.kill()
    await type_digits([staying, leaving], "234")
    await leaving.phone.hang_up()
    coming = phone.call("2003")
    await type_digits([staying], "56")
    await proxy.start()
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(leaving.actor))
    await shards.wait(lambda: shards.started("2003") is not None)
    await shards.wait(lambda: shards.digits(staying.actor) == "123456")
    assert shards.digits(leaving.actor) == "1234"
    assert await proxy.metric('evercall_asterisk_proxy_connections_total{how="taken_over"}') == 1
    assert await proxy.metric('evercall_asterisk_proxy_connections_total{how="new"}') == 0
    actor = shards.started("2003")
    assert actor is not None
    await control.answer(actor)
    await coming.answered()
    await coming.hang_up()
    await staying.phone.hang_up()


@pytest.mark.timeout(180)
async def test_kills_under_load_lose_nothing_and_double_nothing(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    typing = [await control.take(phone, f"300{number}") for number in range(6)]
    digits = "1234567890*#" * 6
    typists = asyncio.create_task(type_digits(typing, digits))
    short = asyncio.create_task(_short_calls(phone, control, count=80, every=0.15))
    for pause in (0.11, 0.37, 0.05, 0.73, 0.21, 0.02, 0.49, 0.3):
        await asyncio.sleep(pause)
        await proxy.kill()
        await proxy.start()
    await typists
    actors = await short
    await shards.wait(lambda: all(shards.digits(call.actor) == digits for call in typing), 30)
    await shards.wait(lambda: all(len(shards.types(actor)) >= 3 for actor in actors), 30)
    assert [shards.types(actor) for actor in actors] == [WHOLE_CALL] * len(actors)
    assert [shards.digits(call.actor) for call in typing] == [digits] * len(typing)
    for call in typing:
        await call.phone.hang_up()


async def _short_calls(phone: Phone, control: Control, count: int, every: float) -> list[UUID]:
    """Calls that are answered and end at once; their actors."""
    running = []
    for number in range(count):
        running.append(asyncio.create_task(_short_call(phone, control, f"4{number:04}")))
        await asyncio.sleep(every)
    return await asyncio.gather(*running)


async def _short_call(phone: Phone, control: Control, number: str) -> UUID:
    call = await control.take(phone, number)
    await asyncio.sleep(0.2)
    await call.phone.hang_up()
    return call.actor


@pytest.mark.timeout(180)
async def test_the_broker_is_away_and_the_proxy_dies_too(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards, rig: Rig
) -> None:
    call = await control.take(phone, "2101")
    leaving = await control.take(phone, "2102")
    await type_digits([call], "1")
    rig.broker.kill()
    await type_digits([call], "23")
    await leaving.phone.hang_up()
    await proxy.kill()
    await type_digits([call], "45")
    await proxy.start(ready=False)
    await type_digits([call], "67")
    rig.broker.start()
    await asyncio.to_thread(rig.broker.wait_ready)
    await type_digits([call], "8")
    await shards.wait(lambda: shards.digits(call.actor) == "12345678", 40)
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(leaving.actor))
    await proxy.wait_ready()
    assert shards.digits(call.actor) == "12345678"
    await call.phone.hang_up()


async def test_the_keeper_dies_and_then_the_proxy(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards, rig: Rig
) -> None:
    call = await control.take(phone, "2201")
    (keeper,) = keeper_pids(rig)
    os.kill(keeper, signal.SIGKILL)
    async with asyncio.timeout(10):
        while keeper_pids(rig) in ([], [keeper]):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    await type_digits([call], "12")
    await proxy.kill()
    await type_digits([call], "34")
    await proxy.start()
    await shards.wait(lambda: shards.digits(call.actor) == "1234")
    await call.phone.hang_up()


async def test_proxy_and_keeper_die_together(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards, rig: Rig
) -> None:
    """Then Asterisk itself keeps what happens, from the moment that it sees the connection end."""
    call = await control.take(phone, "2301")
    await type_digits([call], "1")
    await shards.wait(lambda: shards.digits(call.actor) == "1")
    os.kill(keeper_pids(rig)[0], signal.SIGKILL)
    await proxy.kill()
    await asyncio.sleep(0.1)
    await type_digits([call], "23")
    await proxy.start()
    await shards.wait(lambda: shards.digits(call.actor) == "123")
    assert await proxy.metric('evercall_asterisk_proxy_connections_total{how="new"}') == 1
    await call.phone.hang_up()


async def test_an_orderly_stop_leaves_events_with_asterisk(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    call = await control.take(phone, "2401")
    await type_digits([call], "12")
    assert await proxy.stop() == 0
    await type_digits([call], "34")
    await call.phone.hang_up()
    await proxy.start()
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(call.actor))
    assert shards.digits(call.actor) == "1234"


@pytest.mark.timeout(180)
async def test_a_proxy_that_stands_still_misses_nothing(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    typing = [await control.take(phone, f"250{number}") for number in range(8)]
    os.kill(proxy.pid, signal.SIGSTOP)
    await type_digits(typing, "1234567890" * 3)
    os.kill(proxy.pid, signal.SIGCONT)
    await shards.wait(lambda: all(shards.digits(call.actor) == "1234567890" * 3 for call in typing))
    for call in typing:
        await call.phone.hang_up()


async def test_asterisk_dies(
    proxy: ProxyProcess,
    phone: Phone,
    control: Control,
    shards: Shards,
    rig: Rig,
    beats: "asyncio.Queue[Heartbeat]",
) -> None:
    call = await control.take(phone, "2601")
    await type_digits([call], "1")
    await shards.wait(lambda: shards.digits(call.actor) == "1")
    await _beat(beats, connected=True)
    old = shards.events[call.actor][0].boot_id
    shards.snapshots.clear()
    rig.asterisk.kill()
    beat = await _beat(beats, connected=False)
    assert beat.boot_id == old
    rig.asterisk.start()
    await asyncio.to_thread(rig.asterisk.wait_ready)
    beat = await _beat(beats, connected=True)
    assert beat.boot_id != old
    assert beat.channels == 0
    await shards.wait(lambda: len(shards.snapshots) >= SHARDS)
    assert {seen.boot_id for _, seen in shards.snapshots} == {beat.boot_id}
    assert all(seen.channels == [] for _, seen in shards.snapshots)

    # What was meant for the life that is over is not carried out in this one; nor is what comes late.
    next_call = await control.take(phone, "2602")
    shards.refused.clear()
    life, hang_up = (
        timedelta(seconds=30),
        commands.hangup(next_call.actor, "h", next_call.channel_id),
    )
    await control.give_late(old, life, hang_up)
    await control.give_late(beat.boot_id, -life, hang_up)
    await shards.wait(lambda: len(shards.refused) == 2)
    assert [
        (said.boot_id, one.status, one.reason) for said in shards.refused for one in said.refused
    ] == [
        (old, NO_ANSWER, ProxyReason.WRONG_BOOT),
        (beat.boot_id, NO_ANSWER, ProxyReason.EXPIRED),
    ]
    await type_digits([next_call], "7")
    await shards.wait(lambda: shards.digits(next_call.actor) == "7")
    await next_call.phone.hang_up()


@pytest.fixture
async def beats(bus: Bus) -> "asyncio.Queue[Heartbeat]":
    """The heartbeats of the farm."""
    beats: asyncio.Queue[Heartbeat] = asyncio.Queue()
    await bus.subscribe_farm(["heartbeat.*"], (Heartbeat,), beats.put)
    return beats


async def _beat(beats: "asyncio.Queue[Heartbeat]", *, connected: bool) -> Heartbeat:
    async with asyncio.timeout(10):
        while True:
            beat = await beats.get()
            if beat.connected == connected:
                return beat
