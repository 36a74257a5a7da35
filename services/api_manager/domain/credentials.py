"""Where a request may carry its credentials, and which of several counts.

The order is that of the public API: a token in the cookie, the query (`?token=`, for WebSockets, which
cannot set headers) or the `Authorization` header; then an access key in the cookie or the query. The
first that is there decides: a bad one is refused and never hides behind a good one.

Cookies are sent by browsers without their user's will (cross-site request forgery), so they count only
for requests that change nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

ACCESSKEY_PREFIX = "ec_"
PUBLIC_PREFIX_LENGTH = len(ACCESSKEY_PREFIX) + 6
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class AccesskeyToken:
    """An access key as its holder knows it."""

    value: str

    @property
    def digest(self) -> bytes:
        """What is stored of it. A plain hash is enough for 256 random bits: they can't be guessed."""
        return hashlib.sha256(self.value.encode()).digest()

    @property
    def public_prefix(self) -> str:
        """The part that may be shown again, to tell keys apart."""
        return self.value[:PUBLIC_PREFIX_LENGTH]


@dataclass(frozen=True, slots=True)
class JsonWebToken:
    """A short-lived token from `POST /auth/token`."""

    value: str


Credential = AccesskeyToken | JsonWebToken


def find_credential(
    method: str, cookies: Mapping[str, str], query: Mapping[str, str], authorization: str
) -> Credential | None:
    """The credential of a request, None when it carries none."""
    if method not in SAFE_METHODS:
        cookies = {}
    token = cookies.get("token") or query.get("token") or _bearer(authorization)
    if token:
        return _of_kind(token)
    accesskey = cookies.get("accesskey") or query.get("accesskey")
    return AccesskeyToken(accesskey) if accesskey else None


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _of_kind(token: str) -> Credential:
    """A JSON Web Token has three parts between dots (RFC 7515 section 7.1); an access key has none."""
    return JsonWebToken(token) if token.count(".") == 2 else AccesskeyToken(token)
