"""What load balancers and supervisors are told: alive is not ready, and what is missing is named."""

import httpx

from evercall.service.health import health_app
from evercall.service.lifecycle import Readiness


async def get(readiness: Readiness, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(health_app("call_manager", "1.2.3", readiness))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


def ready_but_for(*missing: str) -> Readiness:
    readiness = Readiness()
    for name in ("broker", "database"):
        readiness.add(name, lambda name=name: name not in missing)  # type: ignore[misc]
    return readiness


async def test_ready_when_every_check_holds() -> None:
    answer = await get(ready_but_for(), "/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "service": "call_manager",
        "version": "1.2.3",
        "ready": True,
        "checks": {"broker": True, "database": True},
    }


async def test_not_ready_says_what_is_missing() -> None:
    answer = await get(ready_but_for("database"), "/ready")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["checks"] == {"broker": True, "database": False}


async def test_alive_without_anything() -> None:
    """A restart would not bring the broker back: it would only lose what the process has."""
    answer = await get(ready_but_for("broker", "database"), "/live")
    assert answer.status_code == 200
    assert answer.json() == {"service": "call_manager", "version": "1.2.3"}


async def test_metrics_are_prometheus_text() -> None:
    answer = await get(Readiness(), "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE python_info gauge\n" in answer.text
