"""Which answer belongs to which waiting caller: the table of open requests."""

import asyncio
from collections.abc import Callable
from typing import Any

from evercall.service.errors import PlatformError


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
        """Hands over an answer; one that nobody waits for any more is dropped."""
        entry = self._open.get(correlation)
        if entry is not None and not entry[0].done():
            future, decode = entry
            future.set_result(decode(body))

    def fail(self, correlation: str, error: PlatformError) -> None:
        """Ends one request with an error."""
        entry = self._open.get(correlation)
        if entry is not None and not entry[0].done():
            entry[0].set_exception(error)

    def fail_all(self, error: Callable[[], PlatformError]) -> None:
        """Ends all requests: the connection that would have brought the answers is gone."""
        for correlation in list(self._open):
            self.fail(correlation, error())
