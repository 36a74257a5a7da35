"""What a call asks of this process itself; answered by `gateways`, never over the bus."""

from uuid import UUID

import msgspec

from evercall.contracts.base import Request
from evercall.contracts.route import InboundRoute

ROUTES = "routes"
"""Answers `AdmitIncoming`."""

FARM = "farm"
"""Answers `ChooseAsterisk`."""

AUDIO = "audio"
"""Answers `PrepareAudio` and `PrepareSpeech`."""


class AdmitIncoming(Request[InboundRoute], frozen=True, kw_only=True):
    """Where does this call go, and has its customer room for it? `number` is E.164 with `+`.

    Errors: `route_not_found`, `account_frozen`, `quota_exceeded`, `service_unavailable`.
    """

    call_id: UUID
    number: str


class ChosenAsterisk(msgspec.Struct, frozen=True, kw_only=True):
    """Where an outgoing call starts."""

    asterisk_id: str
    boot_id: str


class ChooseAsterisk(Request[ChosenAsterisk], frozen=True, kw_only=True):
    """Which Asterisk shall place this call? None of `tried`. Errors: `asterisk_unavailable`."""

    call_id: UUID
    tried: list[ChosenAsterisk] = []


class PreparedAudio(msgspec.Struct, frozen=True, kw_only=True):
    """Media URIs that every Asterisk of the farm can play, and how long they last together."""

    media: list[str]
    duration_ms: int


class PrepareAudio(Request[PreparedAudio], frozen=True, kw_only=True):
    """Makes a customer's audio files playable. Errors: `audio_unavailable`."""

    customer_id: UUID
    urls: list[str]


class PrepareSpeech(Request[PreparedAudio], frozen=True, kw_only=True):
    """Speaks a text. Errors: `audio_unavailable`."""

    customer_id: UUID
    text: str
    language: str
    voice: str = ""
