"""Calls: the public resource and the messages of `call_manager`.

Field names and enums are those of the public API reference.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from evercall.contracts.base import Address, Empty, Message, Page, Request


class CallStatus(StrEnum):
    """Life of a call. `terminating`: we hang up an answered call. `canceling`: we give up an
    outgoing call that was not answered."""

    DIALING = "dialing"
    RINGING = "ringing"
    PROGRESSING = "progressing"
    TERMINATING = "terminating"
    CANCELING = "canceling"
    HANGUP = "hangup"


class HangupReason(StrEnum):
    """Why a call ended."""

    NONE = ""
    NORMAL = "normal"
    FAILED = "failed"
    BUSY = "busy"
    CANCEL = "cancel"
    TIMEOUT = "timeout"
    NOANSWER = "noanswer"
    DIALOUT = "dialout"
    AMD = "amd"
    LOST = "lost"


class HangupBy(StrEnum):
    """Who ended the call: `local` is the platform."""

    NONE = ""
    LOCAL = "local"
    REMOTE = "remote"


class Direction(StrEnum):
    """Seen from the platform."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class CurrentAction(msgspec.Struct, frozen=True, kw_only=True):
    """The flow action that a call carries out now."""

    id: UUID
    type: str
    option: dict[str, Any] = {}
    tm_execute: datetime | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The public call resource."""

    id: UUID
    customer_id: UUID
    owner_type: str = ""
    owner_id: UUID | None = None
    flow_id: UUID | None = None
    activeflow_id: UUID | None = None
    type: str = "flow"
    master_call_id: UUID | None = None
    chained_call_ids: list[UUID] = []
    recording_id: UUID | None = None
    recording_ids: list[UUID] = []
    groupcall_id: UUID | None = None
    source: Address
    destination: Address
    status: CallStatus
    action: CurrentAction | None = None
    direction: Direction
    mute_direction: str = ""
    hangup_by: HangupBy = HangupBy.NONE
    hangup_reason: HangupReason = HangupReason.NONE
    metadata: dict[str, Any] = {}
    tm_ringing: datetime | None = None
    tm_progressing: datetime | None = None
    tm_hangup: datetime | None = None
    tm_create: datetime
    tm_update: datetime
    tm_delete: datetime | None = None


class CallCreate(Request[Call], frozen=True, kw_only=True):
    """Places an outgoing call. To the shard of `id`. Saying it twice creates one call.

    `anonymous`: `yes`, `no`, or `auto`: withheld where the source is anonymous itself.
    """

    id: UUID
    customer_id: UUID
    flow_id: UUID
    source: Address
    destination: Address
    anonymous: str = "auto"
    variables: dict[str, str] = {}


class CallHangup(Request[Call], frozen=True, kw_only=True):
    """Ends a call. Errors: `call_not_found`, `call_already_hangup`."""

    id: UUID
    customer_id: UUID


class CallDelete(Request[Call], frozen=True, kw_only=True):
    """Hides a call from lists, hanging it up first where it is live."""

    id: UUID
    customer_id: UUID


class CallGet(Request[Call], frozen=True, kw_only=True):
    """Reads a call. To the service queue."""

    id: UUID
    customer_id: UUID


class CallList(Request[Page[Call]], frozen=True, kw_only=True):
    """Lists a customer's calls, newest first. To the service queue."""

    customer_id: UUID
    page_size: int
    page_token: str = ""


class CustomerUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much of its quotas a customer has taken: calls, and media streams of all its calls."""

    concurrent_calls: int = 0
    media_streams: int = 0


class CustomerUseFind(Request[CustomerUse], frozen=True, kw_only=True):
    """How much has the customer taken now? To the service queue."""

    customer_id: UUID


class CallsAdmit(Request[Empty], frozen=True, kw_only=True):
    """May the customer place these calls now? All of them or none. To the service queue.

    The answer counts for half a minute, in which the calls must be created. Asked again for the same ids, it
    is the same answer: they are not counted twice.

    Errors: `quota_exceeded`, `account_frozen`.
    """

    customer_id: UUID
    call_ids: list[UUID]


class MediaStreamAdmit(Request[Empty], frozen=True, kw_only=True):
    """May the customer open one more media stream now? To the service queue.

    Streams are counted when they are stored, so those that are asked for at the same moment may all be let in.

    Errors: `quota_exceeded`, `account_frozen`.
    """

    customer_id: UUID


class CustomersCallsEnd(Request[Empty], frozen=True, kw_only=True):
    """Ends what these customers have of outgoing calls: they are frozen. To the service queue. May be said
    again and again: that is how it survives whoever says it, or carries it out."""

    customer_ids: list[UUID]


class CallFlowStopped(Message, frozen=True, kw_only=True):
    """The call's activeflow was stopped from outside: the call has nothing more to do and ends."""

    id: UUID
    activeflow_id: UUID
