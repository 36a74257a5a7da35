"""What requests may carry. Fields that are not known are refused: a misspelt one would else be lost
in silence."""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from api_manager.domain import addresses, destinations, sources
from api_manager.domain.scopes import Scope
from evercall.contracts import base

MAX_DESTINATIONS = 20
MAX_ACTIONS = 1000
MAX_VARIABLES = 100
MAX_VARIABLE_BYTES = 32 * 1024
MAX_VARIABLES_BYTES = 64 * 1024
_VARIABLE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}", re.ASCII)
TEN_YEARS = 10 * 366 * 86400


# JSON has U+0000, PostgreSQL has not: `domain.json_body` refuses it everywhere.
_TEXT = {"pattern": r"^[^\x00]*$"}
_LINE = {"pattern": r"^[^\x00-\x1f\x7f]*$"}


def _is_one_line(text: str) -> str:
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        raise ValueError("must be a single line without control characters")
    return text


Line = Annotated[
    str,
    StringConstraints(max_length=255),
    AfterValidator(_is_one_line),
    Field(json_schema_extra=_LINE),
]
Name = Annotated[Line, Field(description="For people; any text of one line.")]
Detail = Annotated[
    str,
    StringConstraints(max_length=4096),
    Field(description="For people; any text.", json_schema_extra=_TEXT),
]

# What an action may hold is the business of flow_manager, which reports all faults of a flow at once.
Actions = Annotated[
    list[Any],
    Field(max_length=MAX_ACTIONS),
    WithJsonSchema(
        {
            "type": "array",
            "maxItems": MAX_ACTIONS,
            "description": "The steps of the flow. All faults are reported at once, each with its "
            "place, for example `actions[2].option.duration`.",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "id": {
                        "type": "string",
                        "format": "uuid",
                        "description": "Given when left out.",
                    },
                    "type": {"type": "string", "description": "`answer`, `talk`, `branch` …"},
                    "next_id": {
                        "type": "string",
                        "format": "uuid",
                        "description": "The successor; without it the next in the list.",
                    },
                    "option": {"type": "object", "description": "What the type takes."},
                },
            },
        }
    ),
]


def _is_e164(text: str) -> str:
    return addresses.normalise_target(base.AddressType.TEL, text)


E164Number = Annotated[
    str,
    AfterValidator(_is_e164),
    Field(
        description="E.164 with `+`.", json_schema_extra={"pattern": f"^{addresses.E164_PATTERN}$"}
    ),
]


class Body(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomerBody(Body):
    """A customer as the administrator describes it."""

    name: Annotated[Name, StringConstraints(min_length=1)]
    detail: Detail = ""
    email: Annotated[Line, Field(description="Where the customer is reached.")] = ""
    phone_number: Line = ""
    address: Line = ""


Scopes = Annotated[
    list[Scope] | None,
    Field(
        min_length=1,
        max_length=len(Scope),
        description="What it may be used for; without it all but `admin`. A key cannot grant a scope that"
        " it does not have.",
    ),
]


Quota = Annotated[StrictInt | None, Field(ge=0, le=2**53)]


class QuotasBody(Body):
    """Quotas of a customer, whole: what is left out is the platform's default."""

    concurrent_calls: Quota = None
    calls_per_second: Quota = None
    destinations_per_request: Quota = None
    speech_at_once: Quota = None
    speech_characters_per_minute: Quota = None
    downloads_at_once: Quota = None
    downloads_per_minute: Quota = None
    storage_bytes: Quota = None
    flows: Quota = None
    media_streams: Quota = None


def _is_source(text: str) -> str:
    return sources.normalise_entry(text)


def _is_destination(text: str) -> str:
    return destinations.normalise_entry(text)


Source = Annotated[str, StringConstraints(max_length=255), AfterValidator(_is_source)]
Destination = Annotated[str, StringConstraints(max_length=255), AfterValidator(_is_destination)]


class DestinationsBody(Body):
    """Prefixes (`+49`), networks (`198.51.100.0/24`), hosts (`pbx.example.com`) and domains (`*.example.com`).
    Of all entries that match, the platform's included, the most specific one decides."""

    allow: Annotated[list[Destination], Field(max_length=1000)] = []
    deny: Annotated[list[Destination], Field(max_length=1000)] = []


class PolicyBody(Body):
    """A customer's policy, whole: what is left out is emptied."""

    sources: Annotated[
        list[Source],
        Field(
            max_length=1000,
            description="Verified origins of calls beside the customer's own numbers: `+4930123456`, "
            "`sip:alice@example.com`, or `example.com` for any user there.",
        ),
    ] = []
    destinations: DestinationsBody = DestinationsBody()


class AccesskeyBody(Body):
    """A new access key."""

    name: Name = ""
    detail: Detail = ""
    scopes: Scopes = None
    expire: Annotated[
        StrictInt | None,
        Field(
            ge=1, le=TEN_YEARS, description="Seconds from now; without it the key does not expire."
        ),
    ] = None


class AccesskeyChangeBody(Body):
    """What may change of an access key."""

    name: Name
    detail: Detail = ""


_OF_ALL_CALLS: JsonDict = {"properties": {"call_id": {"type": "null"}}}
_FOR_AUDIO: JsonDict = {"properties": {"scopes": {"enum": [None, [Scope.MEDIA.value]]}}}


class TokenBody(Body):
    """The access key that a token is wanted for."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [_OF_ALL_CALLS, _FOR_AUDIO]})

    accesskey: Annotated[
        str,
        StringConstraints(min_length=1, max_length=4096),
        Field(json_schema_extra=_TEXT),
    ]
    scopes: Scopes = None
    call_id: Annotated[
        UUID | None,
        Field(
            description="With it the token opens the audio of this call and nothing else: the only"
            " scope is `media`."
        ),
    ] = None

    @model_validator(mode="after")
    def _is_for_audio_where_it_is_for_one_call(self) -> "TokenBody":
        if self.call_id is not None and self.scopes not in (None, [Scope.MEDIA]):
            raise ValueError("with a call_id, scopes is media alone")
        return self

    @property
    def wanted(self) -> frozenset[Scope] | None:
        """The scopes that the token is to have; None where nothing says so."""
        if self.call_id is not None:
            return frozenset({Scope.MEDIA})
        return None if self.scopes is None else frozenset(self.scopes)


class FlowBody(Body):
    """A flow, whole: a change replaces it."""

    name: Name = ""
    detail: Detail = ""
    actions: Actions
    on_complete_flow_id: Annotated[
        UUID | None, Field(description="The flow that runs when this one has ended.")
    ] = None


class NumberBody(Body):
    """A new number."""

    number: E164Number
    name: Name = ""
    detail: Detail = ""
    call_flow_id: Annotated[
        UUID | None, Field(description="The flow that a call to this number starts.")
    ] = None


class NumberChangeBody(Body):
    """What may change of a number, whole: what is left out is emptied."""

    name: Name = ""
    detail: Detail = ""
    call_flow_id: UUID | None = None


_SIP_TARGET = {"pattern": f"^{addresses.SIP_PATTERN}$", "maxLength": addresses.MAX_LENGTH}


def _kind(kind: base.AddressType, target: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {"type": {"const": kind}, "target": target}}


class _PartyBody(Body):
    """What is known of a party to a call."""

    type: Annotated[
        Literal["sip", "tel"], Field(description="`sip`: a SIP URI; `tel`: an E.164 number.")
    ]
    target: Annotated[str, Field(description="`sip:alice@192.0.2.10:5060`, or `+4930123456`.")]
    target_name: Annotated[Line, Field(description="The name that the other side sees.")] = ""
    name: Name = ""
    detail: Line = ""

    @field_validator("target")
    @classmethod
    def _is_of_its_type(cls, target: str, info: ValidationInfo) -> str:
        if "type" not in info.data:  # the type itself is wrong, which is reported
            return target
        return addresses.normalise_target(base.AddressType(info.data["type"]), target)

    def to_contract(self) -> base.Address:
        """The address as services know it."""
        return base.Address(
            type=base.AddressType(self.type),
            target=self.target,
            target_name=self.target_name,
            name=self.name,
            detail=self.detail,
        )


class AddressBody(_PartyBody):
    """Who calls."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                _kind(base.AddressType.SIP, _SIP_TARGET),
                _kind(base.AddressType.TEL, {"pattern": f"^{addresses.E164_PATTERN}$"}),
            ]
        }
    )


