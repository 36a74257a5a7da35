"""The port `audio`: customers' files and spoken texts, as URIs that every Asterisk can play.

What is ready lies in the table `audio` under a name that stands for its content, so Asterisk may keep it for
ever. This process remembers which names exist and which URL led to which, and so answers at once for what
was played before.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from uuid import UUID

import msgspec
from prometheus_client import Counter

from call_manager.audio.errors import AudioError
from call_manager.audio.telephone import duration_ms, telephone_audio
from call_manager.domain.ports import PrepareAudio, PreparedAudio, PrepareSpeech
from call_manager.gateways.cache import ExpiringCache
from call_manager.gateways.fetch import Fetched
from call_manager.gateways.speech import Speech
from call_manager.gateways.turns import Rates, Turns
from evercall.contracts.tenant import Quotas, Tenancy
from evercall.service.errors import InvalidRequest, PlatformError
from evercall.service.logging import get_logger
from evercall.service.quotas import quota_exceeded

MOST = 20_000
KEPT = 600.0
"""Seconds for which a name is known to exist. Then the store is asked again, which also tells it that the
audio is used. Much shorter than the store's grace for what no customer keeps any more."""

FETCHES, SPEECHES, CONVERSIONS = 32, 4, 2
"""At once, in this process."""

MOST_WAITING = 500
"""Files, or texts, of a customer."""

PATIENCE = 20.0

SUFFIX = ".ulaw"
"""Tells Asterisk the format: raw u-law goes to the caller as it is."""

PREPARED = Counter(
    "evercall_call_manager_audio_total", "Prompts that were not at hand", ["source", "result"]
)

log = get_logger(__name__)

Request = PrepareAudio | PrepareSpeech


class Store(Protocol):
    """Where audio is kept."""

    async def save(self, customer: UUID, name: str, content: bytes, most: int) -> None: ...
    async def use(self, customer: UUID, name: str) -> int | None: ...


class Source(Protocol):
    """Where files come from."""

    async def fetch(self, url: str, etag: str = "") -> Fetched: ...


