"""The whole application with stores in memory and a bus that answers what a test tells it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import httpx
import msgspec
from starlette.types import ASGIApp

from api_manager.app import build_app
from api_manager.audit.entry import Attempt, Result
from api_manager.audit.store import AuditStore
from api_manager.audit.trail import AuditTrail
from api_manager.authentication import Authenticator
from api_manager.bodies import CustomerBody
from api_manager.calling import Calling
from api_manager.components import Components, OperationLimits
from api_manager.domain.creation import Creation
from api_manager.domain.credentials import AccesskeyToken
from api_manager.domain.scopes import Scope, in_order
from api_manager.idempotency import Answer, IdempotencyStore, KeyedRequest
from api_manager.resources import Accesskey, Customer, CustomerStatus, Policy
from api_manager.settings import Settings
from api_manager.store import AccesskeyStore, CustomerStore, KeyHolder
from api_manager.tokens import TokenSigner
from evercall.contracts.base import Empty, Page
from evercall.contracts.call import CallsAdmit
from evercall.contracts.tenant import Quotas
from evercall.service.errors import Conflict, Unavailable
from evercall.service.identity import new_id

ADMIN_KEY = "ec_administrator-of-the-test-platform"
CUSTOMER_KEY = "ec_customer-key-of-the-test-platform"
JWT_KEY = "a signing key that is long enough for a test"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class FakeBus:
    """Answers requests by their class; remembers all that was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, UUID | None]] = []
        self.published: list[tuple[str, str, UUID]] = []
        self.answers: dict[type, Callable[[Any], Any]] = {CallsAdmit: lambda _: Empty()}

    async def ask(
        self, service: str, request: Any, *, actor: UUID | None = None, timeout: float = 5.0
    ) -> Any:
        assert timeout <= 5.0
        self.asked.append((service, request, actor))
        answer = self.answers.get(type(request))
        if answer is None:
            raise Unavailable(
                "service_unavailable", "Nobody serves this now", details={"service": service}
            )
        return answer(request)

    async def publish_event(
        self, resource: str, event: str, customer_id: UUID, _body: msgspec.Struct
    ) -> None:
        self.published.append((resource, event, customer_id))

    def requests(self, kind: type) -> list[Any]:
        return [request for _, request, _ in self.asked if type(request) is kind]


class MemoryCustomers:
    """Customers in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Customer] = {}

    async def create(self, identifier: UUID, body: CustomerBody) -> Customer:
        made = Customer(id=identifier, tm_create=NOW, tm_update=NOW, **body.model_dump())
        return self.rows.setdefault(identifier, made)

    async def get(self, identifier: UUID) -> Customer | None:
        return self.rows.get(identifier)

    async def list(self, page_size: int, page_token: str) -> Page[Customer]:
        assert page_token == ""
        return Page(result=list(self.rows.values())[:page_size])

    async def update(self, identifier: UUID, body: CustomerBody) -> Customer | None:
        return self._change(identifier, **body.model_dump())

    async def set_quotas(self, identifier: UUID, quotas: dict[str, int]) -> Customer | None:
        return self._change(identifier, quotas=Quotas(**quotas))

    async def set_policy(self, identifier: UUID, policy: Policy) -> Customer | None:
        return self._change(identifier, policy=policy)

    async def set_status(self, identifier: UUID, status: CustomerStatus) -> Customer | None:
        return self._change(identifier, status=status)

    async def delete(self, identifier: UUID) -> Customer | None:
        deleted = self._change(identifier, tm_delete=NOW)
        self.rows.pop(identifier, None)
        return deleted

    def _change(self, identifier: UUID, **values: Any) -> Customer | None:
        if identifier not in self.rows:
            return None
        self.rows[identifier] = msgspec.structs.replace(self.rows[identifier], **values)
        return self.rows[identifier]


class MemoryAccesskeys:
    """Access keys in a dictionary; `looked_up` counts what would be queries."""

    def __init__(self, customers: MemoryCustomers) -> None:
        self._customers = customers
        self.rows: dict[UUID, Accesskey] = {}
        self.hashes: dict[bytes, UUID] = {}
        self.looked_up = 0

    async def create(
        self, identifier: UUID, customer_id: UUID, token: AccesskeyToken, **values: Any
    ) -> Accesskey:
        self.hashes = {digest: key for digest, key in self.hashes.items() if key != identifier}
        self.hashes[token.digest] = identifier
        made = Accesskey(
            id=identifier,
            customer_id=customer_id,
            name=values["name"],
            detail=values["detail"],
            token_prefix=token.public_prefix,
            scopes=in_order(values["scopes"]),
            tm_create=NOW,
            tm_update=NOW,
        )
        self.rows[identifier] = made
        return made

    async def get(self, identifier: UUID, customer_id: UUID) -> Accesskey | None:
        row = self.rows.get(identifier)
        return row if row is not None and row.customer_id == customer_id else None

    async def update(
        self, identifier: UUID, customer_id: UUID, *, name: str, detail: str
    ) -> Accesskey | None:
        row = await self.get(identifier, customer_id)
        if row is not None:
            self.rows[identifier] = msgspec.structs.replace(row, name=name, detail=detail)
        return self.rows.get(identifier) if row is not None else None

    async def delete(self, identifier: UUID, customer_id: UUID) -> Accesskey | None:
        if await self.get(identifier, customer_id) is None:
            return None
        return self.rows.pop(identifier)

    async def holder_of_token(self, digest: bytes) -> KeyHolder | None:
        return await self.holder_of_key(self.hashes.get(digest, new_id()))

    async def holder_of_key(self, identifier: UUID) -> KeyHolder | None:
        self.looked_up += 1
        row = self.rows.get(identifier)
        customer = None if row is None else self._customers.rows.get(row.customer_id)
        if row is None or customer is None:
            return None
        (digest,) = (digest for digest, owner in self.hashes.items() if owner == identifier)
        scopes = frozenset(row.scopes)
        return KeyHolder(row.id, row.customer_id, customer.status, digest, scopes, row.tm_expire)


class MemoryIdempotency:
    """Claims in a dictionary, without expiry."""

    def __init__(self) -> None:
        self.rows: dict[tuple[UUID, str], tuple[bytes, Creation, Answer | str]] = {}

    async def claim(self, request: KeyedRequest) -> Creation | Answer:
        place = (request.customer_id, request.key)
        fingerprint, creation, state = self.rows.get(
            place, (request.fingerprint, Creation(new_id()), "free")
        )
        if fingerprint != request.fingerprint:
            raise Conflict("idempotency_key_reused", "another")
        if isinstance(state, Answer):
            return state
        if state == "locked":
            raise Conflict("idempotency_key_in_use", "busy", details={"retry_after": 1})
        self.rows[place] = (fingerprint, creation, "locked")
        return creation

    async def record(self, request: KeyedRequest, answer: Answer) -> None:
        self._settle(request, answer)

    async def release(self, request: KeyedRequest) -> None:
        self._settle(request, "free")

    def abandon(self) -> None:
        """As if the replicas had died before they could record an answer, and been outwaited."""
        self.rows = {
            place: (fingerprint, creation, "free")
            for place, (fingerprint, creation, _) in self.rows.items()
        }

    def _settle(self, request: KeyedRequest, state: Answer | str) -> None:
        place = (request.customer_id, request.key)
        fingerprint, creation, _ = self.rows[place]
        self.rows[place] = (fingerprint, creation, state)


class Names:
    """What hosts lead to."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}

    async def resolve(self, host: str) -> list[str]:
        return self.addresses.get(host, [])


