"""Prepared audio on the lab's PostgreSQL, from text to what Asterisk is served, with the real espeak-ng."""

import os
import re
import shlex
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from call_manager.audio.telephone import telephone_audio
from call_manager.domain.call import NOBODY
from call_manager.domain.ports import PrepareSpeech
from call_manager.gateways.audio import AudioPort
from call_manager.gateways.fetch import Fetcher
from call_manager.gateways.speech import EspeakSpeech
from call_manager.serving import audio_app
from call_manager.store import GRACE, UNUSED_AFTER, AudioStore, forget_unrouted
from call_manager.tables import audio
from deploy.lab.lab import Lab
from evercall.contracts.tenant import Tenancy
from evercall.service.guard import HostGuard
from evercall.service.identity import new_id
from evercall.store.database import Database

CUSTOMER = new_id()
MOST = 1_000_000


class Tenants:
    """Everybody may use the usual."""

    async def of(self, customer_id: UUID) -> Tenancy:
        return Tenancy(customer_id=customer_id)


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
    assert await store.use(CUSTOMER, name) is None
    content = os.urandom(100_000)
    await store.save(CUSTOMER, name, content, MOST)
    await store.save(CUSTOMER, name, content, MOST)
    assert await store.load(name) == content
    assert await store.use(CUSTOMER, name) == len(content)


async def test_only_audio_that_nobody_uses_is_forgotten(database: Database, name: str) -> None:
    store = AudioStore(database)
    await store.save(CUSTOMER, name, b"x", MOST)
    await store.forget_unused()
    assert await store.load(name) == b"x"
    long_ago = datetime.now(UTC) - UNUSED_AFTER - timedelta(minutes=1)
    async with database.engine.begin() as connection:
        await connection.execute(
            sa.update(audio).where(audio.c.name == name).values(used_at=long_ago)
        )
    assert await store.forget_unused() >= 1
    assert await store.load(name) is None


async def test_of_what_a_customer_keeps_the_oldest_goes(database: Database) -> None:
    """And what another one keeps too is still there for him."""
    store, greedy, other = AudioStore(database), new_id(), new_id()
    names = [os.urandom(20).hex() for _ in range(4)]
    try:
        for name in names[:3]:
            await store.save(greedy, name, bytes(1000), 3000)
        await store.save(other, names[1], bytes(1000), 3000)
        assert await store.use(greedy, names[0]) == 1000
        await store.save(greedy, names[3], bytes(1000), 3000)
        assert await store.kept(greedy) == 3000
        assert await store.kept(other) == 1000
        async with database.engine.begin() as connection:
            await connection.execute(
                sa.update(audio)
                .where(audio.c.name.in_(names))
                .values(used_at=datetime.now(UTC) - GRACE - timedelta(minutes=1))
            )
        await store.forget_unused()
        # Of the first customer's the second was used longest ago; the other one keeps it.
        assert [await store.load(name) is not None for name in names] == [True] * 4
        await store.save(greedy, names[1], bytes(1000), 3000)  # now names[2] is the oldest
        async with database.engine.begin() as connection:
            await connection.execute(
                sa.update(audio)
                .where(audio.c.name.in_(names))
                .values(used_at=datetime.now(UTC) - GRACE - timedelta(minutes=1))
            )
        await store.forget_unused()
        assert [await store.load(name) is not None for name in names] == [True, True, False, True]
    finally:
        async with database.engine.begin() as connection:
            await connection.execute(sa.delete(audio).where(audio.c.name.in_(names)))


REAL = "<speak>{}</speak>"


@pytest.mark.parametrize(
    ("markup", "most_seconds"),
    [
        ('before<audio src="/etc/passwd">beep</audio>after', 5),
        ('<audio src="/tmp/x.wav"/>' * 81 + "after", 5),
        ('a<break time="99999999s"/>b' * 50, 80),
        ("<p>" * 7 + "deep" + "</p>" * 7, 5),
        ('<prosody rate="+50%">fast</prosody> <say-as interpret-as="characters">abc</say-as>', 8),
    ],
)
async def test_markup_does_no_harm_to_the_real_program(
    lab: Lab, markup: str, most_seconds: int
) -> None:
    speech = EspeakSpeech(environment(lab)["EVERCALL_ESPEAK_COMMAND"])
    spoken = telephone_audio(await speech.speak(REAL.format(markup), "en-GB", ""))
    assert 0.2 < len(spoken) / 8000 < most_seconds


def test_the_real_program_has_no_network(lab: Lab) -> None:
    """The same sandbox, with another program in it."""
    wrapper = Path(environment(lab)["EVERCALL_ESPEAK_COMMAND"]).read_text()
    command = shlex.split(wrapper.partition("exec ")[2])[: -len(["espeak-ng", "$@"])]
    told = subprocess.run(
        [*command, "cat", "/proc/net/dev"], capture_output=True, text=True, timeout=10, check=True
    )
    assert re.findall(r"^\s*(\w+):", told.stdout, re.MULTILINE) == ["lo"]


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
    port = AudioPort(store, fetcher, speech, Tenants(), "http://audio.example/audio")
    text = f"This is a test, {new_id().hex}"
    prepared = await port.answer(PrepareSpeech(customer_id=CUSTOMER, text=text, language="en-GB"))
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
