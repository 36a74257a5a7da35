"""Who gets in: limit per address, authentication, limit per customer, frozen account. In this order.

The limit per address comes first, so that guessing keys is slow. A customer's limit comes before the
look at its account, so that a frozen customer's programs cannot hammer on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Counter
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from api_manager.audit.trail import AuditTrail
from api_manager.authentication import Authenticator
from api_manager.domain.buckets import AtOnce, Buckets
from api_manager.domain.credentials import Credential, find_credential
from api_manager.request_state import RequestState, state_of
from evercall.service.errors import Forbidden, RateLimited, Unauthorized
from evercall.service.forwarded import limited_as

LIMITED = Counter("evercall_api_manager_rate_limited_total", "Requests refused", ["limited_by"])


@dataclass(frozen=True, slots=True)
class Limits:
    """The buckets of a replica."""

    addresses: Buckets
    auth_addresses: Buckets
    customers: Buckets
    at_once: AtOnce


def take(buckets: Buckets, key: object, limited_by: str, now: float) -> None:
    """Takes one request out of a limit.

    Raises:
        RateLimited: there is none left.
    """
    wait = buckets.take(key, now)
    if wait:
        LIMITED.labels(limited_by).inc()
        raise RateLimited(
            "rate_limit_exceeded",
            "Too many requests",
            details={"limited_by": limited_by, "retry_after": round(wait, 3)},
        )


class Gate:
    """ASGI middleware inside of `Frame`, which answers what is raised here."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        audit: AuditTrail,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._audit = audit
        self._limits = limits
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = state_of(scope)
        path: str = scope["path"]
        is_auth = path.startswith("/auth/")
        addresses = self._limits.auth_addresses if is_auth else self._limits.addresses
        take(addresses, limited_as(state.client), "address", self._clock())
        if path.startswith("/v1.0/"):
            try:
                await self._let_in(scope, state)
            except (Unauthorized, Forbidden) as error:
                self._audit.refused(state, error)
                raise
        if state.principal is None:
            await self._app(scope, receive, send)
            return
        with self._in_turn(state.principal.customer_id):
            await self._app(scope, receive, send)

    async def _let_in(self, scope: Scope, state: RequestState) -> None:
        principal = await self._authenticator.principal(_credential(scope))
        state.principal = principal
        take(self._limits.customers, principal.customer_id, "customer", self._clock())
        if principal.frozen:
            raise Forbidden("account_frozen", "The customer's account is frozen")

    @contextmanager
    def _in_turn(self, customer_id: UUID) -> Iterator[None]:
        """One of the requests of a customer that are worked on at once: slow ones must not pile up until
        nobody else's are."""
        at_once = self._limits.at_once
        if not at_once.enter(customer_id):
            LIMITED.labels("customer_at_once").inc()
            raise RateLimited(
                "rate_limit_exceeded",
                "Too many requests at once",
                details={"limited_by": "customer_at_once", "retry_after": 1},
            )
        try:
            yield
        finally:
            at_once.leave(customer_id)


def _credential(scope: Scope) -> Credential | None:
    headers = Headers(scope=scope)
    return find_credential(
        scope["method"],
        headers.get("cookie", ""),
        QueryParams(scope["query_string"]),
        headers.get("authorization", ""),
    )
