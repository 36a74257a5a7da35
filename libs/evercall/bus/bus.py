"""The bus as services see it: ask, tell, serve, events, heartbeats.

Everything here outlives the broker's restarts. What a caller can't have meanwhile is `Unavailable`,
at once and not after a time-out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, Union
from uuid import UUID

import msgspec
from prometheus_client import Counter

from evercall.bus import topology
from evercall.bus.amqp import Channel, Delivery, Unroutable
from evercall.bus.calls import OpenRequests
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


class Bus:
    """One connection to the broker, and what goes over it."""

    def __init__(self, url: str, name: str, shards: int = 8) -> None:
        self._connection = Connection(url, name)
        self._connection.on_lost(self._fail_open_requests)
        self._shards = shards
        self._open = OpenRequests()
        self._tasks: set[asyncio.Task[None]] = set()
        self._confirmed: Channel | None = None
        self._fast: Channel | None = None

    # -- life ----------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._connection.connected

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no messages for now."""
        return False

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
        await self._connection.run()

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
        """Registers a part of every session (the engine's own consumers)."""
        await self._connection.add(setup)

    async def _setup(self, session: Session) -> None:
        self._confirmed = await session.channel(confirms=True)
        self._fast = await session.channel()
        await topology.declare(self._fast)
        await self._confirmed.consume(DIRECT_REPLY_TO, self._answered, no_ack=True)

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
            Unavailable: the broker is away, or nobody ever declared such a queue.
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
        """Publishes what the outbox holds, in order; returns whether the broker has all of it safe."""
        channel = self._confirmed
        if channel is None or not self.connected or not letters:
            return not letters
        try:
            confirms = [
                channel.publish(letter.exchange, letter.routing_key, letter.properties, letter.body)
                for letter in letters
            ]
        except BROKER_ERRORS:
            return False
        done, _ = await asyncio.wait(confirms, timeout=PUBLISH_TIMEOUT)
        return len(done) == len(confirms) and not any(confirm.exception() for confirm in done)

    async def send(self, exchange: str, key: str, body: bytes, headers: Properties) -> None:
        """Publishes without a confirm: for what is repeated anyway when it is lost.

        Raises:
            Unavailable: the broker is away.
        """
        channel = self._fast
        if channel is None or not self.connected:
            raise _broker_unavailable()
        try:
            channel.send(exchange, key, headers, body)
        except BROKER_ERRORS as error:
            raise _broker_unavailable() from error

    async def reply(self, origin: Origin, body: bytes, *, error: bool = False) -> None:
        """Answers a request. Not mandatory: who no longer waits needs no answer."""
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
            raise
        except Unroutable:
            raise errors.Unavailable(
                "service_unavailable", "Nobody serves this now", details={"service": key}
            ) from None
        except BROKER_ERRORS as error:
            raise _broker_unavailable() from error

    def _shard(self, actor: UUID) -> int:
        return shard_of(actor, self._shards)

    def _answered(self, delivery: Delivery) -> None:
        incoming = Incoming.of(delivery)
        correlation = incoming.correlation_id or ""
        if incoming.type == ERROR:
            self._open.fail(correlation, errors.from_data(decode_error(incoming.body)))
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
        and ends with it."""
        decoder = msgspec.json.Decoder(Union[tuple(handlers)])  # noqa: UP007

        async def setup(session: Session) -> None:
            channel = await session.channel()
            arguments = topology.OWN_ARGUMENTS if own else topology.SERVICE_ARGUMENTS
            await topology.declare_queue(channel, service, arguments)
            await channel.prefetch(prefetch)

            def hear(delivery: Delivery) -> None:
                self._start(self._serve_one(decoder.decode, handlers, delivery))

            await channel.consume(service, hear)

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
        try:
            if incoming.origin is not None:
                await self.reply(incoming.origin, body, error=error)
            delivery.channel.ack(delivery.delivery_tag)
        except (errors.Unavailable, *BROKER_ERRORS):
            log.debug("answer_not_sent", type=incoming.type)

    async def subscribe_events(
        self,
        keys: Sequence[str],
        handler: Callable[[ResourceEvent], Awaitable[None]],
        *,
        queue: str | None = None,
    ) -> None:
        """Hears domain events. Without a queue name every replica hears all, from now on only;
        with one, replicas share a durable queue."""
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
        channel = await session.channel()
        name = queue or await channel.declare_own_queue()
        if queue is not None:
            await channel.declare_queue(queue, topology.SERVICE_ARGUMENTS)
        for key in keys:
            await channel.bind(name, exchange, key)
        await channel.prefetch(64)

        async def hear(messages: list[Any]) -> None:
            for message in messages:
                try:
                    await handler(message)
                except Exception:
                    FAILURES.labels(type(message).__name__).inc()
                    log.exception("event_handler_failed")

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
            channel = await session.channel()
            await topology.declare_queue(channel, queue_key, topology.SERVICE_ARGUMENTS)
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
        self._start(_work_off(session, arrived, decode, handler))
        await channel.consume(queue, arrived.put_nowait)


async def _work_off(
    session: Session,
    arrived: "asyncio.Queue[Delivery]",
    decode: Callable[[bytes], Any],
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
            await handler(_decode_all(batch, decode))
            batch[-1].channel.ack(batch[-1].delivery_tag, multiple=True)
    except BROKER_ERRORS:
        log.debug("consumer_interrupted")
    except Exception:
        log.exception("consumer_failed")
        await session.close()
    finally:
        ended.cancel()


def _decode_all(batch: list[Delivery], decode: Callable[[bytes], Any]) -> list[Any]:
    messages = []
    for message in batch:
        try:
            messages.append(decode(message.body))
        except UNREADABLE:
            FAILURES.labels(message.properties.type).inc()
            log.exception("message_not_understood", routing_key=message.routing_key)
    return messages


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
        refusal = errors.InvalidRequest(
            "invalid_argument", "The request is not understood", details={"reason": str(error)}
        )
        return error_body(refusal), True
    except Exception:
        FAILURES.labels(incoming.type).inc()
        log.exception("request_failed", type=incoming.type)
        return error_body(errors.Internal("internal", "The request failed")), True


def _broker_unavailable() -> errors.Unavailable:
    return errors.Unavailable("broker_unavailable", "The message broker is away")
