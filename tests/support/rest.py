"""The public REST API as a customer's program uses it, and a customer of its own for each test."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.lab.lab import Lab

Json = dict[str, Any]

ENDED = "hangup"
ALL_SCOPES = ["read", "calls", "media", "admin"]

SOURCE = "sip:test@evercall.test"
"""Whom calls of tests come from, where nothing else is said: of a domain that all
of the lab's customers may use."""

_MOMENTS = ("create", "ringing", "progressing", "hangup")


class Problem(AssertionError):
    """An answer that is no success."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"{method} {path}: {status} {text[:1000]}")
        self.status = status
        self.text = text


class Api:
    """The API with one access key."""

    def __init__(self, url: str, accesskey: str) -> None:
        self.url = url
        self.accesskey = accesskey
        self.accesskey = accesskey
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {accesskey}"}, timeout=30.0
        )

    async def request(
        self, method: str, path: str, *, json: object = None, **parameters: str | int
    ) -> Json:
        """The body of the answer.

        Raises:
            Problem: it was refused.
        """
        answer = await self._client.request(method, path, json=json, params=parameters)
        if answer.is_error:
            raise Problem(method, path, answer.status_code, answer.text)
        body: Json = answer.json()
        return body

    async def get(self, path: str, **parameters: str | int) -> Json:
        return await self.request("GET", path, **parameters)

    async def post(self, path: str, json: object = None, **parameters: str | int) -> Json:
        return await self.request("POST", path, json=json if json is not None else {}, **parameters)

    async def put(self, path: str, json: object = None, **parameters: str | int) -> Json:
        return await self.request("PUT", path, json=json, **parameters)

    async def delete(self, path: str, **parameters: str | int) -> Json:
        return await self.request("DELETE", path, **parameters)

    async def close(self) -> None:
        await self._client.aclose()


def admin_api(lab: Lab) -> Api:
    """The API as the administrator sees it."""
    return Api(lab.farm.api_url, lab.credentials.admin_accesskey)


def action(kind: str, /, id: str | None = None, next_id: str | None = None, **option: Any) -> Json:
    """An action of a flow."""
    made: Json = {"type": kind}
    if option:
        made["option"] = option
    if id is not None:
        made["id"] = id
    if next_id is not None:
        made["next_id"] = next_id
    return made


@dataclass
class Customer:
    """A customer, its access key, and what a test does with them."""

    id: str
    api: Api
    admin: Api

    async def flow(self, *actions: Json) -> str:
        """A flow of these actions; gives its id."""
        return str((await self.api.post("/v1.0/flows", {"actions": list(actions)}))["id"])

    async def number(self, *actions: Json) -> str:
        """A number of the customer's own that starts a flow of these actions."""
        number = f"+8835{secrets.randbelow(10**10):010}"
        body = {"number": number, "call_flow_id": await self.flow(*actions)}
        await self.admin.post("/v1.0/numbers", body, customer_id=self.id)
        return number

    async def place_call(
        self,
        destination: str,
        *actions: Json,
        variables: Mapping[str, str] | None = None,
        source: str = SOURCE,
    ) -> Json:
        """An outgoing call to a SIP URI that runs these actions."""
        body = {
            "source": {"type": "tel" if source.startswith("+") else "sip", "target": source},
            "destinations": [{"type": "sip", "target": destination}],
            "actions": list(actions),
            "variables": dict(variables or {}),
        }
        call: Json = (await self.api.post("/v1.0/calls", body))["calls"][0]
        return call

    async def calls(self) -> list[Json]:
        """All of the customer's calls, newest first."""
        found: list[Json] = []
        token = ""
        while True:
            page = await self.api.get("/v1.0/calls", page_size=100, page_token=token)
            found += page["result"]
            token = page["next_page_token"]
            if not token:
                return found

    async def call_to(self, number: str) -> Json:
        """The one call that there is to this number."""
        found = [call for call in await self.calls() if call["destination"]["target"] == number]
        assert len(found) == 1, f"{len(found)} calls to {number}"
        return found[0]

    async def call(self, identifier: str) -> Json:
        return await self.api.get(f"/v1.0/calls/{identifier}")

    async def hang_up(self, identifier: str) -> Json:
        return await self.api.post(f"/v1.0/calls/{identifier}/hangup")

    async def activeflow(self, call: Json) -> Json:
        """The execution of the flow of a call."""
        return await self.api.get(f"/v1.0/activeflows/{call['activeflow_id']}")

    async def insist_on_hangup(self, identifier: str, within: float = 30.0) -> None:
        """Hang up, again and again until it is done or the call is over."""
        limit = time.monotonic() + within
        while True:
            try:
                await self.hang_up(identifier)
                return
            except httpx.TransportError:
                assert time.monotonic() < limit, "the API is away"
            except Problem as refused:
                if refused.status == 409:
                    return
                if refused.status < 500 or time.monotonic() > limit:
                    raise
            await asyncio.sleep(0.3)

    async def ended_flow(self, call: Json, within: float = 5.0) -> Json:
        """The execution of the flow of a call that has ended: flow_manager hears of it a moment later.

        Raises:
            AssertionError: it goes on and on.
        """
        limit = time.monotonic() + within
        while True:
            flow = await self.activeflow(call)
            if flow["status"] == "ended":
                return flow
            assert time.monotonic() < limit, f"not ended within {within} s: {flow}"
            await asyncio.sleep(0.05)

    async def until(
        self, identifier: str, condition: Callable[[Json], bool], within: float = 8.0
    ) -> Json:
        """The call, as soon as it is as wanted. That the API is away meanwhile does not matter.

        Raises:
            AssertionError: it did not come to that in time.
        """
        limit = time.monotonic() + within
        call: Json | None = None
        while True:
            try:
                call = await self.call(identifier)
                if condition(call):
                    return call
            except (Problem, httpx.TransportError) as error:
                if isinstance(error, Problem) and error.status < 500:
                    raise
            assert time.monotonic() < limit, f"not as wanted within {within} s: {call}"
            await asyncio.sleep(0.1)

    async def ended(self, identifier: str, within: float = 8.0) -> Json:
        """The call, when it is over."""
        return await self.until(identifier, lambda call: call["status"] == ENDED, within)

    async def all_ended(self, within: float = 10.0) -> list[Json]:
        """All calls, when the last is over: no row stays behind as live."""
        return await self.all_are(ENDED, within)

    async def all_are(self, status: str, within: float = 10.0) -> list[Json]:
        """All calls, when the last has this status.

        Raises:
            AssertionError: it did not come to that in time.
        """
        limit = time.monotonic() + within
        while True:
            calls = await self.calls()
            others = [call for call in calls if call["status"] != status]
            if not others:
                return calls
            assert time.monotonic() < limit, f"not {status} after {within} s: {others}"
            await asyncio.sleep(0.2)

    async def leave(self) -> None:
        """Delete the customer, and its numbers with it."""
        try:
            await self.admin.delete(f"/v1.0/customers/{self.id}")
        finally:
            await self.api.close()


