"""The types of action: what each may be told, and who carries it out.

One struct of options per type; the reference in docs/flows.md is made from them, and `validation` checks
customers' flows against them. A text marked as a template has its `${variables}` filled in when the
action starts; its constraints are checked then, because only then its value is known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from evercall.contracts.call import HangupReason

DIGITS = "voipbin.call.digits"
"""The variable that holds what the last `digits_receive` collected."""

RESERVED_PREFIX = "voipbin."
"""Variables of this prefix are set by the platform alone."""

MAX_TEXT = 32_768
MAX_MILLISECONDS = 86_400_000
MAX_LOOP_COUNT = 99

TEMPLATE = {"template": True}

Milliseconds = Annotated[int, Meta(ge=0, le=MAX_MILLISECONDS)]
VariableName = Annotated[
    str,
    Meta(
        pattern=r"^[^${}\x00-\x1f]{1,255}\Z",
        title="the name of a variable: 1 to 255 characters other than $, { and }",
    ),
]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/?#]+[^\s]*\Z",
        max_length=2048,
        title="an http or https URL of at most 2048 characters",
        extra=TEMPLATE,
    ),
]


StreamUrl = Annotated[
    str,
    Meta(
        pattern=r"^(wss?://[^\s/?#]+[^\s]*)?\Z",
        max_length=2048,
        title="a ws or wss URL of at most 2048 characters",
        extra=TEMPLATE,
    ),
]
StreamHost = Annotated[
    str,
    Meta(
        pattern=r"^([^\s/?#@]+:[0-9]{1,5})?\Z",
        max_length=300,
        title="a host and a port, such as media.example.com:9000",
        extra=TEMPLATE,
    ),
]


class Executor(StrEnum):
    """Who carries an action out: `call` hands it to the call, `flow` decides at once."""

    CALL = "call"
    FLOW = "flow"


class Comparison(StrEnum):
    """How `condition_variable` compares."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    LESS = "<"
    LESS_OR_EQUAL = "<="


class ValueType(StrEnum):
    """What `condition_variable` compares a variable with."""

    STRING = "string"
    NUMBER = "number"
    LENGTH = "length"


class SpeechProvider(StrEnum):
    """Who speaks. The platform falls back to its default where a provider is not set up."""

    DEFAULT = ""
    ESPEAK = "espeak"
    GCP = "gcp"
    AWS = "aws"


class DigitsHandle(StrEnum):
    """What a digit does to a prompt. `next`: it ends the prompt, and is kept for who collects digits."""

    NONE = ""
    NEXT = "next"


class StreamEncapsulation(StrEnum):
    """How audio is wrapped on its way to and from an application."""

    RTP = "rtp"
    SLN = "sln"
    AUDIOSOCKET = "audiosocket"


class StreamTransport(StrEnum):
    """What carries it. Empty: `websocket` for a URL, else `udp` for rtp and `tcp` for audiosocket."""

    DEFAULT = ""
    WEBSOCKET = "websocket"
    UDP = "udp"
    TCP = "tcp"


class StreamDirection(StrEnum):
    """Whose audio: `in` comes from the call's far end, `out` goes to it."""

    NONE = ""
    BOTH = "both"
    IN = "in"
    OUT = "out"


class StreamFormat(StrEnum):
    """The coding inside the platform."""

    ULAW = "ulaw"


class StreamConnection(StrEnum):
    """Who connects: the platform."""

    CLIENT = "client"


class CallEndReason(StrEnum):
    """The hangup reasons that a flow may give; each has a SIP status of its own on the way out."""

    NORMAL = HangupReason.NORMAL.value
    FAILED = HangupReason.FAILED.value
    BUSY = HangupReason.BUSY.value
    CANCEL = HangupReason.CANCEL.value
    TIMEOUT = HangupReason.TIMEOUT.value
    NOANSWER = HangupReason.NOANSWER.value
    DIALOUT = HangupReason.DIALOUT.value
    AMD = HangupReason.AMD.value


