"""What leaves after a commit: commands, requests, replies, and what the outbox holds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from prometheus_client import Counter

from evercall.actor.model import Answered, Failed, PendingAsk
from evercall.actor.store import OutboxRow
from evercall.actor.turn import Outgoing, Port, PortAnswer, Work, class_at
from evercall.bus import topology
from evercall.bus.bus import Bus, Letter
from evercall.bus.envelope import Origin, encode, error_body, properties, tag_of
from evercall.contracts.asterisk import AriCommand, AsteriskCommands
from evercall.contracts.ids import shard_of
from evercall.service.errors import Internal, PlatformError, Unavailable
from evercall.service.identity import new_id
from evercall.service.lifecycle import Tasks
from evercall.service.logging import get_logger

log = get_logger(__name__)

UNSENDABLE = Counter(
    "evercall_actor_unsendable_total", "Messages that AMQP cannot carry", ["service"]
)

PORT_TIMEOUT = 60.0
"""Seconds that a port may take. It has time-outs of its own; this one is for a port that has a fault."""

COMMAND_LIFE = timedelta(seconds=30)
"""A command that nobody took by then is sent again, or was thought better of: given late it would do harm."""


class Sender:
    """Sends for one service. What can't be sent is not lost: commands and requests are pending in the store
    and are sent again by time, or by the next owner. Replies and notices are sent once."""

    def __init__(
        self,
        bus: Bus,
        tasks: Tasks,
        service: str,
        shards: int,
        ports: Mapping[str, Port],
        answered: Callable[[Work], None],
    ) -> None:
        """`answered` gets what a port answers, as work for the actor that asked."""
        self._bus = bus
        self._tasks = tasks
        self._service = service
        self._shards = shards
        self._ports = ports
        self._answered = answered
        self._asking: set[tuple[UUID, str, bytes]] = set()

    async def send(self, outgoing: Outgoing) -> None:
        """Sends commands (grouped by the Asterisk and its life), requests, replies and notices."""
        try:
            for (asterisk_id, boot_id), commands in outgoing.commands.items():
                await self._guarded(self._send_commands(asterisk_id, boot_id, commands))
            for kind, actor, key, pending in outgoing.asks:
                await self._guarded(self._send_ask(kind, actor, key, pending))
            for origin, body, error in outgoing.replies:
                await self._guarded(self._reply(origin, body, error))
            for queue, tag, notice in outgoing.notices:
                headers = properties(tag, message_id=new_id().hex, persistent=False)
                await self._guarded(self._bus.send(topology.RPC, queue, notice, headers))
        except Unavailable:
            log.debug("actor_send_failed")

    async def _guarded(self, sending: Awaitable[None]) -> None:
        """What the wire cannot carry must not keep the rest from leaving: it was committed, so it would fail
        again for ever."""
        try:
            await sending
        except Unavailable:
            raise
        except (PlatformError, ValueError, TypeError) as error:
            UNSENDABLE.labels(self._service).inc()
            log.error("message_not_sendable", exc_info=error)

    async def publish(self, rows: Sequence[OutboxRow]) -> bool:
        """Publishes rows of the outbox; returns whether the broker has all of them safe."""
        letters = [
            Letter(
                row.exchange, row.routing_key, properties(row.type, message_id=row.id.hex), row.body
            )
            for row in rows
        ]
        return await self._bus.publish_all(letters)

    async def _reply(self, origin: Origin, body: bytes, error: bool) -> None:
        try:
            await self._bus.reply(origin, body, error=error)
        except Unavailable:
            raise
        except PlatformError as fault:
            # The broker would not take it, whoever asked shall not wait for it.
            log.warning("reply_refused", code=fault.code, size=len(body))
            await self._bus.reply(origin, error_body(fault), error=True)

    async def _send_commands(
        self, asterisk_id: str, boot_id: str, commands: list[AriCommand]
    ) -> None:
        expires_at = datetime.now(UTC) + COMMAND_LIFE
        message = AsteriskCommands(boot_id=boot_id, expires_at=expires_at, commands=commands)
        headers = properties(
            tag_of(message), message_id=new_id().hex, expires=COMMAND_LIFE, persistent=False
        )
        key = topology.asterisk_key(asterisk_id)
        await self._bus.send(topology.RPC, key, encode(message), headers)

    async def _send_ask(self, kind: str, actor: UUID, key: str, pending: PendingAsk) -> None:
        port = self._ports.get(pending.service)
        if port is not None:
            self._start_port(port, kind, actor, key, pending)
            return
        try:
            kind_of_request = str(class_at(pending.request).__struct_config__.tag)
        except (ImportError, AttributeError):
            # Another version asked it. It stays pending for one that knows the request.
            log.error("pending_request_unknown", request=pending.request, actor=str(actor))
            return
        back = topology.shard_key(self._service, shard_of(actor, self._shards))
        to = pending.service
        if pending.actor is not None:
            to = topology.shard_key(to, shard_of(pending.actor, self._shards))
        headers = properties(
            kind_of_request,
            message_id=new_id().hex,
            origin=Origin(back, f"{kind}/{actor}/{key}"),
        )
        await self._bus.send(topology.RPC, to, bytes(pending.body), headers)

    def _start_port(
        self, port: Port, kind: str, actor: UUID, key: str, pending: PendingAsk
    ) -> None:
        """Asks a port, unless it is at the same question already."""
        question = (actor, key, bytes(pending.body))
        if question in self._asking:
            return
        self._asking.add(question)
        answering = self._ask_port(port, kind, actor, key, pending)
        task = self._tasks.start(f"port-{pending.service}", answering)
        task.add_done_callback(lambda _: self._asking.discard(question))

    async def _ask_port(
        self, port: Port, kind: str, actor: UUID, key: str, pending: PendingAsk
    ) -> None:
        message: Answered | Failed
        try:
            request = msgspec.json.decode(pending.body, type=class_at(pending.request))
            async with asyncio.timeout(PORT_TIMEOUT):
                message = Answered(key=key, body=await port.answer(request))
        except PlatformError as error:
            message = Failed(key=key, error=error.to_data())
        except Exception:
            log.exception("port_failed", port=pending.service)
            fault = Internal("internal", "The request failed", details={"port": pending.service})
            message = Failed(key=key, error=fault.to_data())
        self._answered(Work(kind, actor, PortAnswer(key, message)))
