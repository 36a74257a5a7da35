"""REST over WebSocket: requests as frames, answers matched to them. Pure: time is an argument.

https://docs.asterisk.org, "ARI REST over WebSocket". Asterisk works requests of one socket off one
after the other, in one thread, so commands written in order are carried out in order.

A request's id says all that is needed to understand its answer, so an answer is understood by a
process that has not asked: `<actor id><key>` for commands, `=<name>` for questions of our own.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from evercall.ari.events import Incoming
from evercall.ari.frames import Opcode, encode_frame
from evercall.contracts.asterisk import NO_ANSWER, AriCommand, ProxyReason, RefusedCommand

_ID_LENGTH = 36
_encode = msgspec.json.Encoder().encode


class _Parameter(msgspec.Struct, frozen=True):
    name: str
    value: str


class _Request(msgspec.Struct, frozen=True, omit_defaults=True, tag="RESTRequest"):
    request_id: str
    method: str
    uri: str
    query_strings: list[_Parameter] = []
    content_type: str = ""
    message_body: str = ""


class _Explanation(msgspec.Struct, frozen=True):
    message: str = ""


_decode_explanation = msgspec.json.Decoder(_Explanation).decode


def command_id(command: AriCommand) -> str:
    """The request id of a command."""
    return f"{command.actor}{command.key}"


def encode_command(command: AriCommand) -> bytes:
    """A command as a frame."""
    return encode_request(
        command_id(command), command.method, command.uri, command.query, command.body
    )


def encode_request(
    request_id: str,
    method: str,
    uri: str,
    query: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
) -> bytes:
    """A request as a frame."""
    request = _Request(
        request_id=request_id,
        method=method,
        uri=uri,
        query_strings=[_Parameter(name, value) for name, value in (query or {}).items()],
        content_type="" if body is None else "application/json",
        message_body="" if body is None else _encode(body).decode(),
    )
    return encode_frame(Opcode.TEXT, _encode(request))


def refusal(response: Incoming) -> RefusedCommand | None:
    """What an answer refuses; None for success, and for an answer that is no command's."""
    if response.status_code < 400:
        return None
    return _refused(response.request_id, response.status_code, explanation(response))


def no_answer(request_id: str, reason: ProxyReason) -> RefusedCommand | None:
    """The refusal of a command that Asterisk did not answer; None where the request was no command."""
    return _refused(request_id, NO_ANSWER, reason)


def explanation(response: Incoming) -> str:
    """What Asterisk says about a refusal: its body's message, else the reason phrase."""
    try:
        told = _decode_explanation(response.message_body).message
    except ValueError:
        told = ""
    return told or response.reason_phrase


def _refused(request_id: str, status: int, reason: str) -> RefusedCommand | None:
    try:
        actor = UUID(request_id[:_ID_LENGTH])
    except ValueError:
        return None
    return RefusedCommand(actor=actor, key=request_id[_ID_LENGTH:], status=status, reason=reason)


class OpenRequests:
    """Requests that wait for their answers, in the order in which they were sent."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._open: dict[str, tuple[float, str]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def sent(self, request_id: str, uri: str, now: float) -> None:
        """A request went out. Repeated, it waits from now on."""
        self._open.pop(request_id, None)
        self._open[request_id] = (now + self._patience, uri)

    def answered(self, request_id: str) -> None:
        """An answer came; nobody may have waited for it."""
        self._open.pop(request_id, None)

    def take_overdue(self, now: float) -> Iterator[tuple[str, str]]:
        """Id and URI of those whose time is over. They are forgotten."""
        while self._open:
            request_id, (deadline, uri) = next(iter(self._open.items()))
            if deadline > now:
                return
            del self._open[request_id]
            yield request_id, uri

    def take_all(self) -> list[tuple[str, str]]:
        """Id and URI of all, for when the connection is gone. They are forgotten."""
        taken = [(request_id, uri) for request_id, (_, uri) in self._open.items()]
        self._open.clear()
        return taken