class Option(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all option structs."""

    def targets(self) -> Iterator[tuple[str, UUID]]:
        """The actions that this one may jump to, each with the path of the field that names it."""
        return iter(())

    def waits(self) -> bool:
        """Whether time passes before the next action begins."""
        return False

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Options that do not go together: the field, and what is wrong with it."""
        return iter(())


class Answer(Option, frozen=True):
    """Answers an incoming call. A call that is answered already goes on at once."""


class Play(Option, frozen=True):
    """Plays audio files one after the other. What can't be fetched is left out."""

    stream_urls: Annotated[
        list[Url], Meta(min_length=1, max_length=100, description="Where the audio files are.")
    ]

    def waits(self) -> bool:
        return True


class Talk(Option, frozen=True):
    """Speaks a text. Of SSML `p`, `s`, `break` (10 s at most), `emphasis`, `prosody`, `say-as` and `sub` are
    heard; of other elements only the text inside. Values of variables are text there, whatever they contain."""

    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_TEXT,
            description="What is said: plain text, or SSML from `<speak>` on.",
            extra={**TEMPLATE, "spoken": True},
        ),
    ]
    language: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}\Z",
            title="a BCP 47 language tag such as en-US",
            description="The language of the text.",
            extra=TEMPLATE,
        ),
    ] = "en-US"
    voice_id: Annotated[
        str,
        Meta(
            max_length=64,
            description="A voice of the provider; empty for its usual one.",
            extra=TEMPLATE,
        ),
    ] = ""
    provider: Annotated[
        SpeechProvider,
        Meta(description="Who speaks; empty for the platform's choice."),
    ] = SpeechProvider.DEFAULT
    digits_handle: Annotated[
        DigitsHandle,
        Meta(
            description="`next`: a digit ends the prompt. Before a `digits_receive` it always does."
        ),
    ] = DigitsHandle.NONE

    def waits(self) -> bool:
        return True


class Sleep(Option, frozen=True):
    """Waits."""

    duration: Annotated[Milliseconds, Meta(description="How long, in milliseconds.")]

    def waits(self) -> bool:
        return self.duration > 0


class DigitsReceive(Option, frozen=True):
    """Collects the keys that the caller presses into `voipbin.call.digits`, replacing what was there.

    Digits that were pressed before it began, and that nobody collected, count as well. It ends when
    `length` digits are there, when one of the keys in `key` is pressed (which is kept as the last
    digit), or when `duration` is over.
    """

    duration: Annotated[Milliseconds, Meta(description="The longest wait, in milliseconds.")]
    length: Annotated[
        int,
        Meta(
            ge=0, le=100, description="Digits to collect; 0 for no limit but `key` and `duration`."
        ),
    ] = 1
    key: Annotated[
        str,
        Meta(
            pattern=r"^[0-9A-D#*]{0,16}\Z",
            title="up to 16 of the keys 0-9, A-D, # and *",
            description="Keys that end the collection.",
        ),
    ] = ""

    def waits(self) -> bool:
        return self.duration > 0


class Branch(Option, frozen=True):
    """Jumps to the target that belongs to a variable's value. A branch on the digits clears them."""

    variable: Annotated[
        str,
        Meta(
            pattern=r"^[^${}\x00-\x1f]{0,255}\Z",
            title="the name of a variable: up to 255 characters other than $, { and }",
            description="The variable to look at.",
        ),
    ] = DIGITS
    default_target_id: Annotated[
        UUID | None,
        Meta(description="Where to go with any other value; without it, to the next action."),
    ] = None
    target_ids: Annotated[
        dict[Annotated[str, Meta(max_length=255)], UUID],
        Meta(max_length=100, description="For each value the id of the action to go to."),
    ] = {}

    def targets(self) -> Iterator[tuple[str, UUID]]:
        if self.default_target_id is not None:
            yield "default_target_id", self.default_target_id
        for value, target in self.target_ids.items():
            yield f"target_ids.{value}", target


class Goto(Option, frozen=True):
    """Jumps to another action.

    With a `loop_count` of n it jumps n times, then goes on to the next action once and starts counting
    afresh: a loop inside another loop runs as often in every round. Without it, it always jumps.
    """

    target_id: Annotated[UUID, Meta(description="The id of the action to go to.")]
    loop_count: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_LOOP_COUNT)] | None,
        Meta(description="How many times to jump before going on."),
    ] = None

    def targets(self) -> Iterator[tuple[str, UUID]]:
        yield "target_id", self.target_id


class ConditionVariable(Option, frozen=True, kw_only=True):
    """Goes on to the next action when a variable compares as asked, else to another one.

    Text is compared by code point. A variable that is no number differs from every number, and is
    neither greater nor less than any.
    """

    condition: Annotated[Comparison, Meta(description="The variable stands on its left.")]
    variable: Annotated[VariableName, Meta(description="The variable to look at.")]
    value_type: Annotated[ValueType, Meta(description="Which of the three values counts.")]
    value_string: Annotated[
        str,
        Meta(max_length=MAX_TEXT, description="Compared with the variable.", extra=TEMPLATE),
    ] = ""
    value_number: Annotated[float, Meta(description="Compared with the variable as a number.")] = 0
    value_length: Annotated[
        int,
        Meta(ge=0, le=MAX_TEXT, description="Compared with the number of characters."),
    ] = 0
    false_target_id: Annotated[UUID, Meta(description="Where to go when the condition fails.")]

    def targets(self) -> Iterator[tuple[str, UUID]]:
        yield "false_target_id", self.false_target_id


