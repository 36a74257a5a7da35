"""Who asks, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from uuid import UUID

PLATFORM_CUSTOMER = UUID("00000000-0000-0000-0000-000000000001")
"""The customer that the platform itself is. It can be neither frozen nor deleted."""


class Permission(IntFlag):
    """Permission bits, with the values of the public API."""

    NONE = 0
    PROJECT_ADMIN = 1
    CUSTOMER_ADMIN = 32


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    Attributes:
        subject: the access key that vouches for the caller; the platform customer's id for the
            administrator's key, which is configured and not stored.
        customer_id: whose rows the caller sees.
        permission: what the caller may do.
        frozen: the customer's account is frozen.
        expires_at: when the credential ends; None for never.
    """

    subject: UUID
    customer_id: UUID
    permission: Permission
    frozen: bool = False
    expires_at: datetime | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the caller runs the platform."""
        return Permission.PROJECT_ADMIN in self.permission


ADMINISTRATOR = Principal(
    subject=PLATFORM_CUSTOMER,
    customer_id=PLATFORM_CUSTOMER,
    permission=Permission.PROJECT_ADMIN | Permission.CUSTOMER_ADMIN,
)
