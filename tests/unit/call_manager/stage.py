"""A stage for one call: it does what the engine does with effects, in memory and with a clock of its own.

After every decision the state goes through JSON and back, as it does through the database.
"""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from call_manager.domain.call import CallState, index
from call_manager.domain.decide import decide
from call_manager.domain.messages import (
    ChannelGone,
    ChannelRinging,
    ChannelsSeen,
    ChannelUp,
    CommandRefused,
    DigitReceived,
    PlaybackFinished,
    StasisStarted,
)
from call_manager.domain.ports import AUDIO, FARM, ROUTES, ChosenAsterisk, PreparedAudio
from call_manager.domain.turn import Rules
from evercall.actor import model
from evercall.actor.model import Answered, Failed, TimerFired
from evercall.contracts.asterisk import AriCommand, AsteriskLost
from evercall.contracts.base import Address, AddressType, Message
from evercall.contracts.call import Call, CallCreate, CallHangup, CallStatus
from evercall.contracts.flow import Run, RunAction
from evercall.contracts.ids import make_id
from evercall.contracts.media import ExternalMedia
from evercall.contracts.route import InboundRoute
from evercall.service.errors import NotFound, PlatformError, Unavailable

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
CALL_ID = make_id(int(START.timestamp() * 1000), bytes(range(10)))
CUSTOMER = UUID(int=7)
FLOW = UUID(int=8)
CHANNEL = "1772600767.1"
SECOND = timedelta(seconds=1)

# Keys come 200 ms after each other, in whatever test.
_key_times = itertools.count(0, 0.2)

Known = msgspec.Struct | PlatformError | None

PROMPT = PreparedAudio(media=["sound:http://audio/abc.ulaw"], duration_ms=2000)
ROUTE = InboundRoute(number_id=UUID(int=9), customer_id=CUSTOMER, flow_id=FLOW)
ASTERISK = ChosenAsterisk(asterisk_id="call-1", boot_id="boot-1")


