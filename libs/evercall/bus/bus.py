"""The bus as services see it: ask, tell, serve, events, heartbeats.

Everything here outlives the broker's restarts, alarms and slow hours. What a caller can't have meanwhile is
`Unavailable`, at once and not after a time-out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, Union
from uuid import UUID

import msgspec
from prometheus_client import Counter, Gauge

from evercall.bus import topology
from evercall.bus.address import Tls
from evercall.bus.amqp import (
    LARGEST_BODY,
    Channel,
    Closed,
    Congested,
    Delivery,
    Refused,
    Unroutable,
)
from evercall.bus.calls import OpenRequests, unreadable_answer
from evercall.bus.connection import BROKER_ERRORS, Connection, Session, Setup
from evercall.bus.envelope import (
    ANSWER,
    ERROR,
    UNREADABLE,
    Incoming,
    Origin,
    answer_decoder,
    decode_error,
    encode,
    error_body,
    properties,
    tag_of,
)
from evercall.bus.wire import Properties
from evercall.contracts.base import Message, Request, ResourceEvent
from evercall.contracts.ids import shard_of
from evercall.service import errors
from evercall.service.identity import new_id
from evercall.service.logging import get_logger

A = TypeVar("A")
Handler = Callable[[Any], Awaitable[msgspec.Struct]]

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
PUBLISH_TIMEOUT = 5.0
PROBE_ID = "probe"
PROBE_INTERVAL = 2.0
PROBE_TIMEOUT = 3.0
MOST_PROBES_MISSED = 2
"""Probes without a confirm after which another node is tried: within ten seconds."""
RETRY_DELAY = 0.2
FIRST_AGAIN, LAST_AGAIN = 0.1, 10.0
"""Seconds until a durable event is given to its handler again."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that is ready to be published."""

    exchange: str
    routing_key: str
    properties: Properties
    body: bytes


log = get_logger(__name__)

REQUESTS = Counter("evercall_bus_requests_total", "Requests handled", ["type", "result"])
FAILURES = Counter("evercall_bus_failures_total", "Messages whose handler failed", ["type"])
UNSENT = Counter(
    "evercall_bus_unsent_total", "Messages that the broker had no queue for, or refused"
)
CONGESTED = Gauge("evercall_bus_congested", "1 while the broker is there, but takes no messages")
LEFT = Counter("evercall_bus_nodes_left_total", "Sessions ended because the node confirmed nothing")


