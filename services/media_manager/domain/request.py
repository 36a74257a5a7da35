"""From the path and the query of an upgrade request to the stream that is wanted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs
from uuid import UUID

from evercall.contracts.media import MediaDirection
from evercall.media.encapsulation import RATES
from evercall.media.framing import Encapsulation
from evercall.service.errors import InvalidRequest, NotFound

_PATH = re.compile(r"/v1\.0/(calls|conferences)/([^/]+)/media_stream")

_DIRECTIONS: Mapping[str, tuple[MediaDirection, MediaDirection]] = {
    "both": (MediaDirection.BOTH, MediaDirection.BOTH),
    "in": (MediaDirection.BOTH, MediaDirection.NONE),
    "out": (MediaDirection.NONE, MediaDirection.BOTH),
}
"""What an application wants, as what the platform listens to and speaks."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A stream that an application asks for. `resume`: it had this one before."""

    call_id: UUID
    encapsulation: str
    rate: int
    listen: MediaDirection
    speak: MediaDirection
    resume: UUID | None


def read_request(path: str, query: str) -> StreamRequest:
    """What is asked for.

    Raises:
        NotFound: `route_not_found`, `call_not_found`, `conference_not_found`.
        InvalidRequest: `invalid_request_parameter`, with the field and what it may be.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise NotFound("route_not_found", "There is no such path")
    identifier = _resource(found[1], found[2])
    fields = _Fields(parse_qs(query, keep_blank_values=True))
    encapsulation = fields.choice("encapsulation", [each.value for each in Encapsulation])
    rates = RATES[Encapsulation(encapsulation)]
    rate = fields.choice("rate", [str(rate) for rate in rates])
    listen, speak = _DIRECTIONS[fields.choice("direction", list(_DIRECTIONS))]
    return StreamRequest(
        identifier, encapsulation, int(rate), listen, speak, fields.identifier("resume")
    )


def _resource(collection: str, text: str) -> UUID:
    if collection == "conferences":
        raise NotFound("conference_not_found", "There is no such conference")
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(
            "invalid_request_parameter", "id must be a UUID", details={"field": "id"}
        ) from None


class _Fields:
    """Query parameters, each at most once."""

    def __init__(self, given: Mapping[str, list[str]]) -> None:
        self._given = given

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """One of several; the first where it is left out."""
        value = self._one(name)
        if value is None:
            return allowed[0]
        if value not in allowed:
            raise InvalidRequest(
                "invalid_request_parameter",
                f"{name} is one of {', '.join(allowed)}",
                details={"field": name, "allowed": list(allowed)},
            )
        return value

    def identifier(self, name: str) -> UUID | None:
        """A UUID."""
        value = self._one(name)
        try:
            return None if value is None else UUID(value)
        except ValueError:
            raise InvalidRequest(
                "invalid_request_parameter", f"{name} must be a UUID", details={"field": name}
            ) from None

    def _one(self, name: str) -> str | None:
        values = self._given.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise InvalidRequest(
                "invalid_request_parameter", f"{name} is given twice", details={"field": name}
            )
        return values[0]
