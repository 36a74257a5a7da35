"""The real API over the lab's broker, database and services, and tenants to ask it as."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
from starlette.types import ASGIApp

from api_manager.components import Components
from api_manager.domain.scopes import Scope
from api_manager.settings import Settings
from evercall.bus.bus import Bus
from evercall.contracts.flow import ActiveflowStart
from evercall.service.identity import new_id
from evercall.store.database import Database

PEER = "sip:nobody@127.20.9.250:5999"
"""Nobody answers there: a call to it exists, and fails by itself."""


@dataclass
class Tenant:
    """A customer of the test's own, and its key."""

    id: UUID
    key: str
    client: httpx.AsyncClient
    admin: httpx.AsyncClient

    async def assign(self, number: str, **more: Any) -> httpx.Response:
        """The administrator gives the customer a number."""
        body = {"number": number, **more}
        query = {"customer_id": str(self.id)}
        return await self.admin.post("/v1.0/numbers", params=query, json=body)

    async def number(self, number: str, **more: Any) -> dict[str, Any]:
        """A number that was assigned."""
        answer = await self.assign(number, **more)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def post(self, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """A POST that must succeed."""
        answer = await self.client.post(path, json=body, **options)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def all(self, path: str, page_size: int = 100) -> list[dict[str, Any]]:
        """All pages of a list."""
        rows: list[dict[str, Any]] = []
        token = ""
        while True:
            query: dict[str, str | int] = {"page_size": page_size, "page_token": token}
            answer = await self.client.get(path, params=query)
            assert answer.status_code == 200, answer.text
            rows += answer.json()["result"]
            token = answer.json()["next_page_token"]
            if not token:
                return rows


@dataclass
class Api:
    """The application in this process, on the lab's broker and database."""

    app: ASGIApp
    settings: Settings
    components: Components
    bus: Bus
    database: Database

    def client(self, key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(
            app=cast("Any", self.app), raise_app_exceptions=False, client=("192.0.2.7", 4711)
        )
        return httpx.AsyncClient(
            transport=transport, base_url="http://api.test", headers=headers, timeout=30
        )

    def admin(self) -> httpx.AsyncClient:
        return self.client(self.settings.admin_accesskey.get_secret_value())

    @asynccontextmanager
    async def tenant(self, name: str) -> AsyncIterator[Tenant]:
        """A customer that exists as long as the test."""
        async with self.admin() as admin:
            made = (await admin.post("/v1.0/customers", json={"name": name})).json()
            query = {"customer_id": made["id"]}
            body = {"name": "first", "scopes": list(Scope)}
            key = await admin.post("/v1.0/accesskeys", params=query, json=body)
            token = key.json()["token"]
            try:
                async with self.client(token) as client:
                    yield Tenant(UUID(made["id"]), token, client, admin)
            finally:
                await admin.delete(f"/v1.0/customers/{made['id']}")


def any_number() -> str:
    """A number that no other test has."""
    return f"+99{uuid4().int % 10**12:012d}"


def call_body(flow_id: str, destinations: int = 1) -> dict[str, Any]:
    return {
        "flow_id": flow_id,
        "source": {"type": "sip", "target": "sip:test@evercall.test"},
        "destinations": [{"type": "sip", "target": PEER}] * destinations,
    }


async def make_flow(tenant: Tenant) -> str:
    made = await tenant.post("/v1.0/flows", {"name": "x", "actions": [{"type": "answer"}]})
    return str(made["id"])


async def make_number(tenant: Tenant) -> str:
    return str((await tenant.number(any_number()))["id"])


async def make_accesskey(tenant: Tenant) -> str:
    return str((await tenant.post("/v1.0/accesskeys", {"name": "x"}))["id"])


async def make_call(tenant: Tenant) -> str:
    made = await tenant.post("/v1.0/calls", call_body(await make_flow(tenant)))
    return str(made["calls"][0]["id"])


async def make_activeflow(api: Api, tenant: Tenant) -> str:
    """Started as call_manager does it: activeflows have no POST of their own."""
    flow_id = await make_flow(tenant)
    request = ActiveflowStart(
        id=new_id(),
        customer_id=tenant.id,
        flow_id=UUID(flow_id),
        reference_type="call",
        reference_id=new_id(),
    )
    await api.bus.ask("flow_manager", request, actor=request.id)
    return str(request.id)
