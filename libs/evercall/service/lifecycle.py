"""Supervised tasks, readiness and orderly stop: the parts of a process that are about its life."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from evercall.service.logging import get_logger

log = get_logger(__name__)

StopCallback = Callable[[], Awaitable[None]]

STOP_TIMEOUT = 5.0
"""Seconds that one stop callback may take before the next one's turn comes."""


class Tasks:
    """Background tasks that nobody awaits. One that fails stops the process: a half-working service
    is worse than one that its supervisor starts anew."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed = False

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs `work` until it ends or the process stops."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        log.error("task_failed", task=task.get_name(), exc_info=task.exception())
        self.failed = True
        self._stop.set()

    async def cancel_all(self) -> None:
        """Cancels what still runs and waits for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Readiness:
    """Named checks; the process is ready while all of them hold."""

    def __init__(self) -> None:
        self._checks: dict[str, Callable[[], bool]] = {}

    def add(self, name: str, check: Callable[[], bool]) -> None:
        """Registers a check. It must not block."""
        self._checks[name] = check

    def report(self) -> dict[str, bool]:
        """Each check and whether it holds now."""
        return {name: check() for name, check in self._checks.items()}


class StopCallbacks:
    """What is to be done when the process stops, last registered first."""

    def __init__(self) -> None:
        self._callbacks: list[StopCallback] = []

    def add(self, callback: StopCallback) -> None:
        """Registers a callback."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        """Runs all callbacks; one that fails or hangs does not keep the others from theirs."""
        for callback in reversed(self._callbacks):
            try:
                async with asyncio.timeout(STOP_TIMEOUT):
                    await callback()
            except Exception:  # the outermost place: the process ends after this, whatever it was
                log.warning("stop_callback_failed", callback=repr(callback), exc_info=True)
