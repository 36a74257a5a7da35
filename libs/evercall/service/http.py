"""Serves an ASGI application inside a service's own event loop."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from evercall.service.settings import parse_address

if TYPE_CHECKING:
    from evercall.service.process import Process


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its HTTP servers."""

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
            lifespan="off",
            timeout_graceful_shutdown=3,
        )
    )

    async def stop() -> None:
        server.should_exit = True

    process.on_stop(stop)
    process.tasks.start(f"http-{name}", server.serve())
