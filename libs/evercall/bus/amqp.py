"""One AMQP connection and its channels: the IO around `wire`.

What is written within one turn of the event loop leaves in one write, and a delivery is a plain call: no task, no
stream, no lock per message. That is why it exists (docs/decisions/0005).

A connection that ends is over, with all its channels: whoever used it opens a new one (`connection`).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pamqp import commands
from pamqp import frame as pamqp_frame
from pamqp.header import ProtocolHeader

from evercall.bus import wire
from evercall.bus.wire import Properties

FRAME_MAX = 131_072
ANSWER_TIMEOUT = 10.0
"""Seconds that the broker may take to answer a declaration."""


class Closed(ConnectionError):
    """The connection is over, or the broker closed it."""


class Unroutable(Exception):
    """A mandatory message that no queue took."""


class Refused(Exception):
    """The broker could not keep a message (Basic.Nack)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message from the broker."""

    channel: "Channel"
    delivery_tag: int
    routing_key: str
    properties: Properties
    body: bytes


Consumer = Callable[[Delivery], None]


class Channel:
    """One channel. Made by `AmqpConnection.channel`."""

    def __init__(self, connection: "AmqpConnection", number: int) -> None:
        self._connection = connection
        self._number = number
        self._answers: deque[asyncio.Future[Any]] = deque()
        self._consumers: dict[str, Consumer] = {}
        self._head: wire.Delivered | wire.Returned | None = None
        self._content: wire.Content | None = None
        self._body: list[bytes] = []
        self._missing = 0
        self._published = 0
        self._unconfirmed: dict[int, tuple[asyncio.Future[None], str]] = {}

    # -- saying --------------------------------------------------------------------------------

    def send(self, exchange: str, routing_key: str, properties: Properties, body: bytes) -> None:
        """Publishes without a confirm.

        Raises:
            Closed: the connection is over.
        """
        self._write(exchange, routing_key, properties, body, mandatory=False)

    def publish(
        self,
        exchange: str,
        routing_key: str,
        properties: Properties,
        body: bytes,
        *,
        mandatory: bool = False,
    ) -> "asyncio.Future[None]":
        """Publishes on a channel with confirms. The future ends when the broker has the message safe.

        Raises:
            Closed: the connection is over; so may the future.
            Unroutable, Refused: through the future.
        """
        self._write(exchange, routing_key, properties, body, mandatory=mandatory)
        self._published += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unconfirmed[self._published] = (future, properties.message_id)
        return future

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Acks a delivery, with `multiple` all up to it.

        Raises:
            Closed: the connection is over.
        """
        self._connection.write(wire.ack(self._number, delivery_tag, multiple=multiple))

    def _write(
        self,
        exchange: str,
        routing_key: str,
        properties: Properties,
        body: bytes,
        *,
        mandatory: bool,
    ) -> None:
        frames = wire.publish(
            self._number,
            exchange,
            routing_key,
            properties,
            body,
            mandatory=mandatory,
            frame_max=self._connection.frame_max,
        )
        self._connection.write(frames)

    # -- arranging -----------------------------------------------------------------------------

    async def call(self, method: Any) -> Any:
        """Sends a synchronous method and returns the broker's answer."""
        self._connection.write(pamqp_frame.marshal(method, self._number))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers.append(future)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await future

    async def declare_exchange(self, name: str, kind: str) -> None:
        """Declares a durable exchange."""
        await self.call(commands.Exchange.Declare(exchange=name, exchange_type=kind, durable=True))

    async def declare_queue(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Declares a durable queue."""
        declare = commands.Queue.Declare(queue=name, durable=True, arguments=arguments or {})
        await self.call(declare)

    async def declare_own_queue(self) -> str:
        """Declares a queue that lives and dies with this connection; returns its name."""
        declared = await self.call(commands.Queue.Declare(exclusive=True, auto_delete=True))
        return str(declared.queue)

    async def bind(self, queue: str, exchange: str, routing_key: str = "") -> None:
        """Binds a queue to an exchange."""
        bind = commands.Queue.Bind(queue=queue, exchange=exchange, routing_key=routing_key)
        await self.call(bind)

    async def delete_queue(self, name: str) -> None:
        """Deletes a queue with all that it holds."""
        await self.call(commands.Queue.Delete(queue=name))

    async def prefetch(self, count: int) -> None:
        """Bounds the unacked deliveries of each consumer that begins after this."""
        await self.call(commands.Basic.Qos(prefetch_count=count))

    async def consume(
        self,
        queue: str,
        consumer: Consumer,
        *,
        no_ack: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Begins to consume. Deliveries may come before this returns."""
        tag = f"{self._number}.{len(self._consumers)}"
        self._consumers[tag] = consumer
        await self.call(
            commands.Basic.Consume(
                queue=queue, consumer_tag=tag, no_ack=no_ack, arguments=arguments or {}
            )
        )

    # -- hearing -------------------------------------------------------------------------------

    def hear(self, frame: wire.Frame) -> None:
        """Takes a frame of this channel."""
        match frame:
            case bytes():
                self._hear_body(frame)
            case wire.Delivered() | wire.Returned():
                self._head = frame
            case wire.Content():
                self._content, self._missing = frame, frame.size
                self._finish_content()
            case wire.Confirmed():
                self._confirm(frame)
            case commands.Channel.Close():
                self._connection.fail(f"{frame.reply_code} {frame.reply_text}")
            case commands.Basic.Cancel():
                self._connection.fail("the broker cancelled a consumer")
            case _ if self._answers:
                answer = self._answers.popleft()
                if not answer.done():
                    answer.set_result(frame)

    def end(self, error: Exception) -> None:
        """The connection is over: whoever waits hears of it."""
        waiting = [*self._answers, *(future for future, _ in self._unconfirmed.values())]
        self._answers.clear()
        self._unconfirmed.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                # Not everybody looks at every confirm.
                future.exception()

    def _hear_body(self, piece: bytes) -> None:
        self._body.append(piece)
        self._missing -= len(piece)
        self._finish_content()

    def _finish_content(self) -> None:
        if self._missing > 0 or self._content is None:
            return
        head, content, body = self._head, self._content, b"".join(self._body)
        self._head, self._content, self._body = None, None, []
        if isinstance(head, wire.Delivered):
            consumer = self._consumers[head.consumer_tag]
            consumer(Delivery(self, head.delivery_tag, head.routing_key, content.properties, body))
        elif isinstance(head, wire.Returned):
            self._return(content.properties.message_id, head.routing_key)

    def _return(self, message_id: str, routing_key: str) -> None:
        for future, published in self._unconfirmed.values():
            if published == message_id and not future.done():
                future.set_exception(Unroutable(routing_key))
                future.exception()
                return

    def _confirm(self, confirmed: wire.Confirmed) -> None:
        tags = [confirmed.delivery_tag]
        if confirmed.multiple:
            tags = [tag for tag in self._unconfirmed if tag <= confirmed.delivery_tag]
        for tag in tags:
            future, _ = self._unconfirmed.pop(tag, (None, ""))
            if future is None or future.done():
                continue
            if confirmed.refused:
                future.set_exception(Refused())
            else:
                future.set_result(None)


class AmqpConnection(asyncio.Protocol):
    """A connection to RabbitMQ. `connect` makes one."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.frame_max = FRAME_MAX
        self._reader = wire.Reader()
        self._transport: asyncio.Transport | None = None
        self._zero = Channel(self, 0)
        self._channels: dict[int, Channel] = {0: self._zero}
        self._out: list[bytes] = []
        self._heartbeat = 0.0
        self._heard = False
        self._silent = 0
        self._beat: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    # -- life ----------------------------------------------------------------------------------

    async def open(self, user: str, password: str, virtual_host: str, name: str, beat: int) -> None:
        """The handshake (AMQP 0-9-1 section 2.2.4)."""
        start: asyncio.Future[Any] = self._loop.create_future()
        self._zero._answers.append(start)
        self.write(ProtocolHeader().marshal())
        await start
        tune = await self._zero.call(
            commands.Connection.StartOk(
                client_properties={
                    "product": "Evercall",
                    "connection_name": name,
                    "capabilities": {
                        "publisher_confirms": True,
                        "basic.nack": True,
                        "consumer_cancel_notify": True,
                    },
                },
                response=f"\0{user}\0{password}",
            )
        )
        self.frame_max = min(tune.frame_max or FRAME_MAX, FRAME_MAX)
        self._heartbeat = min(tune.heartbeat or beat, beat) / 2
        tune_ok = commands.Connection.TuneOk(
            channel_max=tune.channel_max, frame_max=self.frame_max, heartbeat=beat
        )
        self.write(pamqp_frame.marshal(tune_ok, 0))
        await self._zero.call(commands.Connection.Open(virtual_host=virtual_host))
        self._beat = self._loop.call_later(self._heartbeat, self._on_beat)

    async def channel(self, *, confirms: bool = False) -> Channel:
        """Opens a channel."""
        number = len(self._channels)
        channel = Channel(self, number)
        self._channels[number] = channel
        await channel.call(commands.Channel.Open())
        if confirms:
            await channel.call(commands.Confirm.Select())
        return channel

    async def close(self) -> None:
        """Takes leave of the broker; ends the connection whatever it says."""
        if self.ended.is_set():
            return
        try:
            async with asyncio.timeout(1.0):
                await self._zero.call(commands.Connection.Close(200, "bye", 0, 0))
        except (OSError, TimeoutError):
            pass
        self.fail("closed by us")

    def fail(self, reason: str) -> None:
        """Ends the connection at once."""
        if self._beat is not None:
            self._beat.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        for channel in self._channels.values():
            channel.end(Closed(reason))

    def _on_beat(self) -> None:
        # Two intervals of half the negotiated time without a byte: the peer is gone (section 4.2.7).
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        if self._silent > 4:
            self.fail("the broker is silent")
            return
        if not self.ended.is_set():
            self.write(wire.HEARTBEAT_FRAME)
            self._beat = self._loop.call_later(self._heartbeat, self._on_beat)

    # -- bytes ---------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queues bytes; all of one turn of the loop leave together.

        Raises:
            Closed: the connection is over.
        """
        if self.ended.is_set():
            raise Closed("the connection is over")
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection was lost: {exc}")

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for number, frame in self._reader.feed(data):
                if number == 0 and isinstance(frame, commands.Connection.Close):
                    self.fail(f"{frame.reply_code} {frame.reply_text}")
                    return
                if frame is not None and number in self._channels:
                    self._channels[number].hear(frame)
        except wire.WireError as error:
            self.fail(str(error))


async def connect(url: str, name: str, heartbeat: int) -> AmqpConnection:
    """Connects to `amqp://user:password@host:port/vhost` (`amqps` for TLS).

    Raises:
        OSError: it can't be reached, or refuses us.
    """
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "amqps" else None
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        AmqpConnection,
        parts.hostname or "127.0.0.1",
        parts.port or (5671 if secure else 5672),
        ssl=secure,
    )
    try:
        await connection.open(
            unquote(parts.username or "guest"),
            unquote(parts.password or ""),
            unquote(parts.path[1:]) or "/",
            name,
            heartbeat,
        )
    except BaseException:
        connection.fail("the handshake failed")
        raise
    return connection
