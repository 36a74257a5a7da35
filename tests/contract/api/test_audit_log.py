"""The audit log on the real database: what it holds, who sees it, and that it stays as it was written."""

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from api_manager.audit.entry import Attempt, Result
from api_manager.domain.principal import PLATFORM_CUSTOMER
from api_manager.tables import audit_log, audit_result
from evercall.service.identity import new_id
from evercall.store.transaction import transaction
from tests.contract.api.world import Api, Tenant, make_flow

PATH = "/v1.0/audit_logs"


async def rows_of(tenant: Tenant) -> list[dict[str, Any]]:
    """The customer's rows, oldest first."""
    return list(reversed(await tenant.all(PATH)))


async def test_a_customer_sees_what_was_done_on_its_behalf(
    api: Api, tenant: Tenant, stranger: Tenant
) -> None:
    flow_id = await make_flow(tenant)
    missing = new_id()
    assert (await tenant.client.delete(f"/v1.0/flows/{missing}")).status_code == 404
    async with api.admin() as admin:
        query = {"customer_id": str(tenant.id)}
        deleted = await admin.delete(f"/v1.0/flows/{flow_id}", params=query)
        assert deleted.status_code == 200
    await make_flow(stranger)

    key, made, failed, by_admin = await rows_of(tenant)
    assert (key["operation"], key["actor_type"]) == ("create_accesskey", "administrator")
    assert (made["operation"], made["actor_type"]) == ("create_flow", "accesskey")
    assert (made["resource_type"], made["resource_ids"]) == ("flow", [flow_id])
    assert (made["status"], made["reason"], made["client_address"]) == (200, "", "192.0.2.7")
    assert made["customer_id"] == made["actor_customer_id"] == str(tenant.id)
    assert made["tm_create"] <= made["tm_result"]
    assert (failed["status"], failed["reason"]) == (404, "FLOW_NOT_FOUND")
    assert failed["resource_ids"] == [str(missing)]
    assert (by_admin["actor_type"], by_admin["actor_id"]) == ("administrator", None)
    assert UUID(by_admin["actor_customer_id"]) == PLATFORM_CUSTOMER
    assert by_admin["client_address"] == ""


async def test_the_administrator_sees_everything_and_from_where(api: Api, tenant: Tenant) -> None:
    async with api.client("ec_guess") as guesser:
        assert (await guesser.get("/v1.0/flows")).status_code == 401
    await api.components.audit.flush()
    async with api.admin() as admin:
        newest = (await admin.get(PATH, params={"page_size": 100})).json()["result"]
        query = {"customer_id": str(tenant.id)}
        own = (await admin.get(PATH, params=query)).json()["result"]
    guesses = [row for row in newest if row["operation"] == "refused"]
    assert guesses[0]["client_address"] == "192.0.2.7"
    assert guesses[0]["reason"] == "INVALID_CREDENTIALS"
    assert {row["customer_id"] for row in own} == {str(tenant.id)}
    (made,) = (row for row in newest if row["id"] == own[0]["id"])
    assert (made["operation"], made["client_address"]) == ("create_accesskey", "192.0.2.7")


async def test_pages_of_it(tenant: Tenant) -> None:
    for _ in range(4):
        await make_flow(tenant)
    whole = await tenant.all(PATH)
    assert await tenant.all(PATH, page_size=2) == whole
    assert len(whole) == 5


@pytest.mark.parametrize("scopes", [["read", "calls", "media"]])
async def test_it_is_for_administrators(api: Api, tenant: Tenant, scopes: list[str]) -> None:
    key = await tenant.post("/v1.0/accesskeys", {"scopes": scopes})
    async with api.client(key["token"]) as client:
        answer = await client.get(PATH)
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (403, "SCOPE_MISSING")
    assert error["details"] == [{"scope": "admin"}]


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(audit_log).values(operation="nothing"),
        sa.delete(audit_log),
        sa.text("TRUNCATE api_manager.audit_log"),
        sa.update(audit_result).values(status=200),
        sa.delete(audit_result),
        sa.text("TRUNCATE api_manager.audit_result"),
    ],
    ids=str,
)
async def test_what_is_written_stays(api: Api, tenant: Tenant, statement: Any) -> None:
    assert await tenant.all(PATH)
    with pytest.raises(DBAPIError, match="append-only"):
        async with transaction(api.database) as connection:
            await connection.execute(statement)


async def test_what_is_old_goes(api: Api, tenant: Tenant) -> None:
    kept = await tenant.all(PATH)
    store = api.components.audit_log
    (key,) = await tenant.all("/v1.0/accesskeys")
    for days, expected in ((9, True), (11, False)):
        attempt = Attempt(
            id=new_id(),
            customer_id=tenant.id,
            actor_type=kept[0]["actor_type"],
            actor_id=UUID(key["id"]),
            actor_customer_id=tenant.id,
            operation="create_flow",
            resource_type="flow",
            resource_id=None,
            client_address="192.0.2.7",
            request_id="x",
            count=1,
            tm_create=await days_ago(api, days),
        )
        result = Result(attempt.id, 200, "", [], attempt.tm_create)
        await store.write([attempt], [result])
        # Said again, as after a commit whose outcome was not known.
        await store.write([attempt], [result])
        while await store.sweep(10):
            pass
        ids = {row["id"] for row in await tenant.all(PATH)}
        assert (str(attempt.id) in ids) is expected
        assert {row["id"] for row in kept} <= ids


async def days_ago(api: Api, days: int) -> Any:
    async with transaction(api.database) as connection:
        query = sa.select(sa.func.now() - sa.func.make_interval(0, 0, 0, days))
        return (await connection.execute(query)).scalar_one()
