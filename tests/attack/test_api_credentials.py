"""Credentials in the wrong hands: what a token from a URL, a weak key or a borrowed browser gets somebody."""

import httpx

from tests.e2e.streams import Streamed, both_hear
from tests.support.rest import ALL_SCOPES, Api


async def token(streamed: Streamed, **wish: object) -> str:
    """A token that the customer made."""
    api = streamed.customer.api
    made = await api.post("/auth/token", {"accesskey": api.accesskey, **wish})
    return str(made["token"])


async def refused(
    streamed: Streamed, method: str, path: str, credential: str, **options: object
) -> tuple[int, str]:
    """Status and reason of what is answered to this credential."""
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    async with httpx.AsyncClient(base_url=streamed.lab.farm.api_url, headers=headers) as client:
        answer = await client.request(method, path, **options)  # type: ignore[arg-type]
    return answer.status_code, answer.json()["error"]["reason"]


async def test_a_token_out_of_a_log_opens_one_stream_for_some_minutes_and_nothing_else(
    streamed: Streamed,
) -> None:
    legitimate = await streamed.open()
    found = await token(streamed, call_id=streamed.id)
    await both_hear(streamed, await streamed.open(found))
    other = "0199a8f2-7d02-7e43-8a1c-5b90d3e6f7a1"
    assert (await streamed.refusal(other, found)).status == 403
    for method, path in (
        ("GET", "/v1.0/calls"),
        ("POST", f"/v1.0/calls/{streamed.id}/hangup"),
        ("DELETE", f"/v1.0/calls/{streamed.id}"),
        ("GET", "/v1.0/numbers"),
        ("GET", "/v1.0/audit_logs"),
    ):
        assert await refused(streamed, method, path, found) == (403, "SCOPE_MISSING")
    again = {"accesskey": found}
    assert await refused(streamed, "POST", "/auth/token", "", json=again) == (
        401,
        "INVALID_CREDENTIALS",
    )
    await both_hear(streamed, legitimate)


async def test_no_token_makes_or_shows_a_key(streamed: Streamed, admin: Api) -> None:
    everything = await token(streamed, scopes=ALL_SCOPES)
    of_admin = await admin.post("/auth/token", {"accesskey": admin.accesskey, "scopes": ALL_SCOPES})
    (key,) = (await streamed.customer.api.get("/v1.0/accesskeys"))["result"]
    for credential in (everything, str(of_admin["token"])):
        for method, path in (
            ("GET", "/v1.0/accesskeys"),
            ("POST", "/v1.0/accesskeys"),
            ("DELETE", f"/v1.0/accesskeys/{key['id']}"),
        ):
            query = {"customer_id": streamed.customer.id}
            answer = await refused(
                streamed, method, path, credential, params=query, json={"name": "mine"}
            )
            assert answer == (403, "ACCESSKEY_REQUIRED")
    left = (await streamed.customer.api.get("/v1.0/accesskeys"))["result"]
    assert [row["id"] for row in left] == [key["id"]]


async def test_another_sites_page_opens_no_stream_with_the_users_cookie(streamed: Streamed) -> None:
    legitimate = await streamed.open()
    key = streamed.customer.api.accesskey
    upgrade = {
        "Cookie": f"accesskey={key}; token={key}",
        "Origin": "https://evil.example",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    path = f"/v1.0/calls/{streamed.id}/media_stream"
    assert await refused(streamed, "GET", path, "", headers=upgrade) == (
        401,
        "AUTHENTICATION_REQUIRED",
    )
    form = {"accesskey": key}
    hangup = f"/v1.0/calls/{streamed.id}/hangup"
    assert await refused(streamed, "POST", hangup, "", params=form) == (
        401,
        "AUTHENTICATION_REQUIRED",
    )
    await both_hear(streamed, legitimate)
