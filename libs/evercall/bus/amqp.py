"""One AMQP connection and its channels: the IO around `wire`.

What is written within one turn of the event loop leaves in one write, and a delivery is a plain call: no task, no
stream, no lock per message. That is why it exists (docs/decisions/0005).

A connection that ends is over, with all its channels: whoever used it opens a new one (`connection`).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

from pamqp import commands
from pamqp import frame as pamqp_frame
from pamqp.header import ProtocolHeader

from evercall.bus import wire
from evercall.bus.address import Address, Host, Tls
from evercall.bus.wire import Properties
from evercall.service.errors import InvalidRequest, TooLarge

FRAME_MAX = 131_072
LARGEST_BODY = 8 << 20
"""Bytes of a message. RabbitMQ refuses more than 16 MiB (`max_message_size`), and ends the channel over it."""
MOST_UNSENT = 16 << 20
"""Bytes that may wait for the socket; above it a message is refused instead of kept."""
MOST_UNCONFIRMED = 20_000
"""Messages of a channel that may wait for their confirms."""
PAUSE_ABOVE, RESUME_BELOW = 1 << 20, 1 << 18
"""Bytes unsent at which a connection counts as congested, and as free again."""
ANSWER_TIMEOUT = 10.0
"""Seconds that the broker may take to answer a declaration."""


class Closed(ConnectionError):
    """The connection is over, or the broker closed it."""


class Congested(ConnectionError):
    """The broker is there, but takes no messages now: an alarm of its own, or it is too slow."""


class Declined(Exception):
    """The broker refused a declaration and closed the channel; the connection goes on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


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
        self._over = False

    @property
    def open(self) -> bool:
        """Whether anything can still be said on it."""
        return not self._over and not self._connection.ended.is_set()

    # -- saying --------------------------------------------------------------------------------

    def send(self, exchange: str, routing_key: str, properties: Properties, body: bytes) -> None:
        """Publishes without a confirm.

        Raises:
            Closed: the connection is over.
            Congested: the broker takes no messages now.
            TooLarge, InvalidRequest: it is no message that a broker could take.
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
            Congested: the broker takes no messages now, or confirms none.
            TooLarge, InvalidRequest: it is no message that a broker could take.
            Unroutable, Refused: through the future.
        """
        if len(self._unconfirmed) >= MOST_UNCONFIRMED:
            self._forget_given_up()
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
        self._say(wire.ack(self._number, delivery_tag, multiple=multiple))

    @property
    def full(self) -> bool:
        """Whether much waits for the socket."""
        return self._connection.full

    async def room(self) -> None:
        """Returns when little waits for the socket.

        Raises:
            Closed: the connection is over.
        """
        await self._connection.room()

    def _say(self, data: bytes) -> None:
        if self._over:
            raise Closed("the channel is over")
        self._connection.write(data)

    def _forget_given_up(self) -> None:
        """Confirms that nobody waits for any more. Those that are left are too many for a broker that is well."""
        waiting = {tag: pair for tag, pair in self._unconfirmed.items() if not pair[0].done()}
        self._unconfirmed = waiting
        if len(waiting) >= MOST_UNCONFIRMED:
            raise Congested("too many messages are not confirmed")

    def _write(
        self,
        exchange: str,
        routing_key: str,
        properties: Properties,
        body: bytes,
        *,
        mandatory: bool,
    ) -> None:
        if len(body) > LARGEST_BODY:
            raise TooLarge(
                "message_too_large",
                "The message is larger than the broker may be given",
                details={"size": len(body), "most": LARGEST_BODY},
            )
        self._connection.check_room()
        try:
            frames = wire.publish(
                self._number,
                exchange,
                routing_key,
                properties,
                body,
                mandatory=mandatory,
                frame_max=self._connection.frame_max,
            )
        except wire.TooLong as error:
            raise InvalidRequest(
                "message_header_too_long",
                "A routing key or property of a message has more than 255 bytes",
                details={"text": str(error)[:64]},
            ) from None
        self._say(frames)

    # -- arranging -----------------------------------------------------------------------------

    async def call(self, method: Any) -> Any:
        """Sends a synchronous method and returns the broker's answer.

        Raises:
            Closed: the connection is over.
            Declined: the broker refuses it; the channel is over.
            TimeoutError: no answer came.
        """
        self._say(pamqp_frame.marshal(method, self._number))
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

    async def delete_idle_queue(self, name: str) -> None:
        """Deletes a classic queue that is empty and that nobody consumes.

        Raises:
            Declined: it is not.
        """
        await self.call(commands.Queue.Delete(queue=name, if_unused=True, if_empty=True))

    async def close(self) -> None:
        """Gives the channel up."""
        await self.call(commands.Channel.Close(200, "done", 0, 0))
        self._over = True
        self._connection.forget(self._number)

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
                self._closed(frame)
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

    def _closed(self, frame: commands.Channel.Close) -> None:
        """A declaration that is refused costs the channel only. With anything else there are messages that
        would be in nobody's hands: a new session puts that in order."""
        if self._consumers or self._unconfirmed or not self._answers:
            self._connection.fail(f"{frame.reply_code} {frame.reply_text}")
            return
        self._connection.write(pamqp_frame.marshal(commands.Channel.CloseOk(), self._number))
        self._over = True
        self._connection.forget(self._number)
        self.end(Declined(frame.reply_code or 0, frame.reply_text))

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
            last = confirmed.delivery_tag
            tags = list(takewhile(lambda tag: tag <= last, self._unconfirmed))
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
        self._out_size = 0
        self._paused = False
        self._room = asyncio.Event()
        self._room.set()
        self._blocked = ""
        self._on_end: list[Callable[[], None]] = []
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
                        "connection.blocked": True,
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
        number = next(free for free in count(1) if free not in self._channels)
        channel = Channel(self, number)
        self._channels[number] = channel
        await channel.call(commands.Channel.Open())
        if confirms:
            await channel.call(commands.Confirm.Select())
        return channel

    def forget(self, number: int) -> None:
        """The number of a channel that is over may be used again."""
        self._channels.pop(number, None)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Runs `callback` once, when the connection is over."""
        self._on_end.append(callback)

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
        self._room.set()
        for channel in self._channels.values():
            channel.end(Closed(reason))
        for callback in self._on_end:
            callback()

    def _on_beat(self) -> None:
        # The broker says something twice in the negotiated time. Twice that time without a byte: it is gone
        # (section 4.2.7).
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        if self._silent >= 4:
            self.fail("the broker is silent")
            return
        if not self.ended.is_set():
            self.write(wire.HEARTBEAT_FRAME)
            self._beat = self._loop.call_later(self._heartbeat, self._on_beat)

    # -- room ----------------------------------------------------------------------------------

    @property
    def blocked(self) -> str:
        """Why the broker takes no messages from here (its words, such as "low on memory"); empty when it does."""
        return self._blocked

    @property
    def congested(self) -> bool:
        """Whether it is better to send no more for now."""
        return self._paused or bool(self._blocked)

    @property
    def full(self) -> bool:
        """Whether much waits for the socket."""
        return self._paused or self._out_size > PAUSE_ABOVE

    def check_room(self) -> None:
        """Called before a message is written.

        Raises:
            Congested: it would only wait, here or in the kernel. RabbitMQ reads nothing from a connection
                that publishes while an alarm is on, and messages that expire are not to be kept for later.
        """
        if self._blocked:
            raise Congested(self._blocked)
        if self._out_size > MOST_UNSENT or (self._paused and self._unsent() > MOST_UNSENT):
            raise Congested("the broker is too slow")

    async def room(self) -> None:
        """Returns when little waits for the socket.

        Raises:
            Closed: the connection is over.
        """
        # What was written in this turn of the loop leaves first.
        await asyncio.sleep(0)
        await self._room.wait()
        if self.ended.is_set():
            raise Closed("the connection is over")

    def _unsent(self) -> int:
        return self._out_size + (self._transport.get_write_buffer_size() if self._transport else 0)

    def pause_writing(self) -> None:
        self._paused = True
        self._room.clear()

    def resume_writing(self) -> None:
        self._paused = False
        self._room.set()

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
        self._out_size += len(data)

    def _flush(self) -> None:
        out, self._out, self._out_size = self._out, [], 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        transport.set_write_buffer_limits(PAUSE_ABOVE, RESUME_BELOW)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection was lost: {exc}")

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for number, frame in self._reader.feed(data):
                if number == 0 and self._hear(frame):
                    continue
                if self.ended.is_set():
                    return
                if frame is not None and number in self._channels:
                    self._channels[number].hear(frame)
        except wire.WireError as error:
            self.fail(str(error))

    def _hear(self, frame: wire.Frame) -> bool:
        """What the broker says of the connection itself; False for what is an answer."""
        match frame:
            case commands.Connection.Blocked():
                self._blocked = frame.reason or "low on resources"
            case commands.Connection.Unblocked():
                self._blocked = ""
            case commands.Connection.Close():
                self.fail(f"{frame.reply_code} {frame.reply_text}")
            case _:
                return frame is None
        return True


async def connect(
    address: Address, host: Host, name: str, heartbeat: int, tls: Tls | None = None
) -> AmqpConnection:
    """Connects to one host of an address.

    Raises:
        OSError: it can't be reached, is not whom it should be, or refuses us.
    """
    tls = tls or Tls()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        AmqpConnection,
        host.name,
        host.port,
        ssl=tls.context() if address.secure else None,
        server_hostname=(tls.server_name or host.name) if address.secure else None,
    )
    try:
        await connection.open(address.user, address.password, address.virtual_host, name, heartbeat)
    except BaseException:
        connection.fail("the handshake failed")
        raise
    return connection
