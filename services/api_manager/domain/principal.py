"""Who asks, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api_manager.domain.scopes import ALL_SCOPES, Scope, is_key_management, scope_missing
from evercall.service.errors import Forbidden

PLATFORM_CUSTOMER = UUID("00000000-0000-0000-0000-000000000001")
"""The customer that the platform itself is. It can be neither frozen nor deleted."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    Attributes:
        subject: the access key that vouches for the caller; the platform customer's id for the
            administrator's key, which is configured and not stored.
        customer_id: whose rows the caller sees.
        key: the fingerprint of that access key.
        scopes: what the caller may do.
        is_admin: the caller runs the platform.
        is_token: the caller came with a token and not with the key itself.
        call_id: the one call that the caller may have to do with; None for all.
        frozen: the customer's account is frozen.
        expires_at: when the credential ends; None for never.
    """

    subject: UUID
    customer_id: UUID
    key: str
    scopes: frozenset[Scope] = ALL_SCOPES
    is_admin: bool = False
    is_token: bool = False
    call_id: UUID | None = None
    frozen: bool = False
    expires_at: datetime | None = None

    def require(self, scope: Scope, path: str) -> None:
        """Lets the caller go on to an operation, or not.

        Raises:
            Forbidden: `accesskey_required`, `scope_missing`.
        """
        if self.is_token and is_key_management(path):
            raise Forbidden(
                "accesskey_required", "Access keys are managed with an access key, not with a token"
            )
        if scope not in self.scopes:
            raise scope_missing(scope)


def administrator(key: str) -> Principal:
    """Who holds the configured key."""
    return Principal(PLATFORM_CUSTOMER, PLATFORM_CUSTOMER, key, is_admin=True)