class Stage:
    """One call and everything around it."""

    def __init__(self, **ports: Known) -> None:
        self.now = START
        self.rules = Rules()
        self.state: CallState | None = None
        self.pending: dict[str, model.Ask | AriCommand] = {}
        self.timers: dict[str, datetime] = {}
        self.commands: list[AriCommand] = []
        self.told: list[tuple[str, str]] = []
        self.asks: list[model.Ask] = []
        self.tells: list[model.Tell] = []
        self.events: list[tuple[str, Call]] = []
        self.media_events: list[tuple[str, ExternalMedia]] = []
        self.notices: list[model.Notify] = []
        self.deferred: set[str] = set()
        self.late_replies: list[Any] = []
        self.replies: list[Any] = []
        self.decisions = 0
        self.ports: dict[str, Known] = {ROUTES: ROUTE, FARM: ASTERISK, AUDIO: PROMPT, **ports}

    # -- what happens ----------------------------------------------------------------------------

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self._hear(message)

    def _hear(self, message: Message) -> None:
        decision = decide(self.rules, self.state, message, self.now)
        self.decisions += 1
        if decision.state is None:
            assert self.state is None, "a state can't be taken back"
        else:
            self.state = msgspec.json.decode(msgspec.json.encode(decision.state), type=CallState)
            assert self.state == decision.state
        local: list[Message] = []
        for effect in decision.effects:
            self._apply(effect, local)
        if isinstance(message, Answered | Failed):
            asked = self.pending.get(message.key)
            if not any(isinstance(e, model.Ask) and e is asked for e in decision.effects):
                self.pending.pop(message.key, None)
        for answer in local:
            self._hear(answer)

    def answer(self, key: str, body: Any) -> None:
        """Answers what was asked under this key, if it still matters."""
        if key in self.pending:
            self.hear(Answered(key=key, body=body))

    def fail(self, key: str, error: PlatformError) -> None:
        if key in self.pending:
            self.hear(Failed(key=key, error=error.to_data()))

    def give_run(self, *actions: RunAction, final: bool = True, sequence: int = 1) -> None:
        assert self.state is not None
        assert self.state.activeflow_id is not None
        run = Run(
            activeflow_id=self.state.activeflow_id,
            sequence=sequence,
            actions=list(actions),
            final=final,
        )
        self.answer(f"run.{sequence}", run)

    def wait(self, duration: timedelta) -> None:
        """Lets time pass; timers fire in order."""
        end = self.now + duration
        while due := sorted((at, name) for name, at in self.timers.items() if at <= end):
            at, name = due[0]
            self.now = max(self.now, at)
            del self.timers[name]
            self.hear(TimerFired(name=name))
        self.now = end

    # -- what the engine does --------------------------------------------------------------------

    def _apply(self, effect: model.Effect, local: list[Message]) -> None:
        match effect:
            case model.Command(asterisk_id, boot_id, command):
                self.told.append((asterisk_id, boot_id))
                self.commands.append(command)
                if self.state is not None:
                    self.pending[command.key] = command
            case model.Settle(key):
                self.pending.pop(key, None)
            case model.Ask():
                self._ask(effect, local)
            case model.Tell():
                self.tells.append(effect)
            case model.Publish("external_media", event, customer, body):
                assert customer == CUSTOMER
                assert isinstance(body, ExternalMedia)
                self.media_events.append((event, body))
            case model.Defer(key):
                self.deferred.add(key)
            case model.Notify():
                self.notices.append(effect)
            case model.Reply(body, key) if key:
                self._late(key, body)
            case model.ReplyError(error, key) if key:
                self._late(key, error)
            case model.Publish(resource, event, customer, body):
                assert resource == "call"
                assert customer == CUSTOMER
                assert isinstance(body, Call)
                self.events.append((event, body))
            case model.Reply(body):
                self.replies.append(body)
            case model.ReplyError(error):
                self.replies.append(error)
            case model.SetTimer(name, at):
                self.timers[name] = at
            case model.CancelTimer(name):
                self.timers.pop(name, None)
            case _:
                raise AssertionError(f"unexpected effect {effect}")

    def _late(self, key: str, body: Any) -> None:
        if key in self.deferred:
            self.deferred.remove(key)
            self.late_replies.append(body)

    def _ask(self, ask: model.Ask, local: list[Message]) -> None:
        self.asks.append(ask)
        known = self.ports.get(ask.service)
        if isinstance(known, PlatformError):
            local.append(Failed(key=ask.key, error=known.to_data()))
        elif known is not None:
            local.append(Answered(key=ask.key, body=known))
        else:
            assert self.state is not None
            self.pending[ask.key] = ask

    # -- what is seen ----------------------------------------------------------------------------

    @property
    def call(self) -> CallState:
        assert self.state is not None
        return self.state

    def status(self) -> CallStatus:
        return self.call.status

    @property
    def event_names(self) -> list[str]:
        return [name for name, _ in self.events]

    def take_commands(self) -> list[str]:
        """What Asterisk was told since the last time, as `METHOD uri?query`, without our ids."""
        told = [brief(command) for command in self.commands]
        self.commands = []
        return told

    def assert_over(self) -> None:
        """Nothing is owed any more."""
        assert self.status() is CallStatus.HANGUP
        assert not index(self.call).live
        assert self.pending == {}
        assert self.timers == {}
        assert self.call.digits == ""
        assert self.call.work is None


def brief(command: AriCommand) -> str:
    """A command in one line, for comparing."""
    uri = command.uri.replace(str(CALL_ID), "<call>").replace(CHANNEL, "<channel>")
    query = "&".join(f"{name}={value}" for name, value in command.query.items())
    return f"{command.method} {uri}{'?' + query if query else ''}"


# -- messages ------------------------------------------------------------------------------------


def started(
    destination: str = "+15550100",
    context: str = "call-in",
    channel_id: str = CHANNEL,
    boot_id: str = "boot-1",
) -> StasisStarted:
    return StasisStarted(
        call_id=CALL_ID,
        asterisk_id="call-1",
        boot_id=boot_id,
        channel_id=channel_id,
        caller_number="+15550199",
        caller_name="Alice",
        arguments={
            "context": context,
            "destination": destination,
            "source": "192.0.2.7",
            "sip_call_id": "abc@192.0.2.7",
        },
        at=START,
    )


