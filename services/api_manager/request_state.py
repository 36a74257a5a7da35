"""What is known of a request while it passes through: kept in the ASGI scope."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from api_manager.domain.creation import Creation
from api_manager.domain.principal import Principal
from evercall.service.identity import new_id

_SCOPE_KEY = "evercall.request"

Scope = MutableMapping[str, Any]


@dataclass(slots=True)
class RequestState:
    """Filled in on the way.

    Attributes:
        id: shown to the client and in the logs.
        client: the address that the request comes from.
        principal: who asks, once authenticated.
        creation: names what the request creates.
        kept_body: what a repeated request is answered with, where that is not the answer itself.
    """

    id: str
    client: str
    principal: Principal | None = None
    creation: Creation = field(default_factory=lambda: Creation(new_id()))
    kept_body: bytes | None = None


def attach(scope: Scope, state: RequestState) -> None:
    """Puts the state into the scope."""
    scope[_SCOPE_KEY] = state


def state_of(scope: Scope) -> RequestState:
    """The state that `frame` attached."""
    state: RequestState = scope[_SCOPE_KEY]
    return state
