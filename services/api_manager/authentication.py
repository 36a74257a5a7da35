"""From a credential to who asks.

What the database says of a key is kept for a moment (`accesskey_cache_seconds`), so that a burst of
requests is one query. That moment is the bound on how long a revoked, expired or frozen key may still be
accepted: at once on the replica that revoked it, this long on the others. Tokens are bound the same way,
through the key that they stand for.
"""

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

from api_manager.domain.credentials import AccesskeyToken, Credential, JsonWebToken, fingerprint
from api_manager.domain.principal import Principal, administrator
from api_manager.domain.scopes import Scope, grant
from api_manager.resources import CustomerStatus, Token
from api_manager.store import KeyHolder
from api_manager.tokens import TokenSigner
from evercall.service.errors import Unauthorized

CACHE_SIZE = 10_000


class Keys(Protocol):
    """What is needed of the store."""

    async def holder_of_token(self, digest: bytes) -> KeyHolder | None: ...
    async def holder_of_key(self, identifier: UUID) -> KeyHolder | None: ...


@dataclass(frozen=True, slots=True)
class TokenWish:
    """What a token is wanted for. `scopes`: None for those that are given where none are named."""

    scopes: frozenset[Scope] | None = None
    call_id: UUID | None = None


class Authenticator:
    """Checks credentials."""

    def __init__(
        self,
        keys: Keys,
        signer: TokenSigner,
        *,
        admin_accesskey: str,
        cache_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._signer = signer
        self._admin_digest = AccesskeyToken(admin_accesskey).digest
        self._administrator = administrator(fingerprint(self._admin_digest))
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._cache: OrderedDict[bytes | UUID, tuple[float, KeyHolder]] = OrderedDict()

    async def principal(self, credential: Credential | None) -> Principal:
        """Who asks.

        Raises:
            Unauthorized: `authentication_required` or `invalid_credentials`.
            Unavailable: the database is away.
        """
        if credential is None:
            raise Unauthorized(
                "authentication_required", "An access key or a token is needed for this"
            )
        if isinstance(credential, JsonWebToken):
            return await self._by_token(credential)
        return await self._by_accesskey(credential)

    async def exchange(
        self, credential: AccesskeyToken, wish: TokenWish
    ) -> tuple[Principal, Token]:
        """Who holds an access key, and a short-lived token for it.

        Raises:
            Unauthorized: `invalid_credentials`.
            Forbidden: `scope_missing`: the key has not got what the token is wanted for.
        """
        holder = await self._by_accesskey(credential)
        scopes = grant(wish.scopes, holder.scopes)
        return holder, self._signer.sign(replace(holder, scopes=scopes, call_id=wish.call_id))

    def forget(self) -> None:
        """Drops what is cached: a key or a customer has changed here."""
        self._cache.clear()

    async def _by_accesskey(self, credential: AccesskeyToken) -> Principal:
        digest = credential.digest
        if hmac.compare_digest(digest, self._admin_digest):
            return self._administrator
        return _principal(await self._cached(digest, lambda: self._keys.holder_of_token(digest)))

    async def _by_token(self, credential: JsonWebToken) -> Principal:
        claims = self._signer.read(credential.value)
        if claims is None:
            raise _invalid()
        owner = await self._owner(claims.subject)
        if (owner.customer_id, owner.key) != (claims.customer_id, claims.key):
            raise _invalid()
        return replace(
            owner,
            scopes=owner.scopes & claims.scopes,
            is_token=True,
            call_id=claims.call_id,
            expires_at=min(claims.expires_at, owner.expires_at or claims.expires_at),
        )

    async def _owner(self, subject: UUID) -> Principal:
        if subject == self._administrator.subject:
            return self._administrator
        return _principal(await self._cached(subject, lambda: self._keys.holder_of_key(subject)))

    async def _cached(
        self, key: bytes | UUID, load: Callable[[], Awaitable[KeyHolder | None]]
    ) -> KeyHolder:
        now = self._clock()
        until, holder = self._cache.get(key, (0.0, None))
        if holder is not None and now < until:
            return holder
        loaded = await load()
        if loaded is None:
            self._cache.pop(key, None)
            raise _invalid()
        # Counted from before the query: what it says was true no earlier than that.
        self._cache[key] = (now + self._cache_seconds, loaded)
        self._cache.move_to_end(key)
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return loaded


def _principal(holder: KeyHolder) -> Principal:
    return Principal(
        subject=holder.accesskey_id,
        customer_id=holder.customer_id,
        key=fingerprint(holder.token_hash),
        scopes=holder.scopes,
        frozen=holder.customer_status is CustomerStatus.FROZEN,
        expires_at=holder.expires_at,
    )


def _invalid() -> Unauthorized:
    return Unauthorized(
        "invalid_credentials", "The access key or token does not exist, has expired or was revoked"
    )
