"""One supervised AMQP connection: after a loss everything that was set up on the old connection is set up
again, in the same order, by the same code.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from evercall.bus.amqp import AmqpConnection, Closed, Refused, connect
from evercall.service.logging import get_logger

log = get_logger(__name__)

CONNECT_TIMEOUT = 5.0
FIRST_DELAY = 0.1
LAST_DELAY = 2.0
HEARTBEAT = 10

Session = AmqpConnection
"""One life of the connection."""

Setup = Callable[[Session], Awaitable[None]]

BROKER_ERRORS = (OSError, TimeoutError, Closed, Refused)
"""What may be raised while the broker is away, or goes away."""

CONNECTS = Counter("evercall_bus_connects_total", "Connections made to the broker")


class Connection:
    """Keeps a session alive. `setups` run for each new session, then `on_lost` when it is gone."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._setups: list[Setup] = []
        self._lost: list[Callable[[], None]] = []
        self._closing = asyncio.Event()
        self.session: Session | None = None
        self.ready = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether a session is set up."""
        return self.session is not None

    async def add(self, setup: Setup) -> None:
        """Registers a part of every session; runs it at once where there is one."""
        self._setups.append(setup)
        session = self.session
        if session is None:
            return
        try:
            await setup(session)
        except BROKER_ERRORS:
            await session.close()

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Registers what is to be known when a session ends."""
        self._lost.append(callback)

    async def run(self) -> None:
        """Connects, again and again, until `close`."""
        delay = FIRST_DELAY
        while not self._closing.is_set():
            session = await self._start()
            if session is None:
                await self._pause(delay)
                delay = min(LAST_DELAY, delay * 2)
                continue
            delay = FIRST_DELAY
            await self._until_over(session)

    async def close(self) -> None:
        """Ends the session and the supervision."""
        self._closing.set()
        if self.session is not None:
            await self.session.close()

    async def _start(self) -> Session | None:
        session = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                session = await connect(self._url, self._name, HEARTBEAT)
                for setup in self._setups:
                    await setup(session)
        except BROKER_ERRORS as error:
            log.warning("bus_unavailable", error=repr(error))
            if session is not None:
                await session.close()
            return None
        self.session = session
        self.ready.set()
        CONNECTS.inc()
        log.info("bus_connected")
        return session

    async def _until_over(self, session: Session) -> None:
        await session.ended.wait()
        self.session = None
        self.ready.clear()
        for callback in self._lost:
            callback()
        if not self._closing.is_set():
            log.warning("bus_lost")
        await session.close()

    async def _pause(self, delay: float) -> None:
        # Jitter: a restarted broker is not met by all replicas in one instant.
        try:
            async with asyncio.timeout(delay * random.uniform(0.5, 1.0)):  # noqa: S311
                await self._closing.wait()
        except TimeoutError:
            return
