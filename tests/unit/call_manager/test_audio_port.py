"""The port `audio`: made once, remembered, and never the end of the process."""

import asyncio
import threading
import time
from uuid import UUID

import pytest

from call_manager.audio.errors import AudioError
from call_manager.domain.ports import PrepareAudio, PrepareSpeech
from call_manager.gateways import audio
from call_manager.gateways.audio import KEPT, AudioPort
from call_manager.gateways.fetch import Fetched
from evercall.contracts.tenant import Quotas, Tenancy
from evercall.service.errors import InvalidRequest, Unavailable
from tests.unit.call_manager.test_audio_conversion import tone, wav

CUSTOMER, OTHER = UUID(int=1), UUID(int=2)
HELLO = PrepareSpeech(customer_id=CUSTOMER, text="hello", language="en-US")
URL = "http://files.example/a.wav"


class Store:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.away = False
        self.saved: list[tuple[UUID, int]] = []
        self.used: list[tuple[UUID, str]] = []

    async def save(self, customer: UUID, name: str, content: bytes, most: int) -> None:
        self.saved.append((customer, most))
        if self.away:
            raise Unavailable("store_unavailable", "The database is away")
        self.kept[name] = content

    async def use(self, customer: UUID, name: str) -> int | None:
        self.used.append((customer, name))
        if self.away:
            raise Unavailable("store_unavailable", "The database is away")
        return len(self.kept[name]) if name in self.kept else None


class Tenants:
    def __init__(self) -> None:
        self.quotas = Quotas()

    async def of(self, customer_id: UUID) -> Tenancy:
        return Tenancy(customer_id=customer_id, quotas=self.quotas)


class Source:
    def __init__(self) -> None:
        self.answers: dict[str, Fetched | Exception] = {}
        self.asked: list[tuple[str, str]] = []

    async def fetch(self, url: str, etag: str = "") -> Fetched:
        self.asked.append((url, etag))
        await asyncio.sleep(0)
        answer = self.answers.get(url, AudioError("gone"))
        if isinstance(answer, Exception):
            raise answer
        return answer


class Voice:
    def __init__(self) -> None:
        self.spoken: list[tuple[str, str, str]] = []

    async def speak(self, text: str, language: str, voice: str) -> bytes:
        self.spoken.append((text, language, voice))
        await asyncio.sleep(0)
        return wav(tone(440, 22050), rate=22050)


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.store, self.source, self.voice = Store(), Source(), Voice()
        self.tenants = Tenants()
        self.port = self.another_replica()

    def another_replica(self) -> AudioPort:
        return AudioPort(
            self.store,
            self.source,
            self.voice,
            self.tenants,
            "http://audio/audio/",
            lambda: self.now,
        )

    def serve(self, url: str = URL, hertz: int = 440, fresh: float = 300.0) -> None:
        self.source.answers[url] = Fetched(wav(tone(hertz, 8000)), '"1"', fresh)


@pytest.fixture
def world() -> World:
    return World()


async def test_speech_is_made_once_and_remembered(world: World) -> None:
    assert world.port.known(HELLO) is None
    made = await world.port.answer(HELLO)
    [name] = world.store.kept
    assert made.media == [f"sound:http://audio/audio/{name}.ulaw"]
    assert abs(made.duration_ms - 500) <= 2
    assert world.port.known(HELLO) == made
    # Another replica, or this one after a restart, finds it in the store.
    assert await world.another_replica().answer(HELLO) == made
    assert world.voice.spoken == [("hello", "en-US", "")]


async def test_calls_that_ask_at_the_same_time_share_the_work(world: World) -> None:
    answers = await asyncio.gather(*(world.port.answer(HELLO) for _ in range(5)))
    assert len(set(map(str, answers))) == 1
    assert world.voice.spoken == [("hello", "en-US", "")]
    assert world.port._under_way == {}


async def test_language_and_voice_make_a_difference(world: World) -> None:
    for request in (
        HELLO,
        PrepareSpeech(customer_id=CUSTOMER, text="hello", language="de"),
        PrepareSpeech(customer_id=CUSTOMER, text="hello", language="en-US", voice="f2"),
    ):
        await world.port.answer(request)
    assert len(world.store.kept) == 3


async def test_a_name_is_looked_up_again_now_and_then(world: World) -> None:
    await world.port.answer(HELLO)
    world.now = KEPT - 1
    assert world.port.known(HELLO) is not None
    world.now = KEPT
    assert world.port.known(HELLO) is None


async def test_files_are_fetched_converted_and_kept_while_fresh(world: World) -> None:
    world.serve(fresh=60.0)
    made = await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    assert len(world.store.kept) == 1
    assert made.duration_ms == 500
    world.now = 59.0
    assert world.port.known(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) == made
    world.now = 60.0
    assert world.port.known(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) is None
    world.source.answers[URL] = Fetched(None, '"1"', 60.0)
    assert await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) == made
    assert world.source.asked == [(URL, ""), (URL, '"1"')]
    assert world.port.known(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) == made


async def test_a_file_that_must_not_be_cached_is_asked_for_every_time(world: World) -> None:
    world.serve(fresh=0.0)
    await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    assert world.port.known(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) is None


async def test_a_file_that_has_changed_gets_another_name(world: World) -> None:
    world.serve(hertz=440, fresh=0.0)
    first = await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    world.serve(hertz=880, fresh=0.0)
    assert await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) != first


