"""What a credential may be used for, and what each operation needs.

A key gets its scopes when it is made, and they never change. A key cannot grant a scope that it does not
have, neither to another key nor to a token. Who may place calls may also write flows: a call may run any
actions anyway.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum

from evercall.service.errors import Forbidden


class Scope(StrEnum):
    """In the order in which they are shown."""

    READ = "read"
    CALLS = "calls"
    MEDIA = "media"
    ADMIN = "admin"


ALL_SCOPES = frozenset(Scope)
EVERYDAY_SCOPES = ALL_SCOPES - {Scope.ADMIN}
"""What is given where none are named: a key that leaks must not be able to make others."""

_BY_COLLECTION: Mapping[str, tuple[Scope, Scope]] = {
    "calls": (Scope.READ, Scope.CALLS),
    "activeflows": (Scope.READ, Scope.CALLS),
    "flows": (Scope.READ, Scope.CALLS),
    "numbers": (Scope.READ, Scope.ADMIN),
    "customers": (Scope.READ, Scope.ADMIN),
}
"""For looking, and for changing. A collection that is not here needs `admin` for both."""

KEY_MANAGEMENT = "/v1.0/accesskeys"


def required_scope(method: str, path: str) -> Scope:
    """What an operation under `/v1.0` needs. `path`: of the route or of a request."""
    if path.endswith("/media_stream"):
        return Scope.MEDIA
    looking, changing = _BY_COLLECTION.get(path.split("/")[2], (Scope.ADMIN, Scope.ADMIN))
    return looking if method == "GET" else changing


def is_key_management(path: str) -> bool:
    """Whether a path is one that tokens are refused at: a token is made to be put into URLs."""
    return path.startswith(KEY_MANAGEMENT)


def grant(wanted: Collection[Scope] | None, held: frozenset[Scope]) -> frozenset[Scope]:
    """The scopes of a new credential. `wanted`: None where none are named.

    Raises:
        Forbidden: `scope_missing`: the granting credential does not hold all of them.
    """
    if wanted is None:
        return EVERYDAY_SCOPES & held
    for scope in Scope:
        if scope in wanted and scope not in held:
            raise scope_missing(scope)
    return frozenset(wanted)


def in_order(scopes: Collection[Scope]) -> list[Scope]:
    """As they are shown."""
    return [scope for scope in Scope if scope in scopes]


def scope_missing(scope: Scope) -> Forbidden:
    """The refusal of a credential whose scopes are not enough."""
    return Forbidden(
        "scope_missing", "The credentials lack a scope that this needs", details={"scope": scope}
    )
