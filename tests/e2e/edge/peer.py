"""Sockets that speak SIP for a test: client, carrier, Asterisk or load balancer, as the test likes."""

import contextlib
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from tests.e2e.edge.messages import CRLF, Call, Message, new_branch, request, sdp

Address = tuple[str, int]

_LONGEST_DATAGRAM = 65_535
_MEDIA_PORT = 40_000
_RETRANSMIT_SECONDS = 0.5


class Silence(AssertionError):
    """Nothing came where something was expected."""


class Peer:
    """Writes requests in its own name; where they go is the business of the kind of socket."""

    transport = "UDP"

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.address: Address = link.getsockname()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.link.close()

    @property
    def contact(self) -> str:
        suffix = ";transport=tcp" if self.transport == "TCP" else ""
        return f"<sip:peer@{self.address[0]}:{self.address[1]}{suffix}>"

    def via(self, branch: str = "") -> str:
        host, port = self.address
        return f"SIP/2.0/{self.transport} {host}:{port};rport;branch={branch or new_branch()}"

    def new_call(self, remote_uri: str, call_id: str = "") -> Call:
        call = Call(local=f"<sip:peer@{self.address[0]}>;tag=local", remote=f"<{remote_uri}>")
        return replace(call, call_id=call_id) if call_id else call

    def offer(self, codecs: Sequence[str] = ("0", "8", "101")) -> str:
        return sdp(self.address[0], _MEDIA_PORT, codecs)

    def request(
        self,
        method: str,
        uri: str,
        call: Call | None = None,
        *,
        branch: str = "",
        cseq: int = 1,
        extra: Sequence[str] = (),
        body: str = "",
    ) -> str:
        return request(
            method,
            uri,
            call or self.new_call(uri),
            self.via(branch),
            self.contact,
            cseq=cseq,
            extra=extra,
            body=body,
        )


class UdpPeer(Peer):
    """A UDP socket."""

    def __init__(self, host: str, port: int = 0) -> None:
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.bind((host, port))
        super().__init__(link)

    def send(self, text: str | bytes, to: Address) -> None:
        self.link.sendto(text.encode() if isinstance(text, str) else text, to)

    def receive(self, seconds: float = 3.0) -> tuple[Message, Address]:
        """The next message, and who sent it.

        Raises:
            Silence: none came in time.
        """
        self.link.settimeout(seconds)
        try:
            data, sender = self.link.recvfrom(_LONGEST_DATAGRAM)
        except TimeoutError:
            raise Silence(f"nothing came to {self.address} in {seconds} s") from None
        return Message(data.decode(errors="replace")), sender

    def heard(self, seconds: float) -> list[Message]:
        """All that comes in so many seconds."""
        found: list[Message] = []
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                found.append(self.receive(left)[0])
            except Silence:
                break
        return found

    def ask(self, text: str, to: Address, seconds: float = 3.0) -> Message:
        """Send a request, again and again until it is answered (RFC 3261 §17.1.1.2, T1).

        Returns its first final answer.
        """
        heard = False
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not heard:
                self.send(text, to)
            try:
                message, _ = self.receive(left if heard else min(left, _RETRANSMIT_SECONDS))
            except Silence:
                continue
            heard = True
            if message.status >= 200:
                return message
        raise Silence(f"no final answer came to {self.address} in {seconds} s")


class TcpPeer(Peer):
    """A TCP connection."""

    transport = "TCP"

    def __init__(self, host: str, to: Address) -> None:
        link = socket.socket()
        link.bind((host, 0))
        link.settimeout(3.0)
        link.connect(to)
        super().__init__(link)
        self._buffer = b""

    def send(self, text: str | bytes) -> None:
        # The other side may have heard enough of what came before.
        with contextlib.suppress(ConnectionError):
            self.link.sendall(text.encode() if isinstance(text, str) else text)

    def receive(self, seconds: float = 3.0) -> Message:
        """The next message.

        Raises:
            Silence: none came in time, or the other side closed the connection.
        """
        self.link.settimeout(seconds)
        end = (CRLF * 2).encode()
        while end not in self._buffer:
            self._more()
            # RFC 3261 §7.5: empty lines before a message, here answers to keepalives, mean nothing.
            self._buffer = self._buffer.lstrip(CRLF.encode())
        head, _, rest = self._buffer.partition(end)
        length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
        assert length, head
        while len(rest) < int(length[1]):
            self._more()
            rest = self._buffer.partition(end)[2]
        body, self._buffer = rest[: int(length[1])], rest[int(length[1]) :]
        return Message((head + end + body).decode(errors="replace"))

    def ask(self, text: str, seconds: float = 3.0) -> Message:
        """Send a request; return its first final answer."""
        self.send(text)
        while True:
            message = self.receive(seconds)
            if message.status >= 200:
                return message

    def _more(self) -> None:
        try:
            data = self.link.recv(_LONGEST_DATAGRAM)
        except (TimeoutError, ConnectionError) as fault:
            raise Silence(f"nothing came to {self.address} by TCP: {fault}") from None
        if not data:
            raise Silence(f"{self.address}: the connection was closed")
        self._buffer += data
