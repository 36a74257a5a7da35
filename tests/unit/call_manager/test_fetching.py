"""Customers' URLs: where they may lead, and what is done with what comes back."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network

import httpx
import pytest

from call_manager.audio.errors import AudioError
from call_manager.gateways import fetch as fetching
from call_manager.gateways.fetch import Fetcher, _fresh_seconds
from evercall.service.guard import HostGuard, HostRefused

FORBIDDEN = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:db8::1",
    "192.0.0.192",
    "192.0.0.9",
    "192.88.99.1",
    "203.0.113.7",
    "239.255.255.250",
    "fec0::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "2001::1",
    "2001:1::1",
    "5f00::1",
    "100::1",
    "100:0:0:1::1",
    "4000::1",
    "::8.8.8.8",
]


def guard(*addresses: str, allowed: Sequence[str] = ()) -> HostGuard:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return HostGuard([ip_network(network) for network in allowed], resolve)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_addresses_that_customers_must_not_reach(address: str) -> None:
    with pytest.raises(HostRefused, match="must not be reached"):
        await guard(address).address_of("x.example", 80)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.215.14",
        "8.8.8.8",
        "1.0.0.1",
        "9.255.255.255",
        "11.0.0.0",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.255.255",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:200::1",
        "2003::1",
        "3ffe::1",
    ],
)
async def test_the_internet_may_be_reached(address: str) -> None:
    assert await guard(address).address_of("x.example", 80) == address


async def test_one_forbidden_address_forbids_the_name() -> None:
    with pytest.raises(HostRefused):
        await guard("8.8.8.8", "10.0.0.1").address_of("x.example", 80)


async def test_the_operator_may_allow_networks() -> None:
    allowed = guard("127.20.9.5", allowed=["127.20.9.0/24"])
    assert await allowed.address_of("x.example", 80) == "127.20.9.5"
    with pytest.raises(HostRefused):
        await guard("127.20.8.5", allowed=["127.20.9.0/24"]).address_of("x.example", 80)


async def test_a_mapped_address_counts_as_what_it_carries() -> None:
    mapped = guard("::ffff:127.20.9.5", allowed=["127.20.9.0/24"])
    assert await mapped.address_of("x", 80) == "::ffff:127.20.9.5"


async def test_a_name_that_does_not_resolve() -> None:
    async def fails(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(HostRefused, match="not known"):
        await HostGuard([], fails).address_of("x.example", 80)
    with pytest.raises(HostRefused, match="must not be reached"):
        await guard().address_of("x.example", 80)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "localhost", "[::1]"])
async def test_spellings_of_this_machine_are_seen_through(host: str) -> None:
    """With the system's own resolver, which reads such spellings as C's inet_aton does."""
    with pytest.raises(HostRefused):
        await HostGuard([]).address_of(host.strip("[]"), 80)


# -- fetching ------------------------------------------------------------------------------------

Answer = Callable[[httpx.Request], httpx.Response]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def file(*parts: bytes, **headers: str) -> httpx.Response:
    """An answer that comes in these pieces."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, content=pieces(*parts), headers=named)


def fetcher(answer: Answer, *addresses: str) -> Fetcher:
    return Fetcher(guard(*(addresses or ("8.8.8.8",))), httpx.MockTransport(answer))


