"""RTP over UDP with an application (RFC 3550): ulaw, payload type 0, both ways between the same two addresses."""

import asyncio
from typing import Any

from media_manager.domain.allowance import Allowance
from media_manager.domain.closing import StreamEnd
from media_manager.doors.reading import BURST, TOKENS_PER_SECOND
from media_manager.session import Session


class RtpLink(asyncio.DatagramProtocol):
    """The socket is connected, so the kernel lets in the application's packets alone.

    UDP has no connection that could break: an application that is not there yet (its port is closed) or falls
    silent is none that has left. Keys are not told: no payload type was agreed for them (RFC 4733 §2.1).
    """

    takes_keys = False

    def __init__(self, session: Session) -> None:
        self._session = session
        self._transport: Any = None
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(TOKENS_PER_SECOND, BURST)
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        """A packet of the application; of a flood most are dropped."""
        now = self._loop.time()
        if not self._allowance.spend(0, now):
            self._allowance.spend(1, now)
            self._session.received(data, now)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there now."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The socket is closed."""
        self._transport = None
        self.gone.set()

    def send(self, messages: list[bytes]) -> None:
        """See `Link`."""
        if self._transport is not None:
            for message in messages:
                self._transport.sendto(message)

    def send_text(self, texts: list[bytes]) -> None:
        """RTP has no words."""

    def cut_when_unread(self) -> None:
        """See `Link`. UDP waits for nobody."""

    def close(self, end: StreamEnd) -> None:  # noqa: ARG002
        """See `Link`."""
        if self._transport is not None:
            self._transport.close()
        self.gone.set()


async def open_rtp(session: Session, address: str, port: int) -> RtpLink:
    """A socket towards the application.

    Raises:
        OSError: there is no way to this address.
    """
    loop = asyncio.get_running_loop()
    _, link = await loop.create_datagram_endpoint(
        lambda: RtpLink(session), remote_addr=(address, port)
    )
    return link
