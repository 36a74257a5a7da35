"""A supervised session with the broker: after a loss everything that was set up on the old one is set up
again, in the same order, by the same code.

A session is two AMQP connections to one node, one that publishes and one that consumes: RabbitMQ reads nothing
from a connection that publishes while a memory or disk alarm is on, acks included. They begin and end together
(docs/decisions/0060).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from evercall.bus.address import Host, Tls, parse_url
from evercall.bus.amqp import AmqpConnection, Channel, Closed, Declined, Refused, connect
from evercall.service.logging import get_logger

log = get_logger(__name__)

HOST_TIMEOUT = 5.0
"""Seconds for one host of the address to take both connections."""
SETUP_TIMEOUT = 15.0
FIRST_DELAY = 0.1
LAST_DELAY = 2.0
PART_DELAY = 2.0
HEARTBEAT = 5
"""Seconds. A broker that is silent is noticed after twice this time, at the latest half of it later."""

BROKER_ERRORS = (OSError, TimeoutError, Closed, Refused)
"""What may be raised while the broker is away, or goes away, or takes nothing."""

CONNECTS = Counter("evercall_bus_connects_total", "Sessions begun with the broker")
DECLINED = Counter("evercall_bus_declined_total", "Declarations that the broker refused")


class Session:
    """One life of the two connections."""

    def __init__(self, publishing: AmqpConnection, consuming: AmqpConnection, host: Host) -> None:
        self.publishing = publishing
        self.consuming = consuming
        self.host = host
        self.ended = asyncio.Event()
        self._leaving = False
        for connection in (publishing, consuming):
            connection.on_end(self._end)

    async def channel(self) -> Channel:
        """Opens a channel for declaring, consuming and acking. Who published on it would stop the acks of all
        whenever the broker stops publishers."""
        return await self.consuming.channel()

    async def close(self) -> None:
        """Ends both connections."""
        self._leaving = True
        await asyncio.gather(self.publishing.close(), self.consuming.close())

    def _end(self) -> None:
        self.ended.set()
        if self._leaving:  # each takes leave of the broker
            return
        for connection in (self.publishing, self.consuming):
            connection.fail("the other connection of the session is over")


Setup = Callable[[Session], Awaitable[None]]


class Connection:
    """Keeps a session alive. `setups` run for each new session, then `on_lost` when it is gone."""

    def __init__(self, url: str, name: str, tls: Tls | None = None) -> None:
        """
        Raises:
            ValueError: the URL is none.
        """
        self._address = parse_url(url)
        self._tls = tls
        self._name = name
        self._setups: list[Setup] = []
        self._lost: list[Callable[[], None]] = []
        self._closing = asyncio.Event()
        self._parts: set[asyncio.Task[None]] = set()
        self._left: Host | None = None
        self.session: Session | None = None
        self.ready = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether a session is set up."""
        return self.session is not None

    @property
    def has_other_hosts(self) -> bool:
        """Whether another node may do better."""
        return len(self._address.hosts) > 1

    async def add(self, setup: Setup) -> None:
        """Registers a part of every session; runs it at once where there is one."""
        self._setups.append(setup)
        session = self.session
        if session is None:
            return
        try:
            await self._set_up(session, setup)
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

    # -- beginning -----------------------------------------------------------------------------

    async def _start(self) -> Session | None:
        for host in self._hosts():
            session = None
            try:
                async with asyncio.timeout(HOST_TIMEOUT):
                    session = await self._connect(host)
                async with asyncio.timeout(SETUP_TIMEOUT):
                    for setup in self._setups:
                        await self._set_up(session, setup)
            except BROKER_ERRORS as error:
                log.warning("bus_unavailable", host=host.name, error=repr(error))
                if session is not None:
                    await session.close()
                continue
            self.session = session
            self.ready.set()
            CONNECTS.inc()
            log.info("bus_connected", host=host.name)
            return session
        return None

    def _hosts(self) -> list[Host]:
        """In random order, so that all nodes get their share; last the one that was left."""
        hosts = random.sample(self._address.hosts, len(self._address.hosts))
        return sorted(hosts, key=lambda host: host == self._left)

    async def _connect(self, host: Host) -> Session:
        publishing = await self._open(host, "publish")
        try:
            consuming = await self._open(host, "consume")
        except BaseException:
            publishing.fail("the other connection did not open")
            raise
        return Session(publishing, consuming, host)

    async def _open(self, host: Host, use: str) -> AmqpConnection:
        name = f"{self._name} ({use})"
        return await connect(self._address, host, name, HEARTBEAT, self._tls)

    async def _set_up(self, session: Session, setup: Setup) -> None:
        """One queue that can't be declared now must not cost the others: its part is tried again later."""
        try:
            await setup(session)
        except Declined as error:
            _tell(error)
            task = asyncio.get_running_loop().create_task(self._set_up_later(session, setup))
            self._parts.add(task)
            task.add_done_callback(self._parts.discard)

    async def _set_up_later(self, session: Session, setup: Setup) -> None:
        while not await _ends_within(session, PART_DELAY):
            try:
                await setup(session)
            except Declined as error:
                _tell(error)
            except BROKER_ERRORS:
                await session.close()
            else:
                log.info("bus_part_ready")
                return

    # -- ending --------------------------------------------------------------------------------

    async def _until_over(self, session: Session) -> None:
        await session.ended.wait()
        self._left = session.host
        self.session = None
        self.ready.clear()
        for callback in self._lost:
            callback()
        if not self._closing.is_set():
            log.warning("bus_lost", host=session.host.name)
        await session.close()

    async def _pause(self, delay: float) -> None:
        # Jitter: a restarted broker is not met by all replicas in one instant.
        try:
            async with asyncio.timeout(delay * random.uniform(0.5, 1.0)):  # noqa: S311
                await self._closing.wait()
        except TimeoutError:
            return


async def _ends_within(session: Session, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await session.ended.wait()
    except TimeoutError:
        return False
    return True


def _tell(error: Declined) -> None:
    DECLINED.inc()
    log.error("bus_declaration_refused", error=str(error))
