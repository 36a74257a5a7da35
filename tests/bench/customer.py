"""The customer whose calls are measured: made, asked and removed through the public API.

Only its history of calls, for which the API has no mass removal, is taken out of the database directly.
"""

import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from deploy.lab.lab import Lab
from tests.bench.errors import MeasurementFailed

PAGE = 100
TOO_MANY_REQUESTS = 429
SETTLE_SECONDS = 10.0


class Api:
    """The REST API with one key."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(base_url=f"{url}/v1.0", headers=headers, timeout=10.0)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """One request; waits when it is told to.

        Raises:
            MeasurementFailed: the API refused or is away.
        """
        try:
            answer = self._client.request(method, path, **arguments)
            while answer.status_code == TOO_MANY_REQUESTS:
                time.sleep(float(answer.headers.get("Retry-After", "1")))
                answer = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise MeasurementFailed(f"{method} {path}: {error!r}") from error
        if answer.is_error:
            raise MeasurementFailed(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


class Customer:
    """A customer with one number, which answers, plays a second of sound and hangs up."""

    def __init__(self, api: Api, identifier: UUID, number: str) -> None:
        self._api = api
        self.id = identifier
        self.number = number

    def calls_since(self, moment: datetime) -> list[dict[str, Any]]:
        """All calls that began at or after a moment."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"page_size": PAGE, "page_token": token}
            page = self._api.call("GET", "/calls", params=query)
            fresh = [call for call in page["result"] if _time(call["tm_create"]) >= moment]
            found += fresh
            token = page["next_page_token"]
            if len(fresh) < len(page["result"]) or not token:
                return found

    def check_calls(self, moment: datetime, count: int) -> list[str]:
        """What is wrong with the calls since a moment, of which there should be `count`: each has ended,
        by our doing, for no special reason. Waits a little for those that are just ending."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            calls = self.calls_since(moment)
            live = [call for call in calls if call["status"] != "hangup"]
            if not live or time.monotonic() > until:
                break
            time.sleep(0.5)
        faults = [f"{len(live)} calls are left live"] if live else []
        if len(calls) != count:
            faults.append(f"{len(calls)} calls are in the list instead of {count}")
        ends = Counter(
            f"{call['hangup_by']} {call['hangup_reason']}"
            for call in calls
            if call["status"] == "hangup"
        )
        wrong = {end: number for end, number in ends.items() if end != "local normal"}
        return faults + [f"{number} calls ended as {end!r}" for end, number in wrong.items()]


def now() -> datetime:
    """The time as the platform tells it: it runs on this machine."""
    return datetime.now(UTC)


@contextmanager
def bench_customer(lab: Lab, sound_url: str) -> Iterator[Customer]:
    """Makes the customer, its flow and its number; removes them and their calls in the end."""
    admin = Api(lab.farm.api_url, lab.credentials.admin_accesskey)
    created = admin.call("POST", "/customers", json={"name": "bench"})
    identifier = UUID(created["id"])
    try:
        body = {"name": "bench", "scopes": ["read", "calls", "media", "admin"]}
        key = admin.call("POST", "/accesskeys", params={"customer_id": created["id"]}, json=body)
        api = Api(lab.farm.api_url, key["token"])
        flow = api.call("POST", "/flows", json={"name": "bench", "actions": _actions(sound_url)})
        number = f"+1555{secrets.randbelow(10**7):07}"
        admin.call(
            "POST",
            "/numbers",
            params={"customer_id": created["id"]},
            json={"number": number, "call_flow_id": flow["id"]},
        )
        # What is measured is the platform, not the defaults.
        quotas = {"concurrent_calls": 100_000, "calls_per_second": 10_000, "media_streams": 10_000}
        admin.call("PUT", f"/customers/{identifier}/quotas", json=quotas)
        yield Customer(api, identifier, number)
        api.call("DELETE", f"/flows/{flow['id']}")
        api.close()
    finally:
        admin.call("DELETE", f"/customers/{identifier}")
        admin.close()


def _actions(sound_url: str) -> list[dict[str, Any]]:
    return [
        {"type": "answer"},
        {"type": "play", "option": {"stream_urls": [sound_url]}},
        {"type": "hangup"},
    ]


async def forget_calls(database_url: str, customer_id: UUID) -> None:
    """Removes the ended calls and activeflows of the customer."""
    connection = await asyncpg.connect(database_url)
    try:
        for service in ("call_manager", "flow_manager"):
            await connection.execute(
                f"DELETE FROM {service}.actor WHERE customer_id = $1 AND NOT live", customer_id
            )
    finally:
        await connection.close()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