async def test_a_file_that_was_swept_is_fetched_anew(world: World) -> None:
    world.serve(fresh=0.0)
    await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    world.store.kept.clear()
    await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    assert world.source.asked[-1] == (URL, "")
    assert len(world.store.kept) == 1


async def test_an_old_copy_is_better_than_none(world: World) -> None:
    world.serve(fresh=0.0)
    made = await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    world.source.answers[URL] = AudioError("500")
    assert await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) == made


async def test_of_several_files_those_that_are_there_are_played_in_order(world: World) -> None:
    world.serve("http://a", 440)
    world.serve("http://c", 880)
    made = await world.port.answer(
        PrepareAudio(customer_id=CUSTOMER, urls=["http://a", "http://b", "http://c"])
    )
    assert len(made.media) == 2
    assert made.duration_ms == 1000
    again = await world.port.answer(
        PrepareAudio(customer_id=CUSTOMER, urls=["http://c", "http://a"])
    )
    assert again.media == made.media[::-1]


@pytest.mark.parametrize(
    "failure", [AudioError("no"), Unavailable("store_unavailable", "away"), ZeroDivisionError()]
)
async def test_whatever_goes_wrong_only_the_prompt_is_lost(
    world: World, failure: Exception
) -> None:
    world.source.answers[URL] = failure
    with pytest.raises(InvalidRequest) as caught:
        await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    assert caught.value.code == "audio_unavailable"
    assert world.port._under_way == {}


async def test_no_urls_at_all(world: World) -> None:
    with pytest.raises(InvalidRequest):
        await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[]))


async def test_a_file_that_is_no_audio(world: World) -> None:
    world.source.answers[URL] = Fetched(b"<html>", "", 60.0)
    with pytest.raises(InvalidRequest):
        await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))


async def test_the_store_being_away(world: World) -> None:
    world.store.away = True
    with pytest.raises(InvalidRequest):
        await world.port.answer(HELLO)
    world.store.away = False
    assert (await world.port.answer(HELLO)).media


async def test_what_one_customer_has_another_fetches_for_itself(world: World) -> None:
    """The store keeps it once, and counts it for both."""
    world.serve()
    await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    assert world.port.known(PrepareAudio(customer_id=OTHER, urls=[URL])) is None
    await world.port.answer(PrepareAudio(customer_id=OTHER, urls=[URL]))
    assert [customer for customer, _ in world.store.saved] == [CUSTOMER, OTHER]
    assert len(world.store.kept) == 1


async def test_a_fresh_file_is_not_asked_for_again_when_its_name_is_looked_up(
    world: World,
) -> None:
    world.serve(fresh=10 * KEPT)
    made = await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL]))
    world.now = KEPT
    assert await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=[URL])) == made
    assert world.source.asked == [(URL, "")]
    assert [customer for customer, _ in world.store.used] == [CUSTOMER]


@pytest.mark.parametrize(
    ("quotas", "request_"),
    [
        (Quotas(downloads_at_once=0), PrepareAudio(customer_id=CUSTOMER, urls=[URL])),
        (Quotas(downloads_per_minute=0), PrepareAudio(customer_id=CUSTOMER, urls=[URL])),
        (Quotas(storage_bytes=100), PrepareAudio(customer_id=CUSTOMER, urls=[URL])),
        (Quotas(speech_at_once=0), HELLO),
        (Quotas(speech_characters_per_minute=0), HELLO),
        (Quotas(storage_bytes=100), HELLO),
    ],
)
async def test_what_exceeds_a_quota_is_not_had(
    world: World, quotas: Quotas, request_: PrepareAudio | PrepareSpeech
) -> None:
    world.serve()
    world.tenants.quotas = quotas
    with pytest.raises(InvalidRequest):
        await world.port.answer(request_)
    assert world.store.kept == {}


async def test_a_hundred_files_are_fetched_a_few_at_a_time(world: World) -> None:
    world.tenants.quotas = Quotas(downloads_at_once=4)
    urls = [f"http://files.example/{number}" for number in range(100)]
    for url in urls:
        world.serve(url)
    now, most, fetch = 0, 0, world.source.fetch

    async def counting(url: str, etag: str = "") -> Fetched:
        nonlocal now, most
        now += 1
        most = max(most, now)
        fetched = await fetch(url, etag)
        now -= 1
        return fetched

    world.source.fetch = counting  # type: ignore[method-assign]
    made = await world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=urls))
    assert (len(made.media), most) == (100, 4)


async def test_a_customer_does_not_wait_for_all_conversions_of_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that last long take seconds each."""
    order: list[int] = []
    lock = threading.Lock()

    def convert(wav_file: bytes) -> bytes:
        time.sleep(0.02)
        with lock:
            order.append(len(wav_file))
        return b"x" * 8000

    monkeypatch.setattr(audio, "telephone_audio", convert)
    long = [f"http://files.example/{number}" for number in range(8)]
    for url in long:
        world.source.answers[url] = Fetched(bytes(1000), "", 60.0)
    world.source.answers[URL] = Fetched(bytes(10), "", 60.0)
    await asyncio.gather(
        world.port.answer(PrepareAudio(customer_id=CUSTOMER, urls=long)),
        world.port.answer(PrepareAudio(customer_id=OTHER, urls=[URL])),
    )
    assert order.index(10) <= 2