async def test_the_request_goes_to_the_address_and_asks_for_the_name() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return file(b"au", b"dio", ETag='"1"')

    found = await fetcher(answer).fetch("https://files.example:8443/a.wav?x=1")
    assert found.content == b"audio"
    assert found.etag == '"1"'
    [request] = asked
    assert str(request.url) == "https://8.8.8.8:8443/a.wav?x=1"
    assert request.headers["host"] == "files.example:8443"
    assert request.extensions["sni_hostname"] == "files.example"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://files.example/a",
        "file:///etc/passwd",
        "//files.example/a",
        "files.example/a",
        "http://",
        "http:///a",
        "http://user:secret@files.example/a",
        "http://files.example/" + "a" * 3000,
        "",
        "http://[::1",
    ],
)
async def test_urls_that_are_refused(url: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing may be sent")

    with pytest.raises(AudioError):
        await fetcher(answer).fetch(url)


async def test_redirects_are_judged_like_urls() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["host"] == "files.example":
            return httpx.Response(302, headers={"location": "http://inside.example/a"})
        raise AssertionError("the second host must not be asked")

    async def resolve(host: str, _port: int) -> Sequence[str]:
        return ["8.8.8.8"] if host == "files.example" else ["127.0.0.1"]

    judged = Fetcher(HostGuard([], resolve), httpx.MockTransport(answer))
    with pytest.raises(AudioError, match="must not be reached"):
        await judged.fetch("http://files.example/a")


async def test_a_relative_redirect_is_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/a":
            return httpx.Response(301, headers={"location": "/b"})
        return file(request.url.path.encode())

    assert (await fetcher(answer).fetch("http://files.example/a")).content == b"/b"


@pytest.mark.parametrize("location", ["/a", "gopher://x/", "http://u:p@x/", ""])
async def test_redirects_that_lead_nowhere(location: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": location})

    with pytest.raises(AudioError):
        await fetcher(answer).fetch("http://files.example/a")


@pytest.mark.parametrize("status", [204, 206, 400, 403, 404, 500, 304])
async def test_only_200_is_a_file(status: int) -> None:
    with pytest.raises(AudioError):
        await fetcher(lambda _: httpx.Response(status)).fetch("http://files.example/a")


async def test_a_file_that_has_not_changed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["if-none-match"] == '"1"'
        return httpx.Response(304, headers={"cache-control": "max-age=60"})

    found = await fetcher(answer).fetch("http://files.example/a", '"1"')
    assert (found.content, found.etag, found.fresh_seconds) == (None, '"1"', 60.0)


async def test_a_file_that_is_too_large_is_not_read_to_its_end() -> None:
    read = 0

    async def endless() -> object:
        nonlocal read
        while True:
            read += 1_000_000
            yield bytes(1_000_000)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=endless())  # type: ignore[arg-type]

    with pytest.raises(AudioError, match="too large"):
        await fetcher(answer).fetch("http://files.example/a")
    assert read <= fetching.MOST_BYTES + 2_000_000


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "br", "gzip, gzip, gzip", "x", "identity, gzip"]
)
async def test_what_is_packed_is_not_unpacked(encoding: str) -> None:
    """Some hundred bytes were unpacked to hundreds of megabytes before they were counted."""
    packed = gzip.compress(gzip.compress(bytes(20_000_000)))

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        return file(packed, Content_Encoding=encoding)

    with pytest.raises(AudioError, match="encoding"):
        await fetcher(answer).fetch("http://files.example/a")


async def test_identity_may_be_said() -> None:
    found = await fetcher(lambda _: file(b"a", Content_Encoding="Identity")).fetch(
        "http://x.example"
    )
    assert found.content == b"a"


async def test_a_file_in_very_many_pieces_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "CRUMB_PAUSE", 0)
    many = [b"a"] * (fetching.MOST_PIECES + 1)
    with pytest.raises(AudioError, match="pieces"):
        await fetcher(lambda _: file(*many)).fetch("http://files.example/a")


async def test_others_have_their_turn_while_a_file_is_read() -> None:
    """All of it is there already, so nothing has to be waited for."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    await fetcher(lambda _: file(*[bytes(2000)] * 3000)).fetch("http://files.example/a")
    running.cancel()
    assert turns >= 3000 // fetching.PIECES_IN_A_ROW


async def test_crumbs_are_read_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def sleeping(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleeping)
    for size, slowly in ((fetching.CRUMB - 1, True), (fetching.CRUMB, False)):
        pauses.clear()
        await fetcher(lambda _, size=size: file(*[bytes(size)] * 320)).fetch("http://x.example/")  # type: ignore[misc]
        assert pauses == [fetching.CRUMB_PAUSE if slowly else 0] * 10


@pytest.mark.parametrize(("length", "kept"), [(256, True), (257, False)])
async def test_a_long_etag_is_not_kept(length: int, kept: bool) -> None:
    tag = "a" * length
    found = await fetcher(lambda _: file(b"a", ETag=tag)).fetch("http://files.example/a")
    assert found.etag == (tag if kept else "")


async def test_a_server_that_gives_a_byte_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "DEADLINE", 0.1)

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b"a"
            await asyncio.sleep(0.01)

    with pytest.raises(AudioError, match="too long"):
        await fetcher(lambda _: httpx.Response(200, content=dripping())).fetch("http://x.example/")


async def test_a_server_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "DEADLINE", 0.01)

    async def answer(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(5)
        raise AssertionError("too late")

    slow = Fetcher(guard("8.8.8.8"), httpx.MockTransport(answer))
    with pytest.raises(AudioError, match="too long"):
        await slow.fetch("http://files.example/a")


async def test_a_connection_that_fails() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(AudioError, match="could not be fetched"):
        await fetcher(answer).fetch("http://files.example/a")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 300.0),
        ("public", 300.0),
        ("max-age=60", 60.0),
        ("public, max-age=60, immutable", 60.0),
        ("s-maxage=5", 300.0),
        ("max-age=99999999", 86_400.0),
        ("no-store", 0.0),
        ("max-age=60, no-cache", 0.0),
        ("MAX-AGE=7", 7.0),
        ("max-age=soon", 300.0),
    ],
)
def test_how_long_an_answer_is_fresh(header: str, seconds: float) -> None:
    assert _fresh_seconds(header) == seconds
