"""The state of a call: what the public resource shows, and what only we need to know."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from call_manager.domain.digits import Key
from call_manager.domain.media_stream import Stream
from call_manager.domain.ports import ChosenAsterisk, PreparedAudio
from evercall.actor.model import Index
from evercall.contracts.base import Address
from evercall.contracts.call import (
    Call,
    CallStatus,
    CurrentAction,
    Direction,
    HangupBy,
    HangupReason,
)
from evercall.contracts.flow import RunAction
from evercall.contracts.media import MediaConnect

NOBODY = UUID(int=0)
"""Stands for the customer of a call that is still looking for its own."""


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """The channel that carries the call.

    `seen`: Asterisk has told us of the channel, so its absence means something. `answering`: we have
    asked for the answer of an incoming call. `up`: the channel is answered.
    """

    asterisk_id: str
    boot_id: str
    channel_id: str
    sip_call_id: str = ""
    source_ip: str = ""
    seen: bool = False
    answering: bool = False
    up: bool = False


class Waiting(StrEnum):
    """What the work on a run waits for."""

    NOTHING = ""
    RUN = "run"
    """flow_manager's next run"""
    AUDIO = "audio"
    PLAYBACK = "playback"
    HANGUP = "hangup"
    """a playback broke off: most often the first sign that the far end has hung up"""
    SLEEP = "sleep"
    DIGITS = "digits"
    MEDIA = "media"
    """media_manager's word that it connects to an application"""
    ANSWER = "answer"
    """all is done, but the answer that we asked for is not there yet"""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The run of actions that is being worked off.

    `begun` counts the actions that were begun. `audio` holds what the run's prompts need by the index
    of their action; None: it can't be had. `digits` is what the last `digits_receive` collected.
    """

    sequence: int = 0
    actions: list[RunAction] = []
    final: bool = False
    position: int = 0
    begun: int = 0
    waiting: Waiting = Waiting.NOTHING
    since: datetime | None = None
    audio: dict[int, PreparedAudio | None] = {}
    digits: str | None = None

    @property
    def current(self) -> RunAction | None:
        """The action that is being carried out."""
        return self.actions[self.position] if self.position < len(self.actions) else None

    @property
    def place(self) -> str:
        """Names the current action within its activeflow, and so its playback and its commands."""
        return f"{self.sequence}-{self.position}"

    @property
    def prompt_key(self) -> str:
        """The key of the command that plays the current prompt."""
        return f"play.{self.place}"

    @property
    def media_key(self) -> str:
        """The key under which media_manager is asked to connect to an application."""
        return f"media.{self.place}"

    @property
    def run_key(self) -> str:
        """The key under which the next run is asked for."""
        return f"run.{self.sequence + 1}"

    @property
    def following(self) -> RunAction | None:
        """The action after it, where the run has one."""
        after = self.position + 1
        return self.actions[after] if after < len(self.actions) else None


class CallState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of one call.

    `customer_id` is None while an incoming call looks for its route. `tried` are the Asterisks that were told
    to dial and could not be reached. `ending` is the reason for which
    we are hanging up. `digits` were typed and not consumed yet, `last_key` was the last of all: personal
    data, gone when the call ends. `media` are its streams by their id; `connecting` what
    media_manager was asked to connect and has not begun. `withheld`: the called party must not learn who calls.
    """

    id: UUID
    direction: Direction
    source: Address
    destination: Address
    status: CallStatus
    tm_create: datetime
    tm_update: datetime
    customer_id: UUID | None = None
    flow_id: UUID | None = None
    activeflow_id: UUID | None = None
    variables: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    withheld: bool = False
    tried: list[ChosenAsterisk] = []
    leg: Leg | None = None
    work: Work | None = None
    digits: str = ""
    last_key: Key | None = None
    media: dict[str, Stream] = {}
    connecting: dict[str, MediaConnect] = {}
    ending: HangupReason | None = None
    hangup_by: HangupBy = HangupBy.NONE
    hangup_reason: HangupReason = HangupReason.NONE
    tm_ringing: datetime | None = None
    tm_progressing: datetime | None = None
    tm_hangup: datetime | None = None
    tm_delete: datetime | None = None


def index(call: CallState) -> Index:
    """The columns of the store."""
    return Index(
        customer_id=call.customer_id or NOBODY,
        created_at=call.tm_create,
        live=call.status is not CallStatus.HANGUP,
        hidden=call.customer_id is None or call.tm_delete is not None,
    )


def to_resource(call: CallState) -> Call:
    """The public form."""
    return Call(
        id=call.id,
        customer_id=call.customer_id or NOBODY,
        flow_id=call.flow_id,
        activeflow_id=call.activeflow_id,
        source=call.source,
        destination=call.destination,
        status=call.status,
        action=_current_action(call.work),
        direction=call.direction,
        hangup_by=call.hangup_by,
        hangup_reason=call.hangup_reason,
        metadata=call.metadata,
        tm_ringing=call.tm_ringing,
        tm_progressing=call.tm_progressing,
        tm_hangup=call.tm_hangup,
        tm_create=call.tm_create,
        tm_update=call.tm_update,
        tm_delete=call.tm_delete,
    )


def _current_action(work: Work | None) -> CurrentAction | None:
    action = work.current if work is not None else None
    if work is None or action is None:
        return None
    return CurrentAction(
        id=action.id, type=action.type, option=action.option, tm_execute=work.since
    )
