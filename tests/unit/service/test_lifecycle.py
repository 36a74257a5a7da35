"""A process that works by half is ended, and what is to be done at its end is done, whatever else fails."""

import asyncio

import asyncpg
import pytest

from evercall.service import lifecycle
from evercall.service.errors import Unavailable
from evercall.service.lifecycle import Readiness, StopCallbacks, Tasks


async def fail() -> None:
    raise ValueError("broken")


async def test_a_task_that_fails_stops_the_process() -> None:
    stop = asyncio.Event()
    tasks = Tasks(stop)
    task = tasks.start("broken", fail())
    await asyncio.wait([task])
    await asyncio.wait_for(stop.wait(), 5)
    assert tasks.failed


async def test_a_task_that_ends_or_is_cancelled_stops_nothing() -> None:
    stop = asyncio.Event()
    tasks = Tasks(stop)
    ended = tasks.start("short", asyncio.sleep(0))
    cancelled = tasks.start("long", asyncio.Event().wait())
    cancelled.cancel()
    await asyncio.wait([ended, cancelled])
    await asyncio.sleep(0)  # callbacks of tasks run after those who wait for them
    assert not stop.is_set()
    assert not tasks.failed


async def test_cancelled_tasks_are_waited_for() -> None:
    """What a task does on its way out is done before the process goes on with its end."""
    tasks = Tasks(asyncio.Event())
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("tidied up")

    tasks.start("work", work())
    await asyncio.sleep(0)
    await tasks.cancel_all()
    assert done == ["tidied up"]


async def test_stop_callbacks_run_last_registered_first() -> None:
    callbacks = StopCallbacks()
    done: list[int] = []

    def adding(number: int) -> lifecycle.StopCallback:
        async def callback() -> None:
            done.append(number)

        return callback

    for number in range(3):
        callbacks.add(adding(number))
    await callbacks.run()
    assert done == [2, 1, 0]


@pytest.mark.parametrize(
    "fault",
    [
        ConnectionResetError("gone"),
        RuntimeError("the loop is closed"),
        asyncpg.InterfaceError("pool is closing"),
        Unavailable("broker_unavailable", "away"),
        KeyError("never there"),
    ],
)
async def test_a_stop_callback_that_fails_does_not_keep_the_others_from_theirs(
    fault: Exception,
) -> None:
    callbacks = StopCallbacks()
    done: list[str] = []

    async def last() -> None:
        done.append("last")

    async def failing() -> None:
        raise fault

    callbacks.add(last)
    callbacks.add(failing)
    await callbacks.run()
    assert done == ["last"]


async def test_a_stop_callback_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "STOP_TIMEOUT", 0.01)
    callbacks = StopCallbacks()
    done: list[str] = []

    async def last() -> None:
        done.append("last")

    async def hanging() -> None:
        await asyncio.Event().wait()

    callbacks.add(last)
    callbacks.add(hanging)
    await asyncio.wait_for(callbacks.run(), 5)
    assert done == ["last"]


def test_readiness_asks_each_check_anew() -> None:
    readiness = Readiness()
    there = {"broker": True}
    readiness.add("broker", lambda: there["broker"])
    readiness.add("database", lambda: True)
    assert readiness.report() == {"broker": True, "database": True}
    there["broker"] = False
    assert readiness.report() == {"broker": False, "database": True}
