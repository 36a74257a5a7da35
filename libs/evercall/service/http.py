"""Serves an ASGI application inside a service's own event loop."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from evercall.service.settings import parse_address

if TYPE_CHECKING:
    from evercall.service.process import Process


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its HTTP servers; and uvicorn looks ten times a
    second whether it is to stop, which is most of what an idle service does."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends `serve`."""
        self.should_exit = True
        self._stop.set()

    async def main_loop(self) -> None:
        await self._stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(process: "Process[Any]", app: Any, listen: str, name: str) -> None:
    """Starts `app` on `listen` (`host:port`) as a supervised task and stops it with the process."""
    host, port = parse_address(listen)
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
        )
    )

    async def stop() -> None:
        server.stop()

    process.on_stop(stop)
    process.tasks.start(f"http-{name}", server.serve())
