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

import msgspec
from prometheus_client import Counter

from call_manager.audio.errors import AudioError
from call_manager.audio.telephone import duration_ms, telephone_audio
from call_manager.domain.ports import PrepareAudio, PreparedAudio, PrepareSpeech
from call_manager.gateways.cache import ExpiringCache
from call_manager.gateways.fetch import Fetched
from call_manager.gateways.speech import Speech
from evercall.service.errors import InvalidRequest, PlatformError
from evercall.service.logging import get_logger

MOST = 20_000
KEPT = 86_400.0
"""Seconds for which a name is known to exist. Then the store is asked again, which also tells it that the
audio is used."""

SUFFIX = ".ulaw"
"""Tells Asterisk the format: raw u-law goes to the caller as it is."""

PREPARED = Counter(
    "evercall_call_manager_audio_total", "Prompts that were not at hand", ["source", "result"]
)

log = get_logger(__name__)

Request = PrepareAudio | PrepareSpeech


class Store(Protocol):
    """Where audio is kept."""

    async def save(self, name: str, content: bytes) -> None: ...
    async def use(self, name: str) -> int | None: ...


class Source(Protocol):
    """Where files come from."""

    async def fetch(self, url: str, etag: str = "") -> Fetched: ...


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio that is in the store."""

    name: str
    milliseconds: int
    etag: str = ""


class AudioPort:
    """Makes audio playable."""

    def __init__(
        self,
        store: Store,
        source: Source,
        speech: Speech,
        base_url: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._source = source
        self._speech = speech
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._clips: ExpiringCache[str, Clip] = ExpiringCache(MOST)
        self._under_way: dict[str, tuple[asyncio.Lock, int]] = {}

    def known(self, request: Request) -> PreparedAudio | None:
        """The audio, where all of it is at hand."""
        now = self._clock()
        clips = [self._clips.get(key, now) for key in _keys(request)]
        ready = [clip for clip in clips if clip is not None]
        return self._prepared(ready) if len(ready) == len(clips) else None

    async def answer(self, request: Request) -> PreparedAudio:
        """The audio. Of several files, those that can't be had are left out.

        Raises:
            InvalidRequest: nothing of it can be had.
        """
        if isinstance(request, PrepareSpeech):
            key = _speech_name(request)
            makers = [self._clip(key, "speech", partial(self._speak, key, request))]
        else:
            makers = [self._clip(url, "url", partial(self._fetch, url)) for url in request.urls]
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
        self, key: str, source: str, make: Callable[[], Awaitable[Clip]]
    ) -> Clip | None:
        """One piece of audio, made once however many calls ask for it at the same time."""
        async with self._alone(key):
            at_hand = self._clips.get(key, self._clock())
            if at_hand is not None:
                return at_hand
            try:
                clip = await make()
            except AudioError as error:
                reason = str(error)
            except PlatformError as error:
                reason = error.message
            except Exception:
                # What strangers send must not end the process, whatever it is: the call that asked would
                # ask again after the restart, and end it again.
                log.exception("audio_failed", source=source)
                reason = "internal"
            else:
                PREPARED.labels(source, "ok").inc()
                return clip
            PREPARED.labels(source, "failed").inc()
            log.warning("audio_unavailable", source=source, reason=reason, pii_url=key)
            return self._clips.get_stale(key)

    async def _speak(self, name: str, request: PrepareSpeech) -> Clip:
        length = await self._store.use(name)
        if length is None:
            wav = await self._speech.speak(request.text, request.language, request.voice)
            content = await asyncio.to_thread(telephone_audio, wav)
            await self._store.save(name, content)
            length = len(content)
        clip = Clip(name, duration_ms(length))
        self._clips.put(name, clip, until=self._clock() + KEPT)
        return clip

    async def _fetch(self, url: str) -> Clip:
        before = self._clips.get_stale(url)
        if before is not None and await self._store.use(before.name) is None:
            before = None
        fetched = await self._source.fetch(url, before.etag if before is not None else "")
        if fetched.content is None and before is not None:
            clip = Clip(before.name, before.milliseconds, fetched.etag)
        else:
            content = await asyncio.to_thread(telephone_audio, fetched.content or b"")
            name = hashlib.blake2b(content, digest_size=20).hexdigest()
            await self._store.save(name, content)
            clip = Clip(name, duration_ms(len(content)), fetched.etag)
        self._clips.put(url, clip, until=self._clock() + fetched.fresh_seconds)
        return clip

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
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