class VariableSet(Option, frozen=True):
    """Sets a variable."""

    key: Annotated[
        str,
        Meta(
            pattern=r"^(?!voipbin\.)[^${}\x00-\x1f]{1,255}\Z",
            title="the name of a variable: 1 to 255 characters other than $, { and },"
            " not beginning with voipbin.",
            description="The variable's name.",
        ),
    ]
    value: Annotated[str, Meta(max_length=MAX_TEXT, description="Its new value.", extra=TEMPLATE)]


class ExternalMediaStart(Option, frozen=True):
    """Connects the call's audio with an application: a WebSocket (`url`), or RTP or AudioSocket
    (`external_host`). The flow goes on at once; the stream lasts until the call ends, the application ends it
    or an `external_media_stop`. An application that can't be reached is left out. See docs/media-streams.md."""

    url: Annotated[StreamUrl, Meta(description="Where the application's WebSocket is.")] = ""
    external_host: Annotated[
        StreamHost, Meta(description="Where the application's RTP or AudioSocket is.")
    ] = ""
    encapsulation: Annotated[StreamEncapsulation, Meta(description="How the audio is wrapped.")] = (
        StreamEncapsulation.RTP
    )
    transport: Annotated[
        StreamTransport,
        Meta(description="Follows from the other options; may be said."),
    ] = StreamTransport.DEFAULT
    direction_listen: Annotated[
        StreamDirection,
        Meta(description="What the application hears: the far end, what it is told, or both."),
    ] = StreamDirection.BOTH
    direction_speak: Annotated[
        StreamDirection,
        Meta(description="Who hears the application: `out` the far end, `in` who it talks with."),
    ] = StreamDirection.BOTH
    format: Annotated[StreamFormat, Meta(description="The coding of rtp.")] = StreamFormat.ULAW
    connection_type: Annotated[StreamConnection, Meta(description="Who connects.")] = (
        StreamConnection.CLIENT
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if bool(self.url) == bool(self.external_host):
            yield "url", "must be given, or external_host, and not both"
            return
        if self.external_host and self.encapsulation is StreamEncapsulation.SLN:
            yield "encapsulation", "must be rtp or audiosocket with external_host"
        elif self.transport not in (StreamTransport.DEFAULT, self._natural()):
            yield "transport", f"must be {self._natural().value} here"
        if not self.direction_listen and not self.direction_speak:
            yield "direction_listen", "must not be empty when direction_speak is"

    def _natural(self) -> StreamTransport:
        if self.url:
            return StreamTransport.WEBSOCKET
        is_rtp = self.encapsulation is StreamEncapsulation.RTP
        return StreamTransport.UDP if is_rtp else StreamTransport.TCP


class ExternalMediaStop(Option, frozen=True):
    """Ends all streams of the call that `external_media_start` began."""


class Stop(Option, frozen=True):
    """Ends the flow. Its call hangs up."""


class Hangup(Option, frozen=True):
    """Hangs the call up, which ends the flow."""

    reason: Annotated[CallEndReason, Meta(description="The hangup reason that the call shows.")] = (
        CallEndReason.NORMAL
    )


@dataclass(frozen=True, slots=True)
class ActionType:
    """One type of action."""

    name: str
    option: type[Option]
    executor: Executor


def _table(*rows: ActionType) -> Mapping[str, ActionType]:
    return {row.name: row for row in rows}


ACTION_TYPES: Mapping[str, ActionType] = _table(
    ActionType("answer", Answer, Executor.CALL),
    ActionType("branch", Branch, Executor.FLOW),
    ActionType("condition_variable", ConditionVariable, Executor.FLOW),
    ActionType("digits_receive", DigitsReceive, Executor.CALL),
    ActionType("external_media_start", ExternalMediaStart, Executor.CALL),
    ActionType("external_media_stop", ExternalMediaStop, Executor.CALL),
    ActionType("goto", Goto, Executor.FLOW),
    ActionType("hangup", Hangup, Executor.CALL),
    ActionType("play", Play, Executor.CALL),
    ActionType("sleep", Sleep, Executor.CALL),
    ActionType("stop", Stop, Executor.FLOW),
    ActionType("talk", Talk, Executor.CALL),
    ActionType("variable_set", VariableSet, Executor.FLOW),
)


def read_option(kind: ActionType, option: Mapping[str, Any]) -> Option:
    """The typed options of an action whose variables are filled in.

    Raises:
        msgspec.ValidationError: they are not what the type allows.
    """
    return msgspec.convert(option, kind.option)
