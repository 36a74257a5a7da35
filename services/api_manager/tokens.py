"""Short-lived tokens: JSON Web Tokens (RFC 7519), signed with HS256 and nothing else.

A token says which access key it stands for and what that may do; nothing about persons. The key itself
is looked at again with every request, so a token does not outlive the key that it came from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt

from api_manager.domain.principal import Permission, Principal
from api_manager.resources import Token

ALGORITHM = "HS256"
CLAIMS = ["sub", "customer_id", "permission", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that holds says."""

    subject: UUID
    customer_id: UUID
    permission: Permission
    expires_at: datetime


class TokenSigner:
    """Makes and reads tokens."""

    def __init__(self, key: str, lifetime: timedelta, now: Callable[[], datetime]) -> None:
        self._key = key
        self._lifetime = lifetime
        self._now = now

    def sign(self, principal: Principal) -> Token:
        """A token for this caller."""
        expires = self._now() + self._lifetime
        claims = {
            "sub": str(principal.subject),
            "customer_id": str(principal.customer_id),
            "permission": int(principal.permission),
            "exp": expires,
            "jti": uuid4().hex,
        }
        return Token(
            token=jwt.encode(claims, self._key, algorithm=ALGORITHM),
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
            read = Claims(
                subject=UUID(claims["sub"]),
                customer_id=UUID(claims["customer_id"]),
                permission=Permission(claims["permission"]),
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
