"""Where a request may carry its credentials, and which of several counts.

The order is that of the public API: a token in the cookie, the query (`?token=`, for WebSockets, which
cannot set headers) or the `Authorization` header; then an access key in the cookie or the query. The
first that is there decides: a bad one is refused and never hides behind a good one.

Cookies are sent by browsers without their user's will (cross-site request forgery), so they count only
for requests that change nothing; and never for a WebSocket, which any page may open, whatever its origin.
URLs end up in logs and histories, so an access key in one counts only where no header can be set: a link,
or a WebSocket. Neither changes anything.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from api_manager.domain.cookies import read_cookies

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
    def fingerprint(self) -> str:
        """What tokens carry of the key that they were made with."""
        return fingerprint(self.digest)

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
    method: str, cookie: str, query: Mapping[str, str], authorization: str
) -> Credential | None:
    """The credential of a request, None when it carries none.

    Args:
        method: of HTTP.
        cookie: the header; "" where cookies do not count.
        query: the parameters of the URL.
        authorization: the header.

    Raises:
        InvalidRequest: the cookies are too long to be looked at.
    """
    if method not in SAFE_METHODS:
        in_url = _of_kind(query.get("token", ""))
        return in_url if isinstance(in_url, JsonWebToken) else _of_kind(_bearer(authorization))
    cookies = read_cookies(cookie)
    token = cookies.get("token") or query.get("token") or _bearer(authorization)
    accesskey = cookies.get("accesskey") or query.get("accesskey") or ""
    return _of_kind(token) if token else _of_kind(accesskey)


def fingerprint(digest: bytes) -> str:
    """Tells whether a key is still the one that a token was made with; of no use for anything else."""
    return hashlib.sha256(b"token of " + digest).hexdigest()[:16]


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _of_kind(token: str) -> Credential | None:
    """A JSON Web Token has three parts between dots (RFC 7515 section 7.1); an access key has none."""
    if not token:
        return None
    return JsonWebToken(token) if token.count(".") == 2 else AccesskeyToken(token)