class Bus:
    """One session with the broker, and what goes over it."""

    def __init__(self, url: str, name: str, shards: int = 8, tls: Tls | None = None) -> None:
        """
        Raises:
            ValueError: the URL is none.
        """
        self._connection = Connection(url, name, tls)
        self._connection.on_lost(self._fail_open_requests)
        self._shards = shards
        self._open = OpenRequests()
        self._tasks: set[asyncio.Task[None]] = set()
        self._confirmed: Channel | None = None
        self._fast: Channel | None = None
        self._missed_probes = 0

    # -- life ----------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._connection.connected

    @property
    def blocked(self) -> bool:
        """Whether the broker is there, but takes or confirms no messages: an alarm, a node cut off from its
        cluster, a network or disk that is too slow. Who works off a backlog takes no more of it meanwhile;
        what is published is refused (`Unavailable`)."""
        session = self._connection.session
        return session is not None and (session.publishing.congested or self._missed_probes > 0)

    async def wait_connected(self, seconds: float) -> bool:
        """Waits for the broker, at most so long; returns whether it is there."""
        try:
            async with asyncio.timeout(seconds):
                await self._connection.ready.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Keeps the connection until `close`."""
        await self._connection.add(self._setup)
        await self._connection.add(_declare_probe)
        CONGESTED.set_function(lambda: float(self.blocked))
        watch = asyncio.ensure_future(self._watch())
        try:
            await self._connection.run()
        finally:
            watch.cancel()

    async def close(self) -> None:
        """Leaves the broker."""
        await self._connection.close()

    async def on_connected(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Runs `callback` whenever a session begins, after the parts that were attached before it.
        It must not publish: the session counts as connected only when all parts are set up."""

        async def setup(_: Session) -> None:
            await callback()

        await self.attach(setup)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Runs `callback` whenever a session ends."""
        self._connection.on_lost(callback)

    async def attach(self, setup: Setup) -> None:
        """Registers a part of every session (the engine's own consumers). It runs on the connection that
        consumes. When the broker refuses a declaration of its (`Declined`) it is run again after a while, on
        the same session; other errors end the session."""
        await self._connection.add(setup)

    async def _setup(self, session: Session) -> None:
        self._confirmed = await session.publishing.channel(confirms=True)
        self._fast = await session.publishing.channel()
        self._missed_probes = 0
        await topology.declare(self._fast)
        # Direct reply-to works on the channel that asks. Deliveries come even while the broker reads nothing.
        await self._confirmed.consume(DIRECT_REPLY_TO, self._answered, no_ack=True)

    async def _watch(self) -> None:
        """Knows whether the broker takes messages, also of a process that has none to send."""
        while True:
            await asyncio.sleep(PROBE_INTERVAL)
            channel, session = self._confirmed, self._connection.session
            if channel is None or session is None:
                continue
            confirmed = await _probe(channel)
            if session.ended.is_set() or session.publishing.blocked:
                continue
            self._missed_probes = 0 if confirmed else self._missed_probes + 1
            if self._missed_probes >= MOST_PROBES_MISSED and self._connection.has_other_hosts:
                LEFT.inc()
                log.warning("bus_node_left", host=session.host.name, reason="confirms nothing")
                await session.close()

    # -- saying --------------------------------------------------------------------------------

    async def ask(
        self,
        service: str,
        request: Request[A],
        *,
        actor: UUID | None = None,
        timeout: float = 5.0,
    ) -> A:
        """Sends a request and waits for its answer.

        Args:
            service: the service that answers.
            request: what is asked.
            actor: routes the request to the shard of this actor.
            timeout: seconds to wait; the request expires on the broker after the same time.

        Raises:
            PlatformError: what the service answered; `Unavailable` when broker or service is away;
                `DeadlineExceeded` when no answer came.
        """
        key = service if actor is None else topology.shard_key(service, self._shard(actor))
        correlation = new_id().hex
        future = self._open.open(correlation, answer_decoder(type(request)).decode)
        headers = properties(
            tag_of(request),
            message_id=correlation,
            origin=Origin(DIRECT_REPLY_TO, correlation),
            expires=timedelta(seconds=timeout),
        )
        try:
            async with asyncio.timeout(timeout):
                await self._publish(topology.RPC, key, encode(request), headers)
                answer: A = await future
        except TimeoutError:
            raise errors.DeadlineExceeded(
                "request_timeout", "No answer in time", details={"service": service}
            ) from None
        finally:
            future.cancel()
        return answer

    async def tell(self, service: str, actor: UUID, message: Message) -> None:
        """Sends a one-way message to an actor; returns when the broker has it safe."""
        await self.publish(topology.shard_key(service, self._shard(actor)), message)

    async def publish(
        self, routing_key: str, message: Message, *, message_id: UUID | None = None
    ) -> None:
        """Publishes to `evercall.rpc`; returns when the broker has it safe.

        Raises:
            Unavailable: the broker is away or takes nothing now, or nobody ever declared such a queue. Without a
                confirm in time the message may arrive all the same.
        """
        identifier = message_id or new_id()
        headers = properties(tag_of(message), message_id=identifier.hex)
        await self._publish(topology.RPC, routing_key, encode(message), headers)

    async def publish_event(
        self, resource: str, event: str, customer_id: UUID, body: msgspec.Struct
    ) -> None:
        """Publishes a domain event for services without actors."""
        identifier = new_id()
        content = ResourceEvent(
            id=identifier,
            type=f"{resource}_{event}",
            customer_id=customer_id,
            resource_id=body.id,  # type: ignore[attr-defined]
            at=datetime.now(UTC),
            resource=msgspec.Raw(encode(body)),
        )
        headers = properties(content.type, message_id=identifier.hex)
        key = f"{customer_id}.{resource}.{event}"
        await self._publish(topology.EVENTS, key, encode(content), headers, mandatory=False)

    async def publish_farm(self, key: str, message: Message) -> None:
        """Publishes a heartbeat; one that can't be sent is not worth keeping."""
        headers = properties(tag_of(message), message_id=new_id().hex, persistent=False)
        await self.send(topology.FARM, key, encode(message), headers)

    async def publish_all(self, letters: Sequence[Letter]) -> bool:
        """Publishes what the outbox holds, in order; returns whether the broker has all of it safe. Not all:
        some may be, and come twice when they are published again. One above `LARGEST_BODY` never is."""
        channel = self._confirmed
        if channel is None or not self.connected or not letters:
            return not letters
        confirms: list[asyncio.Future[None]] = []
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                for letter in letters:
                    if channel.full:
                        await channel.room()
                    confirms.append(_publish_letter(channel, letter))
                await asyncio.wait(confirms)
        except BROKER_ERRORS:
            return False
        except errors.PlatformError as error:
            log.error("message_refused", code=error.code, details=error.details)
            return False
        finally:
            for confirm in confirms:
                confirm.cancel()
        return not any(confirm.exception() for confirm in confirms)

    async def send(
        self,
        exchange: str,
        key: str,
        body: bytes,
        headers: Properties,
        *,
        on_unsent: Callable[[], None] | None = None,
    ) -> None:
        """Publishes without waiting for a confirm: for what is repeated when it is lost.

        Args:
            exchange: where to.
            key: the routing key.
            body: the message.
            headers: its properties.
            on_unsent: called when no queue takes the message, or its queue refuses it: so that it is
                repeated at once and not when its time is over. Costs a confirm. Not called when the session
                ends (`on_lost`).

        Raises:
            Unavailable: the broker is away, or takes nothing now.
            TooLarge: the body is above `LARGEST_BODY`.
        """
        channel = self._fast if on_unsent is None else self._confirmed
        if channel is None or not self.connected:
            raise _broker_unavailable()
        try:
            if on_unsent is None:
                channel.send(exchange, key, headers, body)
                return
            confirm = channel.publish(exchange, key, headers, body, mandatory=True)
        except BROKER_ERRORS as error:
            raise _no_broker(error) from error
        confirm.add_done_callback(partial(_note_unsent, key, on_unsent))

    async def reply(self, origin: Origin, body: bytes, *, error: bool = False) -> None:
        """Answers a request. Not mandatory: who no longer waits needs no answer. In the place of an answer
        above `LARGEST_BODY` goes an error.

        Raises:
            Unavailable: the broker is away, or takes nothing now.
        """
        if len(body) > LARGEST_BODY:
            log.error("answer_too_large", size=len(body))
            fault = errors.Internal("answer_too_large", "The answer is too large to be sent")
            body, error = error_body(fault), True
        direct = origin.reply_to.startswith("amq.")
        headers = properties(
            ERROR if error else ANSWER,
            message_id=new_id().hex,
            correlation_id=origin.correlation_id,
            persistent=not direct,
        )
        await self.send("" if direct else topology.RPC, origin.reply_to, body, headers)

    async def _publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        headers: Properties,
        *,
        mandatory: bool = True,
    ) -> None:
        channel = self._confirmed
        if channel is None or not self.connected:
            raise _broker_unavailable()
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await channel.publish(exchange, key, headers, body, mandatory=mandatory)
        except TimeoutError:
            raise errors.Unavailable(
                "broker_blocked", "The message broker has not confirmed the message in time"
            ) from None
        except Unroutable:
            raise errors.Unavailable(
                "service_unavailable", "Nobody serves this now", details={"service": key}
            ) from None
        except BROKER_ERRORS as error:
            raise _no_broker(error) from error

    def _shard(self, actor: UUID) -> int:
        return shard_of(actor, self._shards)

    def _answered(self, delivery: Delivery) -> None:
        incoming = Incoming.of(delivery)
        correlation = incoming.correlation_id or ""
        if incoming.type == ERROR:
            self._open.fail(correlation, _error_of(incoming.body))
            return
        self._open.answer(correlation, incoming.body)

    def _fail_open_requests(self) -> None:
        self._open.fail_all(_broker_unavailable)

    # -- hearing -------------------------------------------------------------------------------

    async def serve(
        self,
        service: str,
        handlers: Mapping[type[Request[Any]], Handler],
        *,
        prefetch: int = 64,
        own: bool = False,
    ) -> None:
        """Answers requests to a service; replicas compete for them. `own`: the queue is this process's alone
        and ends with its session."""
        decoder = msgspec.json.Decoder(Union[tuple(handlers)])  # noqa: UP007

        async def setup(session: Session) -> None:
            channel, queue = await _serving(session, service, own=own)
            await channel.bind(queue, topology.RPC, service)
            await channel.prefetch(prefetch)

            def hear(delivery: Delivery) -> None:
                self._start(self._serve_one(decoder.decode, handlers, delivery))

            await channel.consume(queue, hear)

        await self.attach(setup)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(
        self,
        decode: Callable[[bytes], Any],
        handlers: Mapping[type[Request[Any]], Handler],
        delivery: Delivery,
    ) -> None:
        incoming = Incoming.of(delivery)
        body, error = await _answer(incoming, decode, handlers)
        REQUESTS.labels(incoming.type, "error" if error else "ok").inc()
        if incoming.origin is not None:
            await self._reply_in_time(incoming.origin, body, error, delivery.channel)
        try:
            delivery.channel.ack(delivery.delivery_tag)
        except BROKER_ERRORS:
            log.debug("answer_not_sent", type=incoming.type)

    async def _reply_in_time(
        self, origin: Origin, body: bytes, error: bool, channel: Channel
    ) -> None:
        """Answers when the broker takes messages. Until then the request is unacked, so those that wait
        are bounded; on another session it comes again."""
        while channel.open:
            try:
                await self.reply(origin, body, error=error)
            except errors.Unavailable:
                await asyncio.sleep(RETRY_DELAY)
            else:
                return

    async def subscribe_events(
        self,
        keys: Sequence[str],
        handler: Callable[[ResourceEvent], Awaitable[None]],
        *,
        queue: str | None = None,
    ) -> None:
        """Hears domain events. Without a queue name every replica hears all, from now on only, and an event
        whose handler fails is gone. With one, replicas share a durable queue, and a handler that fails gets
        the event again, with back-off, until it returns: the handler decides what is given up."""
        decode = msgspec.json.Decoder(ResourceEvent).decode
        await self.attach(partial(self._hear, topology.EVENTS, keys, decode, handler, queue))

    async def subscribe_farm(
        self,
        keys: Sequence[str],
        types: tuple[type[Message], ...],
        handler: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Hears heartbeats of the farm."""
        decode = msgspec.json.Decoder(Union[types]).decode  # noqa: UP007
        await self.attach(partial(self._hear, topology.FARM, keys, decode, handler, None))

    async def _hear(
        self,
        exchange: str,
        keys: Sequence[str],
        decode: Callable[[bytes], Any],
        handler: Callable[[Any], Awaitable[None]],
        queue: str | None,
        session: Session,
    ) -> None:
        channel, name = await _listening(session, queue)
        for key in keys:
            await channel.bind(name, exchange, key)
        await channel.prefetch(64)

        async def hear(messages: list[Any]) -> None:
            for message in messages:
                delay = FIRST_AGAIN
                while not await _handled(message, handler) and queue is not None:
                    await _pause(session, delay)
                    delay = min(LAST_AGAIN, delay * 2)

        await self._work_off(session, channel, name, decode, hear)

    async def consume(
        self,
        queue_key: str,
        types: tuple[type[Message], ...],
        handler: Callable[[list[Any]], Awaitable[None]],
        *,
        prefetch: int = 64,
    ) -> None:
        """Consumes a durable queue of `evercall.rpc`: the handler gets all that has arrived, in order,
        and what it returned from is acked. After a failed handler the session starts anew."""
        decode = msgspec.json.Decoder(Union[types]).decode  # noqa: UP007

        async def setup(session: Session) -> None:
            arguments = topology.SERVICE_ARGUMENTS
            channel = await topology.declare_durable(session, queue_key, arguments)
            await channel.bind(queue_key, topology.RPC, queue_key)
            await channel.prefetch(prefetch)
            await self._work_off(session, channel, queue_key, decode, handler)

        await self.attach(setup)

    async def _work_off(
        self,
        session: Session,
        channel: Channel,
        queue: str,
        decode: Callable[[bytes], Any],
        handler: Callable[[list[Any]], Awaitable[None]],
    ) -> None:
        arrived: asyncio.Queue[Delivery] = asyncio.Queue()
        self._start(_work_off(session, arrived, partial(self._decode_all, decode=decode), handler))
        await channel.consume(queue, arrived.put_nowait)

    async def _decode_all(self, batch: list[Delivery], decode: Callable[[bytes], Any]) -> list[Any]:
        """What can be read. Who asked something else, and waits, gets an error."""
        messages = []
        for delivery in batch:
            try:
                messages.append(decode(delivery.body))
            except UNREADABLE as error:
                FAILURES.labels(delivery.properties.type).inc()
                log.exception("message_not_understood", routing_key=delivery.routing_key)
                await self._refuse(Incoming.of(delivery).origin, error, delivery.channel)
        return messages

    async def _refuse(self, origin: Origin | None, error: Exception, channel: Channel) -> None:
        if origin is not None:
            body = error_body(_not_understood(error))
            await self._reply_in_time(origin, body, error=True, channel=channel)


async def _serving(session: Session, service: str, *, own: bool) -> tuple[Channel, str]:
    if not own:
        arguments = topology.SERVICE_ARGUMENTS
        return await topology.declare_durable(session, service, arguments), service
    channel = await session.channel()
    return channel, await channel.declare_own_queue()


async def _listening(session: Session, queue: str | None) -> tuple[Channel, str]:
    if queue is not None:
        arguments = topology.SERVICE_ARGUMENTS
        return await topology.declare_durable(session, queue, arguments), queue
    channel = await session.channel()
    return channel, await channel.declare_own_queue()


async def _declare_probe(session: Session) -> None:
    channel = await topology.declare_durable(session, topology.PROBE, topology.PROBE_ARGUMENTS)
    await channel.close()


async def _probe(channel: Channel) -> bool:
    """Whether the broker confirms a message within the time."""
    headers = properties("probe", message_id=PROBE_ID, persistent=False)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            await channel.publish("", topology.PROBE, headers, b"")
    except BROKER_ERRORS:
        return False
    return True


def _publish_letter(channel: Channel, letter: Letter) -> "asyncio.Future[None]":
    return channel.publish(letter.exchange, letter.routing_key, letter.properties, letter.body)


def _note_unsent(key: str, on_unsent: Callable[[], None], confirm: "asyncio.Future[None]") -> None:
    if confirm.cancelled() or not isinstance(confirm.exception(), Unroutable | Refused):
        return
    UNSENT.inc()
    log.warning("message_unsent", routing_key=key, reason=type(confirm.exception()).__name__)
    on_unsent()


async def _handled(message: Any, handler: Callable[[Any], Awaitable[None]]) -> bool:
    try:
        await handler(message)
    except Exception:
        FAILURES.labels(type(message).__name__).inc()
        log.exception("event_handler_failed")
        return False
    return True


async def _pause(session: Session, seconds: float) -> None:
    """
    Raises:
        Closed: the session ended; what is not acked comes again.
    """
    try:
        async with asyncio.timeout(seconds):
            await session.ended.wait()
    except TimeoutError:
        return
    raise Closed("the session is over")


async def _work_off(
    session: Session,
    arrived: "asyncio.Queue[Delivery]",
    decode_all: Callable[[list[Delivery]], Awaitable[list[Any]]],
    handler: Callable[[list[Any]], Awaitable[None]],
) -> None:
    """Hands over all that has arrived, in order, and acks it; until the session ends."""
    ended = asyncio.ensure_future(session.ended.wait())
    try:
        while not session.ended.is_set():
            first = asyncio.ensure_future(arrived.get())
            await asyncio.wait((first, ended), return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                first.cancel()
                return
            batch = [first.result()]
            while not arrived.empty():
                batch.append(arrived.get_nowait())
            await handler(await decode_all(batch))
            batch[-1].channel.ack(batch[-1].delivery_tag, multiple=True)
    except BROKER_ERRORS:
        log.debug("consumer_interrupted")
    except Exception:
        log.exception("consumer_failed")
        await session.close()
    finally:
        ended.cancel()


async def _answer(
    incoming: Incoming,
    decode: Callable[[bytes], Any],
    handlers: Mapping[type[Request[Any]], Handler],
) -> tuple[bytes, bool]:
    try:
        request = decode(incoming.body)
        return encode(await handlers[type(request)](request)), False
    except errors.PlatformError as error:
        return error_body(error), True
    except UNREADABLE as error:
        return error_body(_not_understood(error)), True
    except Exception:
        FAILURES.labels(incoming.type).inc()
        log.exception("request_failed", type=incoming.type)
        return error_body(errors.Internal("internal", "The request failed")), True


def _broker_unavailable() -> errors.Unavailable:
    return errors.Unavailable("broker_unavailable", "The message broker is away")


def _no_broker(error: BaseException) -> errors.Unavailable:
    if isinstance(error, Congested):
        return errors.Unavailable("broker_blocked", "The message broker takes no messages now")
    return _broker_unavailable()


def _not_understood(error: Exception) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        "invalid_argument", "The request is not understood", details={"reason": str(error)}
    )


def _error_of(body: bytes) -> errors.PlatformError:
    try:
        return errors.from_data(decode_error(body))
    except UNREADABLE as error:
        return unreadable_answer(error)
