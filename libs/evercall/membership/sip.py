"""Asks a SIP server whether it lives: an OPTIONS request (RFC 3261 §11), which anything that lives answers."""

import asyncio
import secrets
from typing import Any

from evercall.service.settings import Address


class _Client(asyncio.DatagramProtocol):
    def __init__(self, call_id: str) -> None:
        self._call_id = call_id.encode()
        self.answered = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        del addr
        if data.startswith(b"SIP/2.0 ") and self._call_id in data:
            self.answered.set()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there (ICMP): the same as no answer, and the next request may find somebody."""


async def answers(address: Address, seconds: float) -> bool:
    """Whether any response comes within so many seconds. Even a refusal is one."""
    call_id = secrets.token_hex(12)
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(
        lambda: _Client(call_id), remote_addr=address
    )
    try:
        transport.sendto(_request(address, transport.get_extra_info("sockname"), call_id))
        async with asyncio.timeout(seconds):
            await client.answered.wait()
    except TimeoutError:
        return False
    finally:
        transport.close()
    return True


def _request(to: Address, own: tuple[str, int], call_id: str) -> bytes:
    lines = [
        f"OPTIONS sip:{to[0]}:{to[1]} SIP/2.0",
        f"Via: SIP/2.0/UDP {own[0]}:{own[1]};branch=z9hG4bK{call_id};rport",
        "Max-Forwards: 1",
        f"From: <sip:membership@{own[0]}>;tag={call_id}",
        f"To: <sip:{to[0]}:{to[1]}>",
        f"Call-ID: {call_id}",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
