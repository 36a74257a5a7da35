"""Where Asterisk's outbound WebSocket arrives."""

import asyncio
import socket
from collections.abc import Callable

from evercall.ari import handshake
from evercall.ari.handshake import Refusal
from evercall.service.logging import get_logger
from evercall.service.settings import Address

log = get_logger(__name__)

HANDSHAKE_TIMEOUT = 2.0
RECEIVE_BUFFER = 4 * 1024 * 1024
"""What the kernel holds for us while this process stands still (cut to net.core.rmem_max)."""


class Door:
    """Accepts one connection after the other.

    `may_enter` says whether a connection is wanted now; Asterisk tries again until one is. `enter`
    gets each that has finished its handshake.
    """

    def __init__(
        self,
        address: Address,
        username: str,
        password: str,
        may_enter: Callable[[], bool],
        enter: Callable[[socket.socket], None],
    ) -> None:
        self._address = address
        self._username = username
        self._password = password
        self._may_enter = may_enter
        self._enter = enter

    async def run(self) -> None:
        """Listens until it is cancelled."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            listener.setblocking(False)
            listener.bind(self._address)
            listener.listen(16)
            while True:
                connection, _ = await loop.sock_accept(listener)
                connection.setblocking(False)
                await self._greet(connection)

    async def _greet(self, connection: socket.socket) -> None:
        """One at a time: there is one Asterisk, and who dawdles is cut off."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                request = await _read_request(connection)
                answer, welcome = self._answer(request)
                await loop.sock_sendall(connection, answer)
        except (OSError, TimeoutError):
            welcome = False
        if not welcome:
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._enter(connection)

    def _answer(self, request: bytes) -> tuple[bytes, bool]:
        try:
            answer = handshake.accept(request, self._username, self._password)
            if not self._may_enter():
                raise Refusal(503, "Service Unavailable")
        except Refusal as refusal:
            log.warning("asterisk_not_let_in", status=refusal.status)
            return refusal.response(), False
        return answer, True


async def _read_request(connection: socket.socket) -> bytes:
    """Reads the HTTP request; a client sends nothing after it before it has the response."""
    loop = asyncio.get_running_loop()
    request = bytearray()
    while not request.endswith(handshake.END):
        received = await loop.sock_recv(connection, handshake.REQUEST_MAXIMUM)
        request += received
        if not received or len(request) > handshake.REQUEST_MAXIMUM:
            raise ConnectionError("not an HTTP request")
    return bytes(request)
