"""Part `legs`: what the legs of media streams cost in Asterisk and in media_manager, with real calls of the lab.

A few calls that are up and idle, then five streams on each, whose applications say what they hear. The
difference is what the streams cost: snoop, external channel and bridge there, the stream here.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from deploy.lab.plan import Kind, Process
from tests.bench import accounting
from tests.bench.bench import Bench
from tests.bench.errors import MeasurementFailed
from tests.bench.report import Section
from tests.e2e.streams import idle_call
from tests.support.media_client import Application
from tests.support.phone_sipp import Caller
from tests.support.rest import admin_api, new_customer

CALLS, STREAMS_PER_CALL = 8, 5
CALLER = 90


def run(bench: Bench) -> None:
    """Measures and shows."""
    bench.say("media streams in the lab: what a leg costs")
    section = Section(f"Legs of media streams: {CALLS * STREAMS_PER_CALL} streams of {CALLS} calls")
    idle, busy = asyncio.run(_measure(bench))
    streams = CALLS * STREAMS_PER_CALL
    for group, text in (("asterisk-call", "Asterisk"), ("media_manager", "media_manager")):
        used = busy.by_group()[group] / busy.wall - idle.by_group()[group] / idle.wall
        micros = used / streams / 50 * 1_000_000
        section.add(f"leg_{group.replace('-', '_')}_us", f"{text}, CPU per 20 ms", micros, "us")
    bench.show(section)


async def _measure(bench: Bench) -> tuple[accounting.Usage, accounting.Usage]:
    lab = bench.lab
    watched = (*lab.farm.of_kind(Kind.ASTERISK), *lab.farm.of_module("media_manager"))
    seconds = 4.0 if bench.quick else 15.0
    async with AsyncExitStack() as stack:
        admin = admin_api(lab)
        stack.push_async_callback(admin.close)
        customer = await new_customer(lab, admin, "bench of legs")
        stack.push_async_callback(customer.leave)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        caller = await Caller(lab, CALLER, folder).start()
        stack.push_async_callback(caller.stop)
        calls = [await idle_call(lab, customer, caller) for _ in range(CALLS)]
        stack.push_async_callback(calls[0].leave)
        for call in calls[1:]:
            stack.push_async_callback(call.hang_up)
        idle = await _used(bench, watched, seconds)
        echoes = []
        for call in calls * STREAMS_PER_CALL:
            application = await call.open(reads=False)
            echoes.append(asyncio.ensure_future(_echo(application)))
        busy = await _used(bench, watched, seconds)
        broken = [echo for echo in echoes if echo.done()]
        for echo in echoes:
            echo.cancel()
        if broken:
            raise MeasurementFailed(f"{len(broken)} streams ended by themselves")
    return idle, busy


async def _used(bench: Bench, watched: tuple[Process, ...], seconds: float) -> accounting.Usage:
    await asyncio.sleep(1.0)
    before = accounting.read(bench.lab, watched)
    await asyncio.sleep(seconds)
    return accounting.between(before, accounting.read(bench.lab, watched))


async def _echo(application: Application) -> None:
    async for message in application.socket:
        if isinstance(message, bytes):
            await application.socket.send(message)