class MemoryAudit:
    """The audit log in lists; `error` is raised instead of writing."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.results: list[Result] = []
        self.error: Unavailable | None = None

    async def write(self, attempts: Sequence[Attempt], results: Sequence[Result]) -> None:
        if self.error is not None:
            raise self.error
        self.attempts.extend(attempts)
        self.results.extend(results)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


class World:
    """The application and everything around it."""

    def __init__(self, **settings: Any) -> None:
        self.bus = FakeBus()
        self.customers = MemoryCustomers()
        self.accesskeys = MemoryAccesskeys(self.customers)
        self.idempotency = MemoryIdempotency()
        self.names = Names()
        self.audit = MemoryAudit()
        self.clock = Clock()
        self.customer_id = new_id()
        self.settings = Settings(
            **{
                "amqp_url": "amqp://nowhere",
                "database_url": "postgresql://api@nowhere/evercall",
                "jwt_key": JWT_KEY,
                "admin_accesskey": ADMIN_KEY,
                "destinations_allow": "192.0.2.0/24",
                "source_domains": "evercall.test",
                **settings,
            }
        )
        self.components = self._components()
        self.app: ASGIApp = build_app(self.settings, self.components, "0.0.0")
        self._add_customer()

    def client(self, key: str | None = CUSTOMER_KEY, **options: Any) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(
            app=cast("Any", self.app), raise_app_exceptions=False, client=("192.0.2.7", 4711)
        )
        return httpx.AsyncClient(
            transport=transport, base_url="http://api.test", headers=headers, **options
        )

    def _components(self) -> Components:
        signer = TokenSigner(JWT_KEY, timedelta(seconds=900), self.clock.now)
        return Components(
            bus=self.bus,
            customers=cast("CustomerStore", self.customers),
            accesskeys=cast("AccesskeyStore", self.accesskeys),
            idempotency=cast("IdempotencyStore", self.idempotency),
            audit=AuditTrail(self.audit),
            audit_log=cast("AuditStore", self.audit),
            authenticator=Authenticator(
                self.accesskeys,
                signer,
                admin_accesskey=self.settings.admin_accesskey.get_secret_value(),
                cache_seconds=2.0,
                clock=self.clock,
            ),
            limits=OperationLimits(self.settings.request_seconds, self.settings.body_bytes),
            calling=Calling(
                self.bus,
                self.settings.destination_rules,
                frozenset({self.settings.source_domains}),
                self.names.resolve,
            ),
        )

    def _add_customer(self) -> None:
        key_id = new_id()
        self.customers.rows[self.customer_id] = Customer(
            id=self.customer_id, name="ACME", tm_create=NOW, tm_update=NOW
        )
        self.accesskeys.rows[key_id] = Accesskey(
            id=key_id,
            customer_id=self.customer_id,
            scopes=list(Scope),
            tm_create=NOW,
            tm_update=NOW,
        )
        self.accesskeys.hashes[AccesskeyToken(CUSTOMER_KEY).digest] = key_id
