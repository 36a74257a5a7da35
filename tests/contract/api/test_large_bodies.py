"""Bodies that are too large, on the lab's own api_manager over TCP: refused early, answered readably,
and never held in memory."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from api_manager.settings import Settings
from deploy.lab.lab import Lab

TEN_MEGABYTES = 10_000_000
PASSED_ON = 1_900_000
CHUNK = b"x" * 50_000


class Server:
    """The lab's api_manager process."""

    def __init__(self, lab: Lab, settings: Settings) -> None:
        self.address = lab.farm.named("api_manager-1").address
        self.key = settings.admin_accesskey.get_secret_value()
        self.balancer = lab.farm.api_url
        self._process = Path(f"/proc/{lab.pids('api_manager-1')[0]}")

    def head(self, *more: str) -> bytes:
        lines = ("POST /v1.0/flows HTTP/1.1", "Host: api.test", f"Authorization: Bearer {self.key}")
        return "\r\n".join((*lines, "Content-Type: application/json", *more, "", "")).encode()

    def forget_peak(self) -> None:
        """proc(5): 5 resets the peak of resident memory to what it is now."""
        (self._process / "clear_refs").write_text("5")

    def memory(self, field: str) -> int:
        """In bytes: VmRSS is what is resident now, VmHWM the peak."""
        for line in (self._process / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(field)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address, 8080)


@pytest.fixture
def server(ready_lab: Lab, settings: Settings) -> Server:
    ready_lab.wait_ready(["api_manager-1", "nginx"], seconds=30.0)
    return Server(ready_lab, settings)


async def upload(server: Server, *headers: str, chunked: bool, size: int = TEN_MEGABYTES) -> bytes:
    """Sends a body as stubbornly as a simple client does, and reads only then."""
    reader, writer = await server.connect()
    writer.write(server.head(*headers))
    try:
        for _ in range(size // len(CHUNK)):
            writer.write(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK) if chunked else CHUNK)
            await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    return answer


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_that_sends_all_reads_a_413(server: Server, chunked: bool) -> None:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {TEN_MEGABYTES}"
    answer = await upload(server, framing, chunked=chunked)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    assert b"REQUEST_TOO_LARGE" in body


async def test_through_the_balancer(server: Server) -> None:
    """It takes twice as much as the API, which so answers in its own words. What is more it refuses by itself,
    before anybody has looked at credentials."""
    async with httpx.AsyncClient(base_url=server.balancer) as client:
        headers = {"Authorization": f"Bearer {server.key}"}
        for size, given, status, reason in (
            (TEN_MEGABYTES, headers, 413, "REQUEST_TOO_LARGE"),
            (TEN_MEGABYTES, {}, 413, "REQUEST_TOO_LARGE"),
            (PASSED_ON, headers, 413, "REQUEST_TOO_LARGE"),
            (PASSED_ON, {}, 401, "AUTHENTICATION_REQUIRED"),
        ):
            answer = await client.post("/v1.0/flows", content=b"x" * size, headers=given)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)


async def test_large_bodies_are_not_held_in_memory(server: Server) -> None:
    await upload(server, "Transfer-Encoding: chunked", chunked=True)
    server.forget_peak()
    before = server.memory("VmRSS")
    await asyncio.gather(
        *(upload(server, "Transfer-Encoding: chunked", chunked=True) for _ in range(5)),
        *(upload(server, f"Content-Length: {TEN_MEGABYTES}", chunked=False) for _ in range(5)),
    )
    # 100 MB were sent; each request may hold up to the limit of 1 MB, and the allocator its slack.
    assert server.memory("VmHWM") - before < 25_000_000


async def test_a_body_that_never_ends_is_not_listened_to_for_ever(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(server.head("Transfer-Encoding: chunked"))

    async def send_for_ever() -> None:
        while True:
            writer.write(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))
            await writer.drain()
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(send_for_ever())
    began = time.monotonic()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - began < 2.0
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(sending, timeout=10)
    writer.close()


async def test_who_asks_before_sending_is_told_without_sending(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(server.head(f"Content-Length: {TEN_MEGABYTES}", "Expect: 100-continue"))
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_connection_goes_on_after_a_small_body_that_was_refused(server: Server) -> None:
    async with httpx.AsyncClient(base_url=f"http://{server.address}:8080") as client:
        answers = [await client.post("/v1.0/flows", json={"name": "x" * 1000}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all("connection" not in answer.headers for answer in answers)


@pytest.mark.parametrize(
    "request_text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n\r\n",
        b"GET /v1.0/calls HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1.0/calls HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /v1.0/flows HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /%00%ff%c0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1.0/calls?page_token=%ff%00 HTTP/1.1\r\nHost: x\r\nCookie: a=\xff;;;=\r\n\r\n",
        b"GET /v1.0/calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"GET /v1.0/calls HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: \xff, ::1%eth0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    ],
)  # fmt: skip
async def test_http_that_is_none(server: Server, request_text: bytes) -> None:
    reader, writer = await server.connect()
    writer.write(request_text)
    writer.write_eof()
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or b" 307 " in answer
    writer.close()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{server.balancer}/openapi.json")).status_code == 200
