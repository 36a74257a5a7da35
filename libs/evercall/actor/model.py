"""What an actor is: a state, a pure `decide`, and effects as data.

    decide(state, message, now) -> Decision(state, effects)

`decide` sees one message at a time. It may run again for the same message (after a crash before the
commit), so it must be pure: ids come from `evercall.contracts.ids.derived_id`, time from `now`.

Messages that a `decide` receives are the `Message` structs of the contracts and of its own domain, and
three that the engine makes: `Answered`, `Failed` and `TimerFired`.

What was asked and not yet answered is kept beside the state under its `key`. It is sent again by whoever loads
the actor next, and by time until it is answered or settled. So delivery is at least once, and every receiver
must be idempotent. That ends with the actor's life: one that is not live (`Index.live`) is not in memory, so what
it asks or commands as its last word is sent once.


    effect    kept until                                         travels
    Ask       its answer (`Answered` or `Failed` with its key)   to an actor or service, answer comes back
    Command   `Settle(key)`                                      to one Asterisk
    Tell      committed: it goes through the outbox              to an actor, one way, never lost
    Publish   committed: it goes through the outbox              domain event
    Reply     sent once after the commit, at most once           to the sender of this message
    Defer     the `Reply` with its key                           the reply goes to the sender of this message
    Notify    sent once after the commit, at most once           to one queue, nobody answers

A `Reply` while deciding on `Answered` or `Failed` goes to the sender of the message whose decision asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from evercall.contracts.asterisk import AriCommand
from evercall.contracts.base import ErrorData, Message, Request
from evercall.service.errors import PlatformError

State = TypeVar("State", bound=msgspec.Struct)


class Answered(Message, frozen=True, kw_only=True):
    """The answer to the `Ask` with this key. `body` is of the request's answer type."""

    key: str
    body: Any


class Failed(Message, frozen=True, kw_only=True):
    """The `Ask` with this key was answered with an error."""

    key: str
    error: ErrorData


class TimerFired(Message, frozen=True, kw_only=True):
    """The timer of this name is due. It is gone from the actor's timers."""

    name: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A request whose answer comes back as `Answered` or `Failed`.

    `service` is a service's name, or a local port's name (section "ports" of `runtime`). `actor` routes
    it to the shard of that actor; without it any replica of the service answers.
    """

    key: str
    service: str
    body: Request[Any]
    actor: UUID | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """Something that one Asterisk is to do, in the life of it that `boot_id` names; `command.key` names it
    within this actor."""

    asterisk_id: str
    boot_id: str
    command: AriCommand


@dataclass(frozen=True, slots=True)
class Settle:
    """The command or request of this key needs no repeating any more. Unknown keys are fine."""

    key: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A one-way message to an actor, in this service or another; never lost."""

    service: str
    actor: UUID
    body: Message


@dataclass(frozen=True, slots=True)
class Publish:
    """A domain event: `<customer_id>.<resource>.<event>`, for example resource `call`, event `created`."""

    resource: str
    event: str
    customer_id: UUID
    body: msgspec.Struct


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request that is being decided on, or (`key`) to the one that was deferred."""

    body: msgspec.Struct
    key: str = ""


@dataclass(frozen=True, slots=True)
class ReplyError:
    """The error that answers the request that is being decided on, or (`key`) the one that was deferred."""

    error: PlatformError
    key: str = ""


@dataclass(frozen=True, slots=True)
class Defer:
    """The request that is being decided on is answered later, by a `Reply` or `ReplyError` with this key.

    Whoever repeats the request meanwhile gets the answer instead of who asked first: it is the same one.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Notify:
    """A word to one process (its own queue). Lost where that process is away."""

    queue: str
    body: Message


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fires `TimerFired(name)` at `at`; replaces a timer of the same name."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Takes the timer back. Unknown names are fine."""

    name: str


@dataclass(frozen=True, slots=True)
class Resend:
    """Sends again all that this actor still waits for: whoever should have carried it out was away."""


Effect = (
    Ask
    | Command
    | Settle
    | Resend
    | Tell
    | Publish
    | Reply
    | ReplyError
    | Defer
    | Notify
    | SetTimer
    | CancelTimer
)


@dataclass(frozen=True, slots=True)
class Decision(Generic[State]):
    """What `decide` says. `state` None: there is no such actor, and none is made."""

    state: State | None
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """What the store keeps in columns. A live actor is loaded by whoever owns its shard."""

    customer_id: UUID
    created_at: datetime
    live: bool
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class ActorKind(Generic[State]):
    """Everything that the engine needs to know of one kind of actor.

    Attributes:
        name: the kind in the store, for example `call`.
        state: the state's struct; it must round-trip through JSON.
        decide: the pure function.
        index: the columns of a state.
    """

    name: str
    state: type[State]
    decide: Callable[[State | None, Message, datetime], Decision[State]]
    index: Callable[[State], Index]


class PendingAsk(msgspec.Struct, frozen=True, kw_only=True, tag="ask", tag_field="kind"):
    """An `Ask` that waits for its answer, as it is stored.

    `request` names the request's class (`module:name`), `body` is the encoded request, `reply_to` and
    `correlation_id` lead to the sender of the message that led to the `Ask`.
    """

    service: str
    actor: UUID | None
    request: str
    body: msgspec.Raw
    reply_to: str | None = None
    correlation_id: str | None = None


class PendingCommand(msgspec.Struct, frozen=True, kw_only=True, tag="command", tag_field="kind"):
    """A `Command` that was not settled yet, as it is stored."""

    asterisk_id: str
    boot_id: str
    command: AriCommand


class PendingReply(msgspec.Struct, frozen=True, kw_only=True, tag="reply", tag_field="kind"):
    """Somebody who waits for an answer that was deferred, as it is stored."""

    reply_to: str
    correlation_id: str | None = None


Pending = PendingAsk | PendingCommand | PendingReply


@dataclass(slots=True)
class Actor(Generic[State]):
    """An actor as the engine holds it in memory: its state and what belongs to it.

    A domain only reads it (in `receive`, to find whom a message concerns).
    """

    id: UUID
    kind: ActorKind[State]
    state: State | None
    pending: dict[str, Pending] = field(default_factory=dict)
    timers: dict[str, datetime] = field(default_factory=dict)
    retry_at: dict[str, datetime] = field(default_factory=dict)
    """When what is pending is sent again, by its key. Not stored: the next owner sends all of it again."""
