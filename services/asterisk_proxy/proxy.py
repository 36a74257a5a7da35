"""The proxy itself: what Asterisk says is read here, and sorted into what the bus must hear."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from asterisk_proxy import metrics
from asterisk_proxy.domain.batch import Heard
from asterisk_proxy.domain.census import Census
from asterisk_proxy.domain.repeats import Repeats
from asterisk_proxy.gateways.asterisk import Asterisk
from asterisk_proxy.gateways.broker import Publisher
from asterisk_proxy.stream import Stream
from evercall.ari import events, protocol
from evercall.ari.events import RESPONSE, WANTED, Incoming
from evercall.ari.protocol import OpenRequests
from evercall.contracts.asterisk import (
    NO_ANSWER,
    AriCommand,
    AsteriskCommands,
    OwnedEvent,
    ProxyReason,
    RefusedCommand,
)
from evercall.service.logging import get_logger

log = get_logger(__name__)

ANSWER_PATIENCE = 10.0
"""Seconds until a command counts as not answered. Asterisk answers within milliseconds or never."""

CONNECT_PATIENCE = 3.0
"""Seconds that commands wait for Asterisk to connect again."""

HANDSHAKE_PAUSE = 0.02
QUESTION_INTERVAL = 0.25
"""Asterisk 22.10 reads what arrives together with the handshake's end only when more arrives. So nothing
is said at once, and the questions are repeated until they are answered."""

# Questions of our own; the equals sign tells their answers from those to commands.
_FILTER, _INFO, _CHANNELS, _PING = "=filter", "=info", "=channels", "=ping"
_QUESTIONS = frozenset((_FILTER, _INFO, _CHANNELS, _PING))

SNAPSHOT_INTERVAL = 30.0, 60.0
"""Seconds, at random, so that the proxies of a farm do not ask together. A snapshot of 1,000 channels is 0.7 MB of
answer and 28 ms of work."""

SNAPSHOT_BACKLOG = 1024 * 1024
"""Bytes that wait for the broker, above which a snapshot would only make them more."""

PING_INTERVAL = 1.0
PING_PATIENCE = 3.0
"""Seconds without a word of Asterisk after which it counts as one that does not answer. The connection of one
that stands still (its machine is stopped, its disk hangs) stays open, so only asking shows that."""


class _Status(msgspec.Struct, frozen=True):
    startup_time: str


class _System(msgspec.Struct, frozen=True):
    entity_id: str


class _Info(msgspec.Struct, frozen=True):
    status: _Status
    system: _System


_decode_info = msgspec.json.Decoder(_Info).decode


class Proxy:
    """Between one Asterisk and the bus."""

    def __init__(
        self,
        stream: Stream,
        publisher: Publisher,
        application: str,
        keep: Callable[[socket.socket | None], None],
    ) -> None:
        self._stream = stream
        self._publisher = publisher
        self._application = application
        self._keep = keep
        self._open = OpenRequests(ANSWER_PATIENCE)
        self._repeats = Repeats(stream)
        self._entered = asyncio.Event()
        self._usable = asyncio.Event()
        self._last_word = 0.0
        self.asterisk = Asterisk(stream, self)
        self.census = Census()
        self.changed = asyncio.Event()
        """Set when the connection comes or goes: news for the heartbeat."""
        metrics.UNSETTLED.set_function(lambda: stream.used)
        metrics.CONNECTED.set_function(lambda: self.answers)
        metrics.CHANNELS.set_function(lambda: len(self.census))

    @property
    def usable(self) -> bool:
        """Whether commands can be given: Asterisk is connected, and it is known which life of it."""
        return self._usable.is_set()

    @property
    def answers(self) -> bool:
        """Whether Asterisk is connected and says something when it is asked."""
        return self.usable and time.monotonic() - self._last_word < PING_PATIENCE

    # -- connections ---------------------------------------------------------------------------

    def resume(self, connection: socket.socket | None) -> None:
        """Goes on where a former proxy ended."""
        self.asterisk.resume(connection)
        if connection is None or not self.asterisk.connected:
            return
        log.info("asterisk_taken_over", unsettled=self._stream.used)
        metrics.CONNECTIONS.labels("taken_over").inc()
        self._ask_everything()
        self._entered.set()
        if self._stream.boot_id:
            self._usable.set()
            self._publisher.boot_known()

    def may_enter(self) -> bool:
        """Whether a new connection is wanted now. What came over the old one must be settled first,
        as it may come from another life of Asterisk."""
        if self.asterisk.has_connection:
            # Asterisk opens a connection only where it has none: the old one is dead.
            self.asterisk.abort()
        return self._stream.is_settled or not self._stream.boot_id

    def enter(self, connection: socket.socket) -> None:
        """Asterisk has connected."""
        self.asterisk.start(connection)
        self._keep(connection)
        log.info("asterisk_connected")
        metrics.CONNECTIONS.labels("new").inc()
        self._entered.set()

    async def ask(self) -> None:
        """Asks each new connection what must be known of it, until it is cancelled."""
        while True:
            await self._entered.wait()
            self._entered.clear()
            await asyncio.sleep(HANDSHAKE_PAUSE)
            while self.asterisk.connected and not self.usable:
                self._ask_everything()
                await asyncio.sleep(QUESTION_INTERVAL)

    async def ping(self) -> None:
        """Asks Asterisk all the time whether it is there, until it is cancelled."""
        while True:
            await asyncio.sleep(PING_INTERVAL)
            # What Asterisk does not even read it need not be asked again.
            if self.usable and self.asterisk.is_flushed:
                self.asterisk.send(protocol.encode_request(_PING, "GET", "asterisk/ping"))

    async def take_snapshots(self) -> None:
        """Asks Asterisk now and then for all its channels, until it is cancelled. Whatever was missed, by
        whomever, is made good by the next of them."""
        while True:
            await asyncio.sleep(random.uniform(*SNAPSHOT_INTERVAL))  # noqa: S311 - no secret
            if self.answers and self._stream.used < SNAPSHOT_BACKLOG:
                self.asterisk.send(protocol.encode_request(_CHANNELS, "GET", "channels"))

    def closing(self) -> None:
        """No commands can be given any more."""
        self._usable.clear()
        self.changed.set()

    def ended(self) -> None:
        """The connection is gone."""
        self._keep(None)
        log.warning("asterisk_disconnected", commands=len(self._open))
        self._refuse_given(self._open.take_all(), ProxyReason.CONNECTION_LOST)

    def _ask_everything(self) -> None:
        # The filter comes first: without it the answers to all other questions may be held back.
        application = f"applications/{self._application}/eventFilter"
        self.asterisk.send(
            protocol.encode_request(_FILTER, "PUT", application, body=events.filter_body())
            + protocol.encode_request(_INFO, "GET", "asterisk/info")
            + protocol.encode_request(_CHANNELS, "GET", "channels")
        )

    # -- from Asterisk -------------------------------------------------------------------------

    def heard(self, payload: bytes, end: int) -> None:
        """A message of Asterisk."""
        self._last_word = time.monotonic()
        try:
            message = events.decode(payload)
        except ValueError:
            metrics.DROPPED.labels("garbled").inc()
            return
        if message.type == RESPONSE:
            self._hear_response(message, end)
        elif message.type in WANTED:
            self._hear_event(message, payload, end)
        else:
            metrics.DROPPED.labels("unwanted").inc()

    def all_heard(self, end: int) -> None:
        """Nothing more has arrived for now."""
        self._publisher.heard_until(end)

    def _hear_event(self, event: Incoming, payload: bytes, end: int) -> None:
        self.census.hear(event)
        actor = events.owner(event)
        if actor is None:
            metrics.DROPPED.labels("owner").inc()
            return
        metrics.EVENTS[event.type].inc()
        self._publisher.add(Heard(end, OwnedEvent(actor=actor, event=msgspec.Raw(payload))))

    def _hear_response(self, response: Incoming, end: int) -> None:
        if response.request_id in _QUESTIONS:
            self._hear_answer(response, end)
            return
        self._open.answered(response.request_id)
        refused = protocol.refusal(response)
        if refused is None:
            return
        self._repeats.refused(response.request_id, response.uri)
        metrics.REFUSED.labels(str(refused.status)).inc()
        self._publisher.add(Heard(end, refused))

    def _hear_answer(self, response: Incoming, end: int) -> None:
        """An answer to a question of our own, perhaps of the process before us."""
        try:
            self._take_answer(response, end)
        except ValueError as error:
            log.error("asterisk_not_understood", question=response.uri, reason=str(error))
            self.asterisk.close()

    def _take_answer(self, response: Incoming, end: int) -> None:
        if response.status_code >= 400:
            raise ValueError(protocol.explanation(response))
        if response.request_id == _INFO:
            info = _decode_info(response.message_body)
            boot_id = f"{info.status.startup_time} {info.system.entity_id}"
            if boot_id != self._stream.boot_id:
                self.census.reset(())
            self._stream.boot_id = boot_id
            self._publisher.boot_known()
            if self.asterisk.connected:
                self._usable.set()
                self.changed.set()
        elif response.request_id == _CHANNELS:
            channels = events.decode_channels(response.message_body)
            self.census.reset(channel.id for channel in channels)
            self._publisher.add(Heard(end, channels))

    # -- to Asterisk ---------------------------------------------------------------------------

    async def command(self, messages: Sequence[AsteriskCommands]) -> None:
        """Gives commands, in their order. Returns when they are on their way, or refused."""
        if not self.usable:
            await self._become_usable()
        now = datetime.now(UTC)
        given: list[AriCommand] = []
        for message in messages:
            reason = self._objection(message, now)
            if reason is None:
                given += message.commands
            else:
                self._refuse(message, reason)
        if given:
            self._give(given)
            await self.asterisk.flushed()

    def _objection(self, message: AsteriskCommands, now: datetime) -> ProxyReason | None:
        """Why these commands must not be given. The wrong life comes first: who hears of it can act on it."""
        if self._stream.boot_id and message.boot_id != self._stream.boot_id:
            return ProxyReason.WRONG_BOOT
        if now > message.expires_at:
            return ProxyReason.EXPIRED
        if not self.usable:
            return ProxyReason.NOT_CONNECTED
        return None

    def _give(self, commands: Sequence[AriCommand]) -> None:
        frames = bytearray()
        now = time.monotonic()
        for command in commands:
            if self._repeats.is_repeated(command):
                metrics.REPEATED_COMMANDS.inc()
                continue
            self._open.sent(protocol.command_id(command), command.uri, now)
            frames += protocol.encode_command(command)
        metrics.COMMANDS.inc(len(commands))
        self.asterisk.send(bytes(frames))

    async def _become_usable(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_PATIENCE):
                await self._usable.wait()

    def refuse_overdue(self) -> None:
        """Gives up waiting for answers that are too late."""
        overdue = self._open.take_overdue(time.monotonic())
        self._refuse_given(overdue, ProxyReason.UNANSWERED)

    def _refuse_given(self, requests: Iterable[tuple[str, str]], reason: ProxyReason) -> None:
        """Asterisk was given these, and said nothing."""
        refusals: list[RefusedCommand] = []
        for request_id, uri in requests:
            self._repeats.refused(request_id, uri)
            refusal = protocol.no_answer(request_id, reason)
            if refusal is not None:
                refusals.append(refusal)
        self._tell_refused(self._stream.boot_id, refusals, reason)

    def _refuse(self, message: AsteriskCommands, reason: ProxyReason) -> None:
        """Asterisk was not given these."""
        refusals = [
            RefusedCommand(actor=one.actor, key=one.key, status=NO_ANSWER, reason=reason)
            for one in message.commands
        ]
        self._tell_refused(message.boot_id, refusals, reason)

    def _tell_refused(
        self, boot_id: str, refusals: list[RefusedCommand], reason: ProxyReason
    ) -> None:
        if refusals:
            metrics.REFUSED.labels(reason.value).inc(len(refusals))
            self._publisher.refuse(boot_id, refusals)
