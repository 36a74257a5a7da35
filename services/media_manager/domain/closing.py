"""How a stream ends: the reasons, and the close codes (RFC 6455 §7.4) that stand for them."""

from collections.abc import Mapping
from enum import StrEnum


class StreamEnd(StrEnum):
    """Why a stream, or its connection, ends. The word is the reason that is told."""

    APPLICATION_CLOSED = "application_closed"
    APPLICATION_LOST = "application_lost"
    """It did not come back in time."""
    CALL_ENDED = "call_ended"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    STOPPED = "stopped"
    """Asked for over the API, or by the flow."""
    ACCESS_REVOKED = "access_revoked"
    TAKEN_OVER = "taken_over"
    """The stream goes on, on another connection."""
    RESOURCE_LOST = "resource_lost"
    DRAINING = "draining"
    """The stream goes on, at another process: come back with `resume`."""
    TOO_BIG = "message_too_big"
    GARBAGE = "not_understood"
    UNREACHABLE = "unreachable"
    INTERNAL = "internal"


CLOSE_CODES: Mapping[StreamEnd, int] = {
    StreamEnd.APPLICATION_CLOSED: 1000,
    StreamEnd.APPLICATION_LOST: 1001,
    StreamEnd.CALL_ENDED: 1001,
    StreamEnd.TOKEN_EXPIRED: 4001,
    StreamEnd.STOPPED: 4002,
    StreamEnd.ACCESS_REVOKED: 4003,
    StreamEnd.TAKEN_OVER: 4004,
    StreamEnd.RESOURCE_LOST: 4005,
    StreamEnd.DRAINING: 1012,
    StreamEnd.TOO_BIG: 1009,
    StreamEnd.GARBAGE: 1008,
    StreamEnd.UNREACHABLE: 1013,
    StreamEnd.INTERNAL: 1011,
}

_ORDERLY = frozenset({1000, 1001, 1005})
"""1001: a browser leaves the page. 1005 stands for a close frame without a code."""

_FROM_CALL = {
    "call_ended": StreamEnd.CALL_ENDED,
    "stopped_by_flow": StreamEnd.STOPPED,
    "resource_lost": StreamEnd.RESOURCE_LOST,
    "asterisk_unavailable": StreamEnd.RESOURCE_LOST,
    "asterisk_refused": StreamEnd.RESOURCE_LOST,
    "owner_lost": StreamEnd.RESOURCE_LOST,
}


def is_orderly(code: int | None) -> bool:
    """Whether an application that closed with this code wants no more. None: the connection just broke."""
    return code in _ORDERLY


def end_of(reason: str) -> StreamEnd:
    """What the end of its leg means for a stream; `reason` is call_manager's."""
    return _FROM_CALL.get(reason, StreamEnd.STOPPED)
