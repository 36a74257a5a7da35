"""Short-lived tokens: JSON Web Tokens (RFC 7519), signed with HS256 and nothing else.

A token says which access key it stands for and what it is good for; nothing about persons. The key itself
is looked at again with every request, so a token outlives neither the key that it came from nor a change
of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt

from api_manager.domain.principal import Principal
from api_manager.domain.scopes import Scope, in_order
from api_manager.resources import Token

ALGORITHM = "HS256"
CLAIMS = ["sub", "customer_id", "key", "scopes", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that holds says."""

    subject: UUID
    customer_id: UUID
    key: str
    scopes: frozenset[Scope]
    call_id: UUID | None
    expires_at: datetime


class TokenSigner:
    """Makes and reads tokens."""

    def __init__(self, key: str, lifetime: timedelta, now: Callable[[], datetime]) -> None:
        self._key = key
        self._lifetime = lifetime
        self._now = now

    def sign(self, principal: Principal) -> Token:
        """A token that is good for what this caller may do."""
        expires = self._now() + self._lifetime
        scopes = in_order(principal.scopes)
        claims: dict[str, Any] = {
            "sub": str(principal.subject),
            "customer_id": str(principal.customer_id),
            "key": principal.key,
            "scopes": scopes,
            "exp": expires,
            "jti": uuid4().hex,
        }
        if principal.call_id is not None:
            claims["call_id"] = str(principal.call_id)
        return Token(
            token=jwt.encode(claims, self._key, algorithm=ALGORITHM),
            scopes=scopes,
            call_id=principal.call_id,
            expires_in=int(self._lifetime.total_seconds()),
            tm_expire=expires,
        )

    def read(self, token: str) -> Claims | None:
        """What a token says; None when it does not hold."""
        try:
            # The algorithm is ours to name: a token that names another, or none, is refused. The
            # expiry is checked below, against the clock that we were given.
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                options={"require": CLAIMS, "verify_exp": False},
            )
            expires = float(claims["exp"])
            call_id = claims.get("call_id")
            read = Claims(
                subject=UUID(claims["sub"]),
                customer_id=UUID(claims["customer_id"]),
                key=str(claims["key"]),
                scopes=frozenset(Scope(scope) for scope in claims["scopes"]),
                call_id=None if call_id is None else UUID(call_id),
                expires_at=datetime.fromtimestamp(expires, UTC),
            )
        except (
            jwt.InvalidTokenError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            OSError,
        ):
            return None
        return read if expires > self._now().timestamp() else None