class Tenancies(Protocol):
    """Who knows what customers may use."""

    async def of(self, customer_id: UUID) -> Tenancy: ...


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio that is in the store. Until `fresh` its URL need not be asked again."""

    name: str
    milliseconds: int
    etag: str = ""
    fresh: float = 0.0


@dataclass(frozen=True, slots=True)
class _Order:
    """What one customer wants, and what it may use."""

    customer: UUID
    quotas: Quotas


class AudioPort:
    """Makes audio playable."""

    def __init__(
        self,
        store: Store,
        source: Source,
        speech: Speech,
        tenancies: Tenancies,
        base_url: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._source = source
        self._speech = speech
        self._tenancies = tenancies
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._clips: ExpiringCache[tuple[UUID, str], Clip] = ExpiringCache(MOST)
        self._under_way: dict[tuple[UUID, str], tuple[asyncio.Lock, int]] = {}
        self._fetches = Turns("downloads_at_once", FETCHES, MOST_WAITING, PATIENCE)
        self._downloads = Rates("downloads_per_minute")
        self._speeches = Turns("speech_at_once", SPEECHES, MOST_WAITING, PATIENCE)
        self._characters = Rates("speech_characters_per_minute")
        # A file that lasts long takes two seconds: nobody waits for more than one of another customer.
        self._conversions = Turns("downloads_at_once", CONVERSIONS, MOST_WAITING, PATIENCE)

    def known(self, request: Request) -> PreparedAudio | None:
        """The audio, where all of it is at hand."""
        now = self._clock()
        clips = [self._clips.get((request.customer_id, key), now) for key in _keys(request)]
        ready = [clip for clip in clips if clip is not None]
        return self._prepared(ready) if len(ready) == len(clips) else None

    async def answer(self, request: Request) -> PreparedAudio:
        """The audio. Of several files, those that can't be had are left out.

        Raises:
            InvalidRequest: nothing of it can be had.
        """
        tenancy = await self._tenancies.of(request.customer_id)
        order = _Order(request.customer_id, tenancy.quotas)
        if isinstance(request, PrepareSpeech):
            key = _speech_name(request)
            makers = [self._clip(order, key, "speech", partial(self._speak, order, key, request))]
        else:
            makers = [
                self._clip(order, url, "url", partial(self._fetch, order, url))
                for url in request.urls
            ]
        ready = [clip for clip in await asyncio.gather(*makers) if clip is not None]
        if not ready:
            raise InvalidRequest("audio_unavailable", "The audio can't be had")
        return self._prepared(ready)

    def _prepared(self, clips: list[Clip]) -> PreparedAudio:
        return PreparedAudio(
            media=[f"sound:{self._base_url}/{clip.name}{SUFFIX}" for clip in clips],
            duration_ms=sum(clip.milliseconds for clip in clips),
        )

    async def _clip(
        self, order: _Order, key: str, source: str, make: Callable[[], Awaitable[Clip]]
    ) -> Clip | None:
        """One piece of audio, made once however many calls ask for it at the same time."""
        place = (order.customer, key)
        async with self._alone(place):
            at_hand = self._clips.get(place, self._clock())
            if at_hand is not None:
                return at_hand
            try:
                clip = await make()
            except AudioError as error:
                reason = str(error)
            except PlatformError as error:
                reason = str(error.details.get("quota", error.code))
            except Exception:
                # What strangers send must not end the process, whatever it is: the call that asked would
                # ask again after the restart, and end it again.
                log.exception("audio_failed", source=source)
                reason = "internal"
            else:
                self._clips.put(place, clip, until=self._known_until(clip))
                PREPARED.labels(source, "ok").inc()
                return clip
            PREPARED.labels(source, "failed").inc()
            log.warning(
                "audio_unavailable",
                customer_id=str(order.customer),
                source=source,
                reason=reason,
                pii_url=key,
            )
            return self._clips.get_stale(place)

    def _known_until(self, clip: Clip) -> float:
        return min(clip.fresh, self._clock() + KEPT)

    async def _speak(self, order: _Order, name: str, request: PrepareSpeech) -> Clip:
        customer, quotas = order.customer, order.quotas
        length = await self._store.use(customer, name)
        if length is None:
            characters = quotas.speech_characters_per_minute
            self._characters.spend(customer, len(request.text), characters, self._clock())
            async with self._speeches.turn(customer, quotas.speech_at_once):
                wav = await self._speech.speak(request.text, request.language, request.voice)
                length = await self._keep(order, name, await self._converted(order, wav))
        return Clip(name, duration_ms(length), fresh=float("inf"))

    async def _fetch(self, order: _Order, url: str) -> Clip:
        customer, quotas = order.customer, order.quotas
        before = self._clips.get_stale((customer, url))
        if before is not None and await self._store.use(customer, before.name) is None:
            before = None
        if before is not None and before.fresh > self._clock():
            return before
        self._downloads.spend(customer, 1, quotas.downloads_per_minute, self._clock())
        async with self._fetches.turn(customer, quotas.downloads_at_once):
            fetched = await self._source.fetch(url, before.etag if before is not None else "")
            fresh = self._clock() + fetched.fresh_seconds
            if fetched.content is None and before is not None:
                return Clip(before.name, before.milliseconds, fetched.etag, fresh)
            content = await self._converted(order, fetched.content or b"")
            name = hashlib.blake2b(content, digest_size=20).hexdigest()
            length = await self._keep(order, name, content)
        return Clip(name, duration_ms(length), fetched.etag, fresh)

    async def _converted(self, order: _Order, wav: bytes) -> bytes:
        async with self._conversions.turn(order.customer, CONVERSIONS):
            return await asyncio.to_thread(telephone_audio, wav)

    async def _keep(self, order: _Order, name: str, content: bytes) -> int:
        most = order.quotas.storage_bytes
        if len(content) > most:
            raise quota_exceeded("storage_bytes", most)
        await self._store.save(order.customer, name, content, most)
        return len(content)

    @asynccontextmanager
    async def _alone(self, key: tuple[UUID, str]) -> AsyncIterator[None]:
        lock, users = self._under_way.get(key, (asyncio.Lock(), 0))
        self._under_way[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._under_way.pop(key)
            if users > 1:
                self._under_way[key] = (lock, users - 1)


def _keys(request: Request) -> list[str]:
    return [_speech_name(request)] if isinstance(request, PrepareSpeech) else request.urls


def _speech_name(request: PrepareSpeech) -> str:
    spoken = msgspec.json.encode(["speech", request.language, request.voice, request.text])
    return hashlib.blake2b(spoken, digest_size=20).hexdigest()
