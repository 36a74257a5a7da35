"""Which answer belongs to which waiting caller: the table of open requests."""

import asyncio
from collections.abc import Callable
from typing import Any

from evercall.bus.envelope import UNREADABLE
from evercall.service.errors import Internal, PlatformError


class OpenRequests:
    """Futures by correlation id. Every open request ends: by its answer, its deadline, or `fail_all`."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[asyncio.Future[Any], Callable[[bytes], Any]]] = {}

    def open(self, correlation: str, decode: Callable[[bytes], Any]) -> "asyncio.Future[Any]":
        """Starts waiting; the future forgets itself when it is done."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open[correlation] = (future, decode)
        future.add_done_callback(lambda _: self._open.pop(correlation, None))
        return future

    def answer(self, correlation: str, body: bytes) -> None:
        """Hands over an answer; one that nobody waits for any more is dropped. One that can't be read fails
        its request alone."""
        entry = self._open.get(correlation)
        if entry is None or entry[0].done():
            return
        future, decode = entry
        try:
            future.set_result(decode(body))
        except UNREADABLE as error:
            future.set_exception(unreadable_answer(error))

    def fail(self, correlation: str, error: PlatformError) -> None:
        """Ends one request with an error."""
        entry = self._open.get(correlation)
        if entry is not None and not entry[0].done():
            entry[0].set_exception(error)

    def fail_all(self, error: Callable[[], PlatformError]) -> None:
        """Ends all requests: the connection that would have brought the answers is gone."""
        for correlation in list(self._open):
            self.fail(correlation, error())


def unreadable_answer(error: Exception) -> Internal:
    """What a caller gets in the place of an answer that is none."""
    return Internal(
        "unreadable_answer", "The answer is not understood", details={"reason": str(error)}
    )
