"""Fetches customers' audio files over HTTP, within limits, and never from where they must not reach."""

import asyncio
import re
from dataclasses import dataclass

import httpx

from call_manager.audio.errors import AudioError
from evercall.service.guard import HostGuard, HostRefused

MOST_BYTES = 10_000_000
DEADLINE = 10.0
MOST_REDIRECTS = 3
LONGEST_URL = 2048
LONGEST_ETAG = 256

MOST_PIECES = 4000
"""Of a file, as it comes: 2.5 kB each. One costs 30 microseconds, and chunks (RFC 9112 section 7.1) may have one
byte."""

PIECES_IN_A_ROW = 32
"""After so many others of this process have their turn; what is there already is read without waiting."""

CRUMB, CRUMB_PAUSE = 1024, 0.05
"""Who sends pieces that are smaller on the average is read slowly: a fiftieth of the process at the most."""

FRESH = 300.0
LONGEST_FRESH = 86_400.0
"""Seconds that an answer counts as fresh where it does not say so itself, and at the most."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})")
_NO_CACHE = re.compile(r"(?:^|[\s,])(?:no-store|no-cache)(?:$|[\s,])")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave. `content` is None where it has not changed since `etag`."""

    content: bytes | None
    etag: str
    fresh_seconds: float


class Fetcher:
    """An HTTP client for URLs that strangers wrote."""

    def __init__(self, guard: HostGuard, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._guard = guard
        self._client = httpx.AsyncClient(
            transport=transport,
            # A proxy from the environment would connect to whatever it likes.
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(DEADLINE),
            # A connection is to an address. Kept open, it would serve the next name at that address
            # under a certificate that was checked for another one.
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            headers={
                "User-Agent": "Evercall",
                "Accept": "audio/wav, audio/*;q=0.9",
                "Accept-Encoding": "identity",
            },
        )

    async def close(self) -> None:
        """Closes what is open."""
        await self._client.aclose()

    async def fetch(self, url: str, etag: str = "") -> Fetched:
        """Fetches a file.

        Args:
            url: as the customer wrote it.
            etag: of the copy that is at hand.

        Raises:
            AudioError: it can't be had.
        """
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._follow(url, etag)
        except TimeoutError:
            raise AudioError("the URL took too long") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            raise AudioError("the URL could not be fetched") from None

    async def _follow(self, url: str, etag: str) -> Fetched:
        target = _checked(url)
        for _ in range(MOST_REDIRECTS + 1):
            request = await self._request(target, etag)
            response = await self._client.send(request, stream=True)
            try:
                if response.status_code in _REDIRECTS:
                    target = _checked(str(target.join(response.headers.get("location", ""))))
                    continue
                return await _read(response, etag)
            finally:
                await response.aclose()
        raise AudioError("the URL is redirected too often")

    async def _request(self, url: httpx.URL, etag: str) -> httpx.Request:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            address = await self._guard.address_of(url.host, port)
        except HostRefused as error:
            raise AudioError(str(error)) from None
        headers = {"Host": url.netloc.decode("ascii")}
        if etag:
            headers["If-None-Match"] = etag
        return self._client.build_request(
            "GET",
            url.copy_with(host=address),
            headers=headers,
            # TLS still asks for, and checks, the name.
            extensions={"sni_hostname": url.host},
        )


def _checked(text: str) -> httpx.URL:
    if len(text) > LONGEST_URL:
        raise AudioError("the URL is too long")
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise AudioError("the URL is neither http nor https")
    if url.userinfo:
        raise AudioError("the URL holds credentials")
    return url


async def _read(response: httpx.Response, etag: str) -> Fetched:
    fresh = _fresh_seconds(response.headers.get("cache-control", ""))
    tag = response.headers.get("etag", "")
    if len(tag) > LONGEST_ETAG:
        tag = ""
    if response.status_code == httpx.codes.NOT_MODIFIED and etag:
        return Fetched(None, tag or etag, fresh)
    if response.status_code != httpx.codes.OK:
        raise AudioError("the URL did not answer with a file")
    return Fetched(await _content(response), tag, fresh)


async def _content(response: httpx.Response) -> bytes:
    """The file as it came. Nothing is unpacked: some hundred bytes would become gigabytes."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise AudioError("the file is in an encoding that was not asked for")
    content, pieces = bytearray(), 0
    async for piece in response.aiter_raw():
        content += piece
        pieces += 1
        if len(content) > MOST_BYTES:
            raise AudioError("the file is too large")
        if pieces > MOST_PIECES:
            raise AudioError("the file comes in too many pieces")
        if pieces % PIECES_IN_A_ROW == 0:
            await asyncio.sleep(CRUMB_PAUSE if len(content) < pieces * CRUMB else 0)
    return bytes(content)


def _fresh_seconds(cache_control: str) -> float:
    """RFC 9111 section 5.2.2, as far as it matters to a private cache of audio files."""
    directives = cache_control.lower()
    if _NO_CACHE.search(directives):
        return 0.0
    age = _MAX_AGE.search(directives)
    return min(float(age[1]), LONGEST_FRESH) if age else FRESH
