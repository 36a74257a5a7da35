"""One turn: messages go through `decide`, effects are collected. Nothing here waits or does IO.

A message counts whole or not at all: when `decide` or the encoding of the new state fails, the actor and all
that was collected are as before it. The runtime commits what a turn changed, and only then sends what it
collected.
"""

import importlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import msgspec

from evercall.actor import model
from evercall.actor.dead_letter import DeadLetter, dead_letter, reason_of
from evercall.actor.model import (
    Actor,
    ActorKind,
    Answered,
    Failed,
    PendingAsk,
    PendingCommand,
    PendingReply,
)
from evercall.actor.store import ActorRow, OutboxRow, TooLarge, row_of
from evercall.bus import topology
from evercall.bus.amqp import LARGEST_BODY
from evercall.bus.envelope import (
    ANSWER,
    ERROR,
    Incoming,
    Origin,
    answer_decoder,
    decode_error,
    encode,
    error_body,
    tag_of,
)
from evercall.contracts.asterisk import AriCommand
from evercall.contracts.base import Message, Request, ResourceEvent
from evercall.contracts.ids import shard_of
from evercall.service.errors import Internal, PlatformError

ATTEMPTS = 3
"""How often a message is tried before it goes to the dead letters."""

LONGEST_NAME = 255
"""Bytes of a short string (AMQP 0-9-1 section 4.2.5.3)."""

ASK_RETRY = (timedelta(seconds=3), timedelta(seconds=30))
COMMAND_RETRY = (timedelta(seconds=5), timedelta(seconds=60))
"""Time until the first retry, and the longest between two: it doubles. Asterisk and the services answer in
milliseconds; the second figure bounds what an outage of theirs costs."""


class Port(Protocol):
    """Something outside the actors that answers an `Ask`: a cache in front of a service, a fetcher."""

    def known(self, request: Any) -> msgspec.Struct | PlatformError | None:
        """The answer, where it is at hand without IO."""

    async def answer(self, request: Any) -> msgspec.Struct:
        """The answer. Raises `PlatformError`."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came from the bus; what it is depends on what was asked."""

    key: str
    body: bytes
    error: bool


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """What a port answered after a while."""

    key: str
    message: Answered | Failed


class Unreadable(Message, frozen=True, kw_only=True):
    """What `receive` says of the part of a message that it cannot read: a dead letter for that actor only."""

    reason: str


@dataclass(frozen=True, slots=True)
class Due:
    """A timer whose time has come, unless it was moved meanwhile."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Retry:
    """Time to send something again, unless it was answered, settled or sent again meanwhile."""

    key: str
    at: datetime
    attempt: int


@dataclass(slots=True)
class Work:
    """One message for one actor. `incoming` is the message from the broker that it came with."""

    kind: str
    actor: UUID
    body: Message | RawAnswer | PortAnswer | Due | Retry
    origin: Origin | None = None
    attempts: int = 0
    incoming: Incoming | None = None


@dataclass(slots=True)
class Outgoing:
    """What is sent after the commit."""

    commands: dict[tuple[str, str], list[AriCommand]] = field(default_factory=dict)
    asks: list[tuple[str, UUID, str, PendingAsk]] = field(default_factory=list)
    replies: list[tuple[Origin, bytes, bool]] = field(default_factory=list)
    notices: list[tuple[str, str, bytes]] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for this: an Asterisk, a service, a caller."""
        return bool(self.commands or self.asks or self.replies or self.notices)

    def mark(self) -> "Mark":
        """How much there is now."""
        commands = {queue: len(waiting) for queue, waiting in self.commands.items()}
        rest = (len(self.asks), len(self.replies), len(self.notices), len(self.outbox))
        return commands, rest

    def cut(self, mark: "Mark") -> None:
        """Takes back what came after the mark."""
        commands, (asks, replies, notices, outbox) = mark
        for queue, waiting in list(self.commands.items()):
            del waiting[commands.get(queue, 0) :]
            if not waiting:
                del self.commands[queue]
        del self.asks[asks:], self.replies[replies:], self.notices[notices:], self.outbox[outbox:]


