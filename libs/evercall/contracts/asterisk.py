"""Messages between `asterisk_proxy` and those who steer Asterisk.

An ARI event travels unchanged; the proxy only finds out whose it is. The owner is the actor whose id
stands in the channel variable `CALL_ID`, or in the first 36 characters of an id that we chose
(`<actor id>.<suffix>` for channels, bridges, playbacks and recordings).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from evercall.contracts.base import Message


class OwnedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One ARI event as Asterisk sent it, and the actor that it concerns."""

    actor: UUID
    event: msgspec.Raw


class AsteriskEvents(Message, frozen=True, kw_only=True):
    """The events that arrived together for one shard, in order. To `call_manager.shard.<n>`."""

    asterisk_id: str
    boot_id: str
    events: list[OwnedEvent]


class AriCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One ARI REST request.

    `key` names the command within its actor. Success is silent: the ARI event that follows tells
    it. A refusal comes back as `CommandRefused`.
    """

    actor: UUID
    key: str
    method: str
    uri: str
    query: dict[str, str] = {}
    body: dict[str, Any] | None = None


class AsteriskCommands(Message, frozen=True, kw_only=True):
    """Commands for one Asterisk, carried out in this order. To `asterisk.<asterisk_id>`.

    They are for one life of it: `boot_id` is the one that the sender knows. After `expires_at` they are not
    given any more, because their sender has sent them again or thought better of it.
    """

    boot_id: str
    expires_at: datetime
    commands: list[AriCommand]


NO_ANSWER = 0
"""The status of a refusal that is not Asterisk's own: its reason is a `ProxyReason`."""


class ProxyReason(StrEnum):
    """Why a command was not carried out, as far as the proxy knows."""

    WRONG_BOOT = "wrong_boot"
    """Not given: it was meant for another life of this Asterisk."""
    EXPIRED = "expired"
    """Not given: it came too late."""
    NOT_CONNECTED = "asterisk_not_connected"
    """Not given: Asterisk is away."""
    CONNECTION_LOST = "connection_lost"
    """Given, but the connection broke before the answer: it may have been carried out."""
    UNANSWERED = "no_answer"
    """Given, but no answer came: it may have been carried out."""


class RefusedCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was refused. `status` is the HTTP status of Asterisk's answer, and `reason` its words;
    without an answer they are `NO_ANSWER` and a `ProxyReason`."""

    actor: UUID
    key: str
    status: int
    reason: str


class CommandsRefused(Message, frozen=True, kw_only=True):
    """Refusals for one shard. To `call_manager.shard.<n>`.

    `boot_id` is the life of Asterisk that the commands were for.
    """

    asterisk_id: str
    boot_id: str
    refused: list[RefusedCommand]


class LiveChannel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that exists in Asterisk. `state` is ARI's channel state (`Up`, `Ring`, …)."""

    actor: UUID
    channel_id: str
    state: str


class AsteriskSnapshot(Message, frozen=True, kw_only=True):
    """All channels of one Asterisk that belong to one shard, sent to every shard after any gap.

    A channel that an actor knows and that is missing here is a hangup that was missed. Another
    `boot_id` than the one an actor knows means that its Asterisk crashed.
    """

    asterisk_id: str
    boot_id: str
    channels: list[LiveChannel]


class AsteriskLost(Message, frozen=True, kw_only=True):
    """This life of this Asterisk is over: nobody has seen a sign of it for too long. To every
    `call_manager.shard.<n>`, perhaps several times; `at` is when it was concluded."""

    asterisk_id: str
    boot_id: str
    at: datetime


class Heartbeat(Message, frozen=True, kw_only=True):
    """Sent twice a second on the exchange `evercall.farm`, routing key `heartbeat.<asterisk_id>`.

    `connected`: Asterisk is connected to its proxy and answers. `sip_address` (`host:port`) is where it can be
    asked by whoever hears no heartbeat of it.
    """

    asterisk_id: str
    role: str
    boot_id: str
    sip_address: str
    connected: bool
    draining: bool
    channels: int
    at: datetime