async def new_customer(lab: Lab, admin: Api, name: str) -> Customer:
    """A customer with an access key that may do everything."""
    identifier = str((await admin.post("/v1.0/customers", {"name": name}))["id"])
    body = {"name": "test", "scopes": ALL_SCOPES}
    key = await admin.post("/v1.0/accesskeys", body, customer_id=identifier)
    return Customer(identifier, Api(lab.farm.api_url, key["token"]), admin)


async def timeline(customer: Customer, most: int = 10) -> str:
    """The story of a customer's calls, as the API tells it: of those that are live, then of others."""
    calls = sorted(await customer.calls(), key=lambda call: bool(call["status"] == ENDED))
    parts = [await call_timeline(customer, call) for call in calls[:most]]
    return "\n".join([f"{len(calls)} calls", *parts])


async def call_timeline(customer: Customer, call: Json) -> str:
    """The story of one call."""
    source, destination = call["source"]["target"], call["destination"]["target"]
    lines = [f"call {call['id']} {call['direction']} {source} -> {destination}: {call['status']}"]
    moments = [(call[f"tm_{name}"], name) for name in _MOMENTS]
    lines += [f"  {clock(at)}  {name}" for at, name in moments if at]
    if call["status"] == ENDED:
        lines[-1] += f" ({call['hangup_reason']}, by {call['hangup_by']})"
    elif call["action"]:
        lines.append(f"  now at {call['action']['type']}")
    if call["activeflow_id"]:
        lines += _flow_lines(await customer.activeflow(call))
    return "\n".join(lines)


def _flow_lines(flow: Json) -> list[str]:
    lines = [f"  flow {flow['status']} {flow.get('end_reason', '')}".rstrip()]
    executed: Sequence[Json] = flow["executed_actions"]
    for step in executed:
        when = clock(step["tm_execute"]) if step.get("tm_execute") else " " * 12
        lines.append(f"  {when}  {step['type']} {step['option'] or ''}".rstrip())
    return lines + [f"  fault: {fault['message']}" for fault in flow.get("faults", [])]


def clock(timestamp: str) -> str:
    """Hours to milliseconds of an ISO timestamp."""
    return timestamp.partition("T")[2][:12]
