"""A SIP phone of the tests: many calls on one UDP socket, as a Kamailio would bring them.

Just enough of RFC 3261 for loopback, where nothing is lost: no retransmissions. Digits go by SIP INFO
(`application/dtmf-relay`), so that each of them is one message that is sent at a known moment.
"""

import asyncio
import re
import uuid
from dataclasses import dataclass, field
from typing import Self, cast

_CRLF = "\r\n"


@dataclass
class PhoneCall:
    """One call, from either side."""

    phone: "Phone"
    call_id: str
    local: str
    remote: str
    target: str
    cseq: int = 1
    answers: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    invite: str = ""

    async def answered(self, seconds: float = 10.0) -> None:
        """Waits for the 200 to our INVITE and acknowledges it."""
        final = await self.final(seconds)
        assert final.startswith("SIP/2.0 200"), final
        self.remote = header(final, "To")
        self.target = header(final, "Contact").strip("<>")
        self.phone.send(self._request("ACK", self.cseq))

    async def final(self, seconds: float = 10.0) -> str:
        """The next final answer to a request of ours."""
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.answers.get()
                if int(answer.split(" ")[1]) >= 200:
                    return answer

    async def digit(self, digit: str) -> None:
        """Types a digit; returns when Asterisk has taken it."""
        body = f"Signal={digit}{_CRLF}Duration=60{_CRLF}"
        self.cseq += 1
        extra = ("Content-Type: application/dtmf-relay",)
        self.phone.send(self._request("INFO", self.cseq, extra, body))
        answer = await self.final()
        assert answer.startswith("SIP/2.0 200"), answer

    async def hang_up(self) -> None:
        """Says goodbye."""
        self.cseq += 1
        self.phone.send(self._request("BYE", self.cseq))
        answer = await self.final()
        assert answer.startswith("SIP/2.0 200"), answer

    def respond(self, status: str, *, audio: bool = False) -> None:
        """Answers the INVITE that came in."""
        self.phone.respond(self.invite, status, self.local, audio=audio)

    def _request(self, method: str, cseq: int, extra: tuple[str, ...] = (), body: str = "") -> str:
        return self.phone.request(method, self, cseq, extra, body)


class Phone(asyncio.DatagramProtocol):
    """The socket. `peer` is Asterisk."""

    def __init__(self, peer: tuple[str, int]) -> None:
        self._peer = peer
        self._transport: asyncio.DatagramTransport | None = None
        self._calls: dict[str, PhoneCall] = {}
        self.incoming: asyncio.Queue[PhoneCall] = asyncio.Queue()

    @classmethod
    async def open(cls, address: tuple[str, int], peer: tuple[str, int]) -> Self:
        """A phone at `address`."""
        loop = asyncio.get_running_loop()
        _, phone = await loop.create_datagram_endpoint(lambda: cls(peer), local_addr=address)
        return phone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def address(self) -> str:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def send(self, text: str) -> None:
        assert self._transport is not None
        self._transport.sendto(text.encode(), self._peer)

    def call(self, number: str) -> PhoneCall:
        """Starts a call to `number`."""
        uri = f"sip:{number}@{self._peer[0]}:{self._peer[1]}"
        local = f"<sip:100@{self.address}>;tag={uuid.uuid4().hex[:8]}"
        call = PhoneCall(self, uuid.uuid4().hex, local, f"<{uri}>", uri)
        self._calls[call.call_id] = call
        self.send(self.request("INVITE", call, 1, ("Content-Type: application/sdp",), self._sdp()))
        return call

    def request(
        self, method: str, call: PhoneCall, cseq: int, extra: tuple[str, ...], body: str
    ) -> str:
        lines = [
            f"{method} {call.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{uuid.uuid4().hex}",
            f"From: {call.local}",
            f"To: {call.remote}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:100@{self.address}>",
            "Max-Forwards: 70",
            *extra,
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        return _CRLF.join(lines)

    def respond(self, request: str, status: str, to: str, *, audio: bool = False) -> None:
        body = self._sdp() if audio else ""
        copied = [
            line for line in request.split(_CRLF) if re.match("(Via|From|Call-ID|CSeq):", line)
        ]
        lines = [
            f"SIP/2.0 {status}",
            *copied,
            f"To: {to}",
            f"Contact: <sip:100@{self.address}>",
            *(["Content-Type: application/sdp"] if audio else []),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        self.send(_CRLF.join(lines))

    def datagram_received(self, data: bytes, _: tuple[str, int]) -> None:
        text = data.decode()
        call = self._calls.get(header(text, "Call-ID"))
        method = header(text, "CSeq").split()[1]
        if text.startswith("SIP/2.0"):
            if call is not None:
                call.answers.put_nowait(text)
        elif method == "INVITE" and call is None:
            self._invited(text)
        elif method in ("BYE", "CANCEL"):
            self.respond(text, "200 OK", header(text, "To"))
            if call is not None:
                call.ended.set()

    def _invited(self, invite: str) -> None:
        call = PhoneCall(
            self,
            header(invite, "Call-ID"),
            f"{header(invite, 'To')};tag={uuid.uuid4().hex[:8]}",
            header(invite, "From"),
            header(invite, "Contact").strip("<>"),
            invite=invite,
        )
        self._calls[call.call_id] = call
        self.incoming.put_nowait(call)

    def _sdp(self) -> str:
        host = self.address.partition(":")[0]
        lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
        lines += ["m=audio 40000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", ""]
        return _CRLF.join(lines)


def header(message: str, name: str) -> str:
    """The first header of that name."""
    found = re.search(rf"^{name}: *(.*?)\r?$", message, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""