def up(channel_id: str = CHANNEL) -> ChannelUp:
    return ChannelUp(channel_id=channel_id, at=START)


def ringing(number: int = 1) -> ChannelRinging:
    return ChannelRinging(channel_id=f"{CALL_ID}.{number}", at=START)


def refused(
    key: str, status: int, reason: str = "", *, asterisk_id: str = "call-1", boot_id: str = "boot-1"
) -> CommandRefused:
    return CommandRefused(
        asterisk_id=asterisk_id, boot_id=boot_id, key=key, status=status, reason=reason
    )


def lost(boot_id: str = "boot-1", *, at: datetime = START) -> AsteriskLost:
    return AsteriskLost(asterisk_id="call-1", boot_id=boot_id, at=at)


def gone(cause: int = 16, channel_id: str = CHANNEL) -> ChannelGone:
    return ChannelGone(channel_id=channel_id, cause=cause, at=START)


def digits(typed: str) -> Iterable[DigitReceived]:
    return [key(digit, at=next(_key_times)) for digit in typed]


def key(digit: str, *, at: float, milliseconds: int = 100) -> DigitReceived:
    """A key that was released so many seconds after the start."""
    return DigitReceived(
        channel_id=CHANNEL,
        digit=digit,
        duration=timedelta(milliseconds=milliseconds),
        at=START + timedelta(seconds=at),
    )


def played(place: str, *, failed: bool = False) -> PlaybackFinished:
    return PlaybackFinished(playback_id=f"{CALL_ID}.{place}", failed=failed)


def seen(boot_id: str = "boot-1", **channels: str) -> ChannelsSeen:
    named = {
        name.replace("own", CHANNEL).replace("out", f"{CALL_ID}.1"): s
        for name, s in channels.items()
    }
    return ChannelsSeen(call_id=CALL_ID, asterisk_id="call-1", boot_id=boot_id, channels=named)


def create(target: str = "sip:bob@192.0.2.9", kind: AddressType = AddressType.SIP) -> CallCreate:
    return CallCreate(
        id=CALL_ID,
        customer_id=CUSTOMER,
        flow_id=FLOW,
        source=Address(type=AddressType.TEL, target="+15550100", target_name="Acme"),
        destination=Address(type=kind, target=target),
        variables={"order": "17"},
    )


def hangup(customer_id: UUID = CUSTOMER) -> CallHangup:
    return CallHangup(id=CALL_ID, customer_id=customer_id)


def action(kind: str, **option: Any) -> RunAction:
    return RunAction(id=UUID(int=hash(kind) & 0xFFFF), type=kind, option=option)


ANSWER = action("answer")
PLAY = action("play", stream_urls=["http://192.0.2.80/a.wav"])
TALK = action("talk", text="hello", language="en-US")
SLEEP = action("sleep", duration=3000)
HANGUP = action("hangup")
BYE_BUSY = action("hangup", reason="busy")


def receive_digits(length: int = 1, key: str = "", duration: int = 5000) -> RunAction:
    return action("digits_receive", length=length, key=key, duration=duration)


NO_ROUTE = NotFound("route_not_found", "No flow is set for calls to this number")
AWAY = Unavailable("service_unavailable", "Nobody serves this now")


def incoming(*actions: RunAction, final: bool = True, **ports: Known) -> Stage:
    """An incoming call that has its first run."""
    stage = Stage(**ports)
    stage.hear(started())
    stage.give_run(*actions, final=final)
    return stage


def answered_outgoing(*actions: RunAction, final: bool = True) -> Stage:
    """An outgoing call that was answered and has its first run."""
    stage = Stage()
    stage.hear(create(), ringing(), started(context="call-out", channel_id=f"{CALL_ID}.1"))
    stage.give_run(*actions, final=final)
    return stage
