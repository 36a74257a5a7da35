"""One turn of a call: the state as it grows and the effects as they gather, while one message is handled.

A turn is made and thrown away inside `decide`; nothing of it is seen from outside.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from call_manager.domain.call import CallState, Leg, Work, to_resource
from call_manager.domain.transitions import TRANSITIONS, Trigger
from evercall.actor.model import (
    CancelTimer,
    Command,
    Decision,
    Effect,
    Publish,
    SetTimer,
    Settle,
)
from evercall.contracts.asterisk import AriCommand
from evercall.contracts.call import CallStatus

APPLICATION = "evercall"
"""The Stasis application, as in Asterisk's configuration."""

FLOOR_SLACK = timedelta(minutes=5)
"""Asterisk waits so much longer than we do before it ends a channel by itself."""


class Timer(StrEnum):
    """The timers that a call may have."""

    DIAL = "dial"
    DURATION = "duration"
    ACTION = "action"
    ASK = "ask"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things may last, and how many there may be."""

    dial_timeout: timedelta = timedelta(seconds=60)
    longest_duration: timedelta = timedelta(hours=1)
    media_streams: int = 5
    """How many streams a call may have at once."""

    @property
    def floor(self) -> timedelta:
        """Asterisk ends a channel that is as old by itself, whatever becomes of us (0023)."""
        return self.dial_timeout + self.longest_duration + FLOOR_SLACK


def floor_of(rules: Rules) -> dict[str, str]:
    """The variable that makes Asterisk end a channel. The dialplan sets it for incoming calls."""
    return {"TIMEOUT(absolute)": str(int(rules.floor.total_seconds()))}


class Turn:
    """The call during one `decide`."""

    __slots__ = ("call", "effects", "now", "rules")

    def __init__(self, rules: Rules, call: CallState, now: datetime) -> None:
        self.rules = rules
        self.call = call
        self.now = now
        self.effects: list[Effect] = []

    @property
    def work(self) -> Work:
        """The work on the current run."""
        if self.call.work is None:
            raise AssertionError("a call works only after its flow was started")
        return self.call.work

    @property
    def leg(self) -> Leg:
        """The call's channel."""
        if self.call.leg is None:
            raise AssertionError("a call is told to do something only when it has a channel")
        return self.call.leg

    def change(self, **fields: Any) -> None:
        """Replaces fields of the call."""
        self.call = replace(self.call, tm_update=self.now, **fields)

    def change_work(self, **fields: Any) -> None:
        """Replaces fields of the work."""
        self.change(work=replace(self.work, **fields))

    def change_leg(self, **fields: Any) -> None:
        """Replaces fields of the leg."""
        self.change(leg=replace(self.leg, **fields))

    def move(self, trigger: Trigger) -> None:
        """Moves the call to the status that the table names for this trigger."""
        target = TRANSITIONS[self.call.status][trigger]
        if not isinstance(target, CallStatus):
            raise AssertionError(f"{trigger} does not move a call that is {self.call.status}")
        self.change(status=target)

    def add(self, *effects: Effect) -> None:
        """Adds effects."""
        self.effects.extend(effects)

    def command(self, command: AriCommand) -> None:
        """Tells the call's Asterisk; repeated until it is settled."""
        self.add(Command(self.leg.asterisk_id, self.leg.boot_id, command))

    def command_once(self, command: AriCommand) -> None:
        """Tells the call's Asterisk once: repeating it would do harm, or is not worth it."""
        self.command(command)
        self.settle(command.key)

    def settle(self, *keys: str) -> None:
        """What was commanded or asked under these keys need not be repeated."""
        self.effects.extend(Settle(key) for key in keys)

    def set_timer(self, timer: Timer, after: timedelta) -> None:
        """Starts a timer anew."""
        self.add(SetTimer(timer.value, self.now + after))

    def cancel_timers(self, *timers: Timer) -> None:
        """Takes timers back."""
        self.effects.extend(CancelTimer(timer.value) for timer in timers)

    def publish(self, event: str) -> None:
        """Tells the world, with the call as it is now."""
        call = self.call
        if call.customer_id is not None:
            self.add(Publish("call", event, call.customer_id, to_resource(call)))

    def decision(self) -> Decision[CallState]:
        """What the turn came to."""
        return Decision(self.call, tuple(self.effects))

    def not_later(self, at: datetime) -> datetime:
        """Asterisk's time of an event, unless its clock runs ahead of ours."""
        return min(at, self.now)
