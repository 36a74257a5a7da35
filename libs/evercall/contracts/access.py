"""Who may do what: asked of `api_manager`, which alone knows keys and tokens."""

from datetime import datetime
from uuid import UUID

import msgspec

from evercall.contracts.base import Request


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The customer that the caller acts for; `expires_at`: when the credential ends, None for never."""

    customer_id: UUID
    expires_at: datetime | None = None


class AccessCheck(Request[Access], frozen=True, kw_only=True):
    """Checks the credentials of a request for a call's audio. All of it is secret.

    Limits per address and customer count as for every request of the API.

    Errors: `authentication_required`, `invalid_credentials`, `account_frozen`, `scope_missing`,
    `permission_denied`, `customer_not_found`, `rate_limit_exceeded`.

    Attributes:
        query: the raw query string.
        authorization: that header; empty where there is none. Cookies do not count for a WebSocket: a
            browser sends them from whatever page opens one.
        client: the caller's address.
        call_id: the call whose audio is wanted.
        counts: False for a repeated look at a credential that was already let in.
    """

    query: str
    authorization: str = ""
    client: str
    call_id: UUID
    counts: bool = True
