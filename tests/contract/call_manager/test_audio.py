"""Prepared audio on the lab's PostgreSQL, from text to what Asterisk is served, with the real espeak-ng."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from call_manager.domain.call import NOBODY
from call_manager.domain.ports import PrepareSpeech
from call_manager.gateways.audio import AudioPort
from call_manager.gateways.fetch import Fetcher
from call_manager.gateways.speech import EspeakSpeech
from call_manager.serving import audio_app
from call_manager.store import UNUSED_AFTER, AudioStore, forget_unrouted
from call_manager.tables import audio
from deploy.lab.lab import Lab
from evercall.service.guard import HostGuard
from evercall.service.identity import new_id
from evercall.store.database import Database


def environment(lab: Lab) -> dict[str, str]:
    return dict(lab.farm.of_module("call_manager")[0].environment)


@pytest.fixture
async def database(lab: Lab) -> AsyncIterator[Database]:
    database = Database(environment(lab)["EVERCALL_DATABASE_URL"])
    yield database
    await database.close()


@pytest.fixture
async def name(database: Database) -> AsyncIterator[str]:
    """A name of the test's own."""
    name = os.urandom(20).hex()
    yield name
    async with database.engine.begin() as connection:
        await connection.execute(sa.delete(audio).where(audio.c.name == name))


async def test_audio_is_kept_under_its_name(database: Database, name: str) -> None:
    store = AudioStore(database)
    assert await store.load(name) is None
    assert await store.use(name) is None
    content = os.urandom(100_000)
    await store.save(name, content)
    await store.save(name, content)
    assert await store.load(name) == content
    assert await store.use(name) == len(content)


async def test_only_audio_that_nobody_uses_is_forgotten(database: Database, name: str) -> None:
    store = AudioStore(database)
    await store.save(name, b"x")
    await store.forget_unused()
    assert await store.load(name) == b"x"
    long_ago = datetime.now(UTC) - UNUSED_AFTER - timedelta(minutes=1)
    async with database.engine.begin() as connection:
        await connection.execute(
            sa.update(audio).where(audio.c.name == name).values(used_at=long_ago)
        )
    assert await store.forget_unused() >= 1
    assert await store.load(name) is None


_PUT = sa.text(
    "INSERT INTO call_manager.actor"
    " (id, kind, shard, customer_id, created_at, live, hidden, record)"
    " VALUES (:id, 'call', 0, :customer, :at, :live, true, '{}')"
)
_THERE = sa.text("SELECT count(*) FROM call_manager.actor WHERE id = :id")
_REMOVE = sa.text("DELETE FROM call_manager.actor WHERE id = :id")


@pytest.mark.parametrize(
    ("customer", "minutes", "forgotten"),
    [(NOBODY, 5, True), (NOBODY, 0, False), (new_id(), 5, False)],
)
async def test_calls_to_nobody_are_forgotten(
    database: Database, customer: UUID, minutes: int, forgotten: bool
) -> None:
    identifier = new_id()
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    row = {"id": identifier, "customer": customer, "at": at, "live": False}
    async with database.engine.begin() as connection:
        await connection.execute(_PUT, row)
    await forget_unrouted(database)
    async with database.engine.begin() as connection:
        count = (await connection.execute(_THERE, {"id": identifier})).scalar_one()
        await connection.execute(_REMOVE, {"id": identifier})
    assert count == (0 if forgotten else 1)


async def test_a_text_is_spoken_kept_and_served(lab: Lab, database: Database) -> None:
    store = AudioStore(database)
    speech = EspeakSpeech(environment(lab)["EVERCALL_ESPEAK_COMMAND"])
    fetcher = Fetcher(HostGuard([]))
    port = AudioPort(store, fetcher, speech, "http://audio.example/audio")
    text = f"This is a test, {new_id().hex}"
    prepared = await port.answer(PrepareSpeech(text=text, language="en-GB"))
    await fetcher.close()
    [media] = prepared.media
    url = media.removeprefix("sound:")
    assert prepared.duration_ms > 1000

    transport = httpx.ASGITransport(audio_app(store))
    async with httpx.AsyncClient(transport=transport) as client:
        served = await client.get(url)
        assert served.status_code == 200
        assert served.headers["content-type"] == "audio/basic"
        assert "immutable" in served.headers["cache-control"]
        assert len(served.content) * 1000 // 8000 == prepared.duration_ms
        for wrong in ("0" * 40 + ".ulaw", "x.ulaw", url[-45:-5], "..%2f..%2fetc%2fpasswd"):
            missing = await client.get(f"http://audio.example/audio/{wrong}")
            assert missing.status_code == 404