class DestinationBody(_PartyBody):
    """A party to call. Telephone numbers need a provider and can't be called yet."""

    type: Annotated[Literal["sip"], Field(description="`sip`: a SIP URI.")]
    target: Annotated[
        str, Field(description="`sip:alice@192.0.2.10:5060`.", json_schema_extra=_SIP_TARGET)
    ]


RESERVED_PREFIX = "voipbin."


def _fit_in(variables: dict[str, str]) -> dict[str, str]:
    if not all(_VARIABLE_NAME.fullmatch(name) for name in variables):
        raise ValueError("names are 1 to 128 letters, digits, dots, dashes and underscores")
    if any(name.startswith(RESERVED_PREFIX) for name in variables):
        raise ValueError(f"a name must not begin with {RESERVED_PREFIX}: the platform sets those")
    sizes = [len(value.encode()) for value in variables.values()]
    if len(variables) > MAX_VARIABLES:
        raise ValueError(f"must not be more than {MAX_VARIABLES}")
    if any(size > MAX_VARIABLE_BYTES for size in sizes):
        raise ValueError(f"a value must not be longer than {MAX_VARIABLE_BYTES} bytes")
    if sum(sizes) + sum(len(name.encode()) for name in variables) > MAX_VARIABLES_BYTES:
        raise ValueError(f"must not be longer than {MAX_VARIABLES_BYTES} bytes together")
    return variables


class CallsBody(Body):
    """Calls to place: a flow that exists, or actions of their own."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["flow_id"], "properties": {"flow_id": {"type": "string"}}},
                {"required": ["actions"], "properties": {"actions": {"type": "array"}}},
            ]
        }
    )

    flow_id: Annotated[
        UUID | None, Field(description="The flow to run; it wins over `actions`.")
    ] = None
    actions: Actions | None = None
    source: Annotated[AddressBody, Field(description="Who calls.")]
    destinations: Annotated[
        list[DestinationBody],
        Field(
            min_length=1, max_length=MAX_DESTINATIONS, description="Each gets a call of its own."
        ),
    ]
    anonymous: Annotated[
        Literal["yes", "no", "auto"],
        Field(
            description="Whether the caller's identity is withheld: `From` is anonymous then, and `Privacy: id`"
            " asks all on the way to withhold it too. `auto`: where `source` is anonymous itself."
        ),
    ] = "auto"
    variables: Annotated[
        dict[str, str],
        AfterValidator(_fit_in),
        Field(
            description="Variables that the flow starts with, read as `${name}`: values of 32 KiB at"
            " most, and 64 KiB with all names.",
            json_schema_extra={
                "maxProperties": MAX_VARIABLES,
                "propertyNames": {"pattern": f"^{_VARIABLE_NAME.pattern}$"},
                "additionalProperties": {"type": "string", **_TEXT},
            },
        ),
    ] = {}

    @model_validator(mode="after")
    def _says_what_to_do(self) -> "CallsBody":
        if self.flow_id is None and self.actions is None:
            raise ValueError("flow_id or actions is required")
        return self
