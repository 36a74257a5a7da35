"""Asking a SIP server whether it lives."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from evercall.membership import sip
from evercall.service.settings import Address


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """Answers each request with a status line and the request's own headers, or with nothing."""
    heard: list[bytes] = []

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            heard.append(data)
            if answer:
                self.transport.sendto(answer + data.partition(b"\r\n")[2], addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    try:
        yield Address(*transport.get_extra_info("sockname")), heard
    finally:
        transport.close()


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "503 Service Unavailable"])
async def test_any_response_is_a_sign_of_life(status: str) -> None:
    async with server(f"SIP/2.0 {status}\r\n".encode()) as (address, heard):
        assert await sip.answers(address, 5.0)
    head = heard[0].decode().split("\r\n")
    assert head[0] == f"OPTIONS sip:{address.host}:{address.port} SIP/2.0"
    assert heard[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_silence_and_nonsense_are_none(answer: bytes) -> None:
    async with server(answer) as (address, _):
        assert not await sip.answers(address, 0.05)


async def test_a_response_to_somebody_else_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(b"SIP/2.0 200 OK\r\nCall-ID: other\r\n\r\n#") as (address, _):
        monkeypatch.setattr(sip, "_request", lambda *_: b"OPTIONS sip:x SIP/2.0\r\n\r\n")
        assert not await sip.answers(address, 0.05)


async def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = Address(*taken.getsockname())
    assert not await sip.answers(address, 0.1)