Mark = tuple[dict[tuple[str, str], int], tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message from the bus, and the actor that it is for."""

    kind: str
    actor: UUID
    body: Message


@dataclass(slots=True)
class LiveActors:
    """The live actors of one shard, for messages that concern whoever is concerned. `asked` says whether
    anybody looked: then what they are told depends on all that was decided before."""

    actors: Mapping[UUID, Actor[Any]]
    asked: bool = False

    def of(self, kind: str) -> Iterable[Actor[Any]]:
        """All live actors of a kind."""
        self.asked = True
        return [actor for actor in self.actors.values() if actor.kind.name == kind]


Receive = Callable[[Message, LiveActors], Iterable[Delivery]]


@dataclass(frozen=True, slots=True)
class World:
    """What does not change from turn to turn."""

    service: str
    kinds: Mapping[str, ActorKind[Any]]
    receive: Receive
    ports: Mapping[str, Port]
    shards: int
    new_id: Callable[[UUID], UUID]


class UnreadableActor(Exception):
    """The actor's row could not be decoded. It is left as it is, so nothing may be decided for it."""


class Misrouted(Exception):
    """The message came to a shard that is not its actor's: its sender counts the shards differently."""


def check_route(work: Work, shard: int, world: World) -> None:
    """Whether a message may be decided on in this shard.

    Raises:
        Misrouted: its actor belongs elsewhere; to decide here would be to write without a fence.
    """
    if work.kind not in world.kinds:
        raise Misrouted(f"no actors of the kind {work.kind!r}")
    if shard_of(work.actor, world.shards) != shard:
        raise Misrouted(f"actor {work.actor} in shard {shard}")


class UnreadablePart(Exception):
    """The part of a message that is for this actor could not be read."""


@dataclass(frozen=True, slots=True)
class _Before:
    """An actor and what was collected, as they were before a message."""

    actor: Actor[Any]
    state: Any
    pending: dict[str, model.Pending]
    timers: dict[str, datetime]
    retry_at: dict[str, datetime]
    outgoing: Mark
    local: int
    scheduled: int


class Turn:
    """Decides on a batch of messages. `actors` is the runtime's memory, changed in place: when the commit
    fails the runtime drops that memory and loads it anew."""

    def __init__(
        self,
        world: World,
        now: datetime,
        actors: dict[UUID, Actor[Any]],
    ) -> None:
        self._world = world
        self._now = now
        self.actors = actors
        self._local: deque[Work] = deque()
        self._touched = False
        self.changed: dict[UUID, Actor[Any]] = {}
        self.rows: dict[UUID, ActorRow] = {}
        self.scheduled: list[tuple[str, UUID, Due | Retry]] = []
        self.outgoing = Outgoing()
        self.unreadable: set[UUID] = set()
        self.unloaded: list[Work] = []
        self.failed: list[tuple[Work, Exception]] = []
        self.dead: list[DeadLetter] = []

    def run(self, works: Iterable[Work]) -> None:
        """Decides on each message in order; what an actor says to its neighbours comes right after it."""
        for work in works:
            self._take(work)
            while self._local:
                self._take(self._local.popleft())

    def resend(self, actor: Actor[Any]) -> None:
        """Sends again all that an actor waits for."""
        for key, pending in actor.pending.items():
            self._send_pending(actor, key, pending)

    def _take(self, work: Work) -> None:
        if work.actor in self.unreadable:
            self._bury(work, UnreadableActor(str(work.actor)))
            return
        if work.actor not in self.actors:
            self.unloaded.append(work)
            return
        actor = self.actors[work.actor]
        error = self._attempt(actor, work)
        while error is not None and work.attempts < ATTEMPTS:
            error = self._attempt(actor, work)
        if error is not None:
            self.failed.append((work, error))
            self._bury(work, error)

    def _attempt(self, actor: Actor[Any], work: Work) -> Exception | None:
        """Decides on a message, whole or not at all; returns what went wrong."""
        work.attempts += 1
        before = self._before(actor)
        try:
            self._decide(actor, work)
            if self._touched:
                self.rows[actor.id] = row_of(actor, self._world.shards)
                self.changed[actor.id] = actor
        except Exception as error:
            self._take_back(before)
            # An error that is meant for whoever sent the message is its answer; any other is a fault.
            if not isinstance(error, PlatformError) or not isinstance(work.body, Message):
                return error
            self._refuse(work, error)
        return None

    def _before(self, actor: Actor[Any]) -> _Before:
        self._touched = False
        return _Before(
            actor,
            actor.state,
            dict(actor.pending),
            dict(actor.timers),
            dict(actor.retry_at),
            self.outgoing.mark(),
            len(self._local),
            len(self.scheduled),
        )

    def _take_back(self, before: _Before) -> None:
        actor = before.actor
        actor.state = before.state
        actor.pending, actor.timers = before.pending, before.timers
        actor.retry_at = before.retry_at
        self.outgoing.cut(before.outgoing)
        while len(self._local) > before.local:
            self._local.pop()
        del self.scheduled[before.scheduled :]

    def _decide(self, actor: Actor[Any], work: Work) -> None:
        if isinstance(work.body, Retry):
            self._retry(actor, work.body)
            return
        message, origin = self._message(actor, work)
        if message is None:
            return
        asked = actor.pending.get(message.key) if isinstance(message, Answered | Failed) else None
        decision = actor.kind.decide(actor.state, message, self._now)
        if decision.state is not actor.state:
            if decision.state is None:
                raise TypeError("a state cannot be taken back; make it not live instead")
            actor.state = decision.state
            self._touch(actor)
        for effect in decision.effects:
            self._apply(actor, origin, effect)
        if isinstance(message, model.TimerFired):
            self._forget_timer(actor, work)
        if asked is not None and isinstance(message, Answered | Failed):
            self._forget_asked(actor, message.key, asked)

    def _retry(self, actor: Actor[Any], retry: Retry) -> None:
        pending = actor.pending.get(retry.key)
        if pending is not None and actor.retry_at.get(retry.key) == retry.at:
            self._send_pending(actor, retry.key, pending, retry.attempt + 1)

    def _message(self, actor: Actor[Any], work: Work) -> tuple[Message | None, Origin | None]:
        """What `decide` hears, and whom its `Reply` goes to; None when it is out of date."""
        body = work.body
        match body:
            case Due(name, at):
                due = actor.timers.get(name) == at
                return (model.TimerFired(name=name) if due else None), None
            case RawAnswer(key) | PortAnswer(key):
                pending = actor.pending.get(key)
                if not isinstance(pending, PendingAsk):
                    return None, None
                answer = body.message if isinstance(body, PortAnswer) else _answer(body, pending)
                return answer, _origin(pending)
            case Unreadable(reason=reason):
                raise UnreadablePart(reason)
            case Message():
                return body, work.origin
        raise TypeError(f"nobody decides on {type(body).__name__}")

    def _forget_timer(self, actor: Actor[Any], work: Work) -> None:
        # Unless `decide` set a timer of the same name again.
        body = work.body
        if isinstance(body, Due) and actor.timers.get(body.name) == body.at:
            del actor.timers[body.name]
            self._touch(actor)

    def _forget_asked(self, actor: Actor[Any], key: str, asked: model.Pending) -> None:
        # Unless `decide` asked again under the same key.
        if actor.pending.get(key) is asked:
            self._drop_pending(actor, key)

    def _drop_pending(self, actor: Actor[Any], key: str) -> None:
        del actor.pending[key]
        actor.retry_at.pop(key, None)
        self._touch(actor)

    def _touch(self, actor: Actor[Any]) -> None:
        if actor.state is not None:
            self._touched = True

    # -- effects -------------------------------------------------------------------------------

    def _apply(self, actor: Actor[Any], origin: Origin | None, effect: model.Effect) -> None:
        match effect:
            case model.Command(asterisk_id, boot_id, command):
                pending = PendingCommand(asterisk_id=asterisk_id, boot_id=boot_id, command=command)
                if actor.state is not None:
                    actor.pending[command.key] = pending
                    self._touch(actor)
                self._send_pending(actor, command.key, pending)
            case model.Settle(key):
                if key in actor.pending:
                    self._drop_pending(actor, key)
            case model.Ask():
                self._ask(actor, origin, effect)
            case model.Reply(body, key):
                self._reply(self._waiting(actor, key) if key else origin, encode(body), False)
            case model.ReplyError(error, key):
                self._reply(self._waiting(actor, key) if key else origin, error_body(error), True)
            case model.Defer(key):
                self._defer(actor, origin, key)
            case model.Notify(queue, body):
                notice = _text(queue), tag_of(body), _bounded(encode(body))
                self.outgoing.notices.append(notice)
            case model.SetTimer(name, at):
                if at.tzinfo is None:
                    raise ValueError(f"the timer {name!r} has a time without a zone")
                actor.timers[name] = at
                self.scheduled.append((actor.kind.name, actor.id, Due(name, at)))
                self._touch(actor)
            case model.CancelTimer(name):
                if actor.timers.pop(name, None) is not None:
                    self._touch(actor)
            case model.Publish():
                self._publish(actor, effect)
            case model.Tell():
                self._tell(actor, effect)
            case model.Resend():
                self.resend(actor)

    def _reply(self, origin: Origin | None, body: bytes, error: bool) -> None:
        if origin is not None:
            self.outgoing.replies.append((origin, body, error))

    def _waiting(self, actor: Actor[Any], key: str) -> Origin | None:
        """Who waits for a deferred answer; nobody does after this."""
        pending = actor.pending.get(key)
        if not isinstance(pending, PendingReply):
            return None
        self._drop_pending(actor, key)
        return Origin(pending.reply_to, pending.correlation_id)

    def _defer(self, actor: Actor[Any], origin: Origin | None, key: str) -> None:
        if origin is None:
            return
        if actor.state is None:
            raise TypeError("an actor without a state cannot answer later")
        actor.pending[key] = PendingReply(
            reply_to=origin.reply_to, correlation_id=origin.correlation_id
        )
        self._touch(actor)

    def _ask(self, actor: Actor[Any], origin: Origin | None, ask: model.Ask) -> None:
        port = self._world.ports.get(ask.service)
        known = port.known(ask.body) if port is not None else None
        if known is not None:
            self._local.append(Work(actor.kind.name, actor.id, _known(ask.key, known), origin))
            return
        pending = PendingAsk(
            service=ask.service,
            actor=ask.actor,
            request=class_path(type(ask.body)),
            body=msgspec.Raw(_bounded(encode(ask.body))),
            reply_to=origin.reply_to if origin else None,
            correlation_id=origin.correlation_id if origin else None,
        )
        if actor.state is None:
            raise TypeError("an actor without a state cannot wait for an answer")
        # It travels as the correlation id.
        _text(f"{actor.kind.name}/{actor.id}/{ask.key}")
        actor.pending[ask.key] = pending
        self._touch(actor)
        self._send_pending(actor, ask.key, pending)

    def _send_pending(
        self, actor: Actor[Any], key: str, pending: model.Pending, attempt: int = 0
    ) -> None:
        match pending:
            case PendingReply():
                return
            case PendingCommand(asterisk_id=asterisk_id, boot_id=boot_id, command=command):
                self.outgoing.commands.setdefault((asterisk_id, boot_id), []).append(command)
                self._schedule_retry(actor, key, attempt, *COMMAND_RETRY)
            case PendingAsk(service=service):
                self.outgoing.asks.append((actor.kind.name, actor.id, key, pending))
                # A port is in this process: it answers, or the process ends.
                if service not in self._world.ports:
                    self._schedule_retry(actor, key, attempt, *ASK_RETRY)

    def _schedule_retry(
        self, actor: Actor[Any], key: str, attempt: int, first: timedelta, longest: timedelta
    ) -> None:
        """What waits is sent again by time: its answer may have been lost on a connection that lives. The
        last bits of the actor's id spread what was sent in one moment."""
        if key not in actor.pending:
            return
        delay = min(first * 2 ** min(attempt, 16), longest)
        at = self._now + delay * (1 + (actor.id.int & 0xFF) / 1024)
        actor.retry_at[key] = at
        self.scheduled.append((actor.kind.name, actor.id, Retry(key, at, attempt)))

    def _tell(self, actor: Actor[Any], tell: model.Tell) -> None:
        shard = shard_of(tell.actor, self._world.shards)
        # Only within a shard: of another one nobody here knows whether it is still ours, nor whether
        # something that was told before is still on its way there.
        if tell.service == self._world.service and shard == shard_of(actor.id, self._world.shards):
            for heard in self._world.receive(tell.body, LiveActors({})):
                self._local.append(self._checked(heard, shard))
            return
        key = topology.shard_key(tell.service, shard)
        self._put_out(actor, topology.RPC, key, tag_of(tell.body), encode(tell.body))

    def _checked(self, heard: Delivery, shard: int) -> Work:
        work = Work(heard.kind, heard.actor, heard.body)
        check_route(work, shard, self._world)
        return work

    def _publish(self, actor: Actor[Any], publish: model.Publish) -> None:
        event = ResourceEvent(
            id=self._world.new_id(actor.id),
            type=f"{publish.resource}_{publish.event}",
            customer_id=publish.customer_id,
            resource_id=getattr(publish.body, "id", actor.id),
            at=self._now,
            resource=msgspec.Raw(encode(publish.body)),
        )
        key = f"{publish.customer_id}.{publish.resource}.{publish.event}"
        self._put_out(actor, topology.EVENTS, key, event.type, encode(event), event.id)

    def _put_out(
        self,
        actor: Actor[Any],
        exchange: str,
        key: str,
        kind: str,
        body: bytes,
        identifier: UUID | None = None,
    ) -> None:
        self.outgoing.outbox.append(
            OutboxRow(
                id=identifier or self._world.new_id(actor.id),
                shard=shard_of(actor.id, self._world.shards),
                exchange=exchange,
                routing_key=_text(key),
                type=kind,
                body=_bounded(body),
            )
        )

    # -- failures ------------------------------------------------------------------------------

    def _refuse(self, work: Work, error: PlatformError) -> None:
        if work.origin is not None:
            self.outgoing.replies.append((work.origin, error_body(error), True))

    def _bury(self, work: Work, error: Exception) -> None:
        """Gives a message up. Whoever waits for what would have come of it hears of an error."""
        body = work.body
        if isinstance(body, Retry):
            return
        self._refuse(work, Internal("internal", "The message could not be handled"))
        if isinstance(body, PortAnswer) and isinstance(body.message, Failed):
            self._give_up(work.actor, body.key)
            return
        self.dead.append(self._dead_letter(work, error))
        if isinstance(body, RawAnswer | PortAnswer | Answered) and work.actor in self.actors:
            self._fail_asked(work, body)

    def _fail_asked(self, work: Work, body: RawAnswer | PortAnswer | Answered) -> None:
        fault = Internal("internal", "The answer could not be handled").to_data()
        failed = Failed(key=body.key, error=fault)
        # An answer that was at hand was never pending.
        message = failed if isinstance(body, Answered) else PortAnswer(body.key, failed)
        self.run([Work(work.kind, work.actor, message)])

    def _give_up(self, identifier: UUID, key: str) -> None:
        """Not even the error could be handled: nobody waits any more, or it would come for ever."""
        actor = self.actors.get(identifier)
        if actor is None or key not in actor.pending:
            return
        self._drop_pending(actor, key)
        self.rows[actor.id] = row_of(actor, self._world.shards)
        self.changed[actor.id] = actor

    def _dead_letter(self, work: Work, error: Exception) -> DeadLetter:
        identifier = self._world.new_id(work.actor)
        shard = shard_of(work.actor, self._world.shards)
        if work.incoming is not None:
            return dead_letter(identifier, work.incoming, shard, error, work.actor)
        kind, body, key = _as_message(work.body)
        return DeadLetter(
            id=identifier,
            shard=shard,
            actor=work.actor,
            reason=reason_of(error),
            type=kind,
            body=body,
            correlation_id=f"{work.kind}/{work.actor}/{key}" if key else None,
        )


def _as_message(body: Any) -> tuple[str, bytes, str]:
    """Type, bytes and key of what did not come from the broker, in the form in which it would have come."""
    match body:
        case RawAnswer(key, raw, error):
            return (ERROR if error else ANSWER), raw, key
        case PortAnswer(key, Answered(body=answer)):
            return ANSWER, encode(answer), key
        case PortAnswer(key, Failed(error=error)):
            return ERROR, encode(error), key
        case Due(name, at):
            return "timer", encode({"name": name, "at": at}), ""
        case _:
            return tag_of(body), encode(body), ""


def _text(text: str) -> str:
    """A name: PostgreSQL has no U+0000 in texts, AMQP none of more than 255 bytes."""
    if "\0" in text:
        raise ValueError("a name with U+0000")
    if len(text.encode()) > LONGEST_NAME:
        raise ValueError(f"a name of {len(text.encode())} bytes: {text[:64]}…")
    return text


def _bounded(body: bytes) -> bytes:
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"a message of {len(body)} bytes")
    return body


def class_path(kind: type[Any]) -> str:
    """A class's name as it is stored with what was asked."""
    return f"{kind.__module__}:{kind.__qualname__}"


@lru_cache(maxsize=256)
def class_at(path: str) -> type[Request[Any]]:
    """The class that `class_path` named."""
    module, _, name = path.partition(":")
    found: type[Request[Any]] = getattr(importlib.import_module(module), name)
    return found


def _origin(pending: PendingAsk) -> Origin | None:
    return Origin(pending.reply_to, pending.correlation_id) if pending.reply_to else None


def _answer(raw: RawAnswer, pending: PendingAsk) -> Message:
    if raw.error:
        return Failed(key=raw.key, error=decode_error(raw.body))
    return Answered(key=raw.key, body=answer_decoder(class_at(pending.request)).decode(raw.body))


def _known(key: str, known: msgspec.Struct | PlatformError) -> Message:
    if isinstance(known, PlatformError):
        return Failed(key=key, error=known.to_data())
    return Answered(key=key, body=known)
