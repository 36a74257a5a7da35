"""SIP messages for the tests of the edge: written out, and taken apart again.

A test needs to say things that no SIP library would say, so this knows as little of SIP as it
can: a request is text, and a header is a line of it.
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

CRLF = "\r\n"
MAGIC = "z9hG4bK"

_CODEC_NAMES = {
    "0": "PCMU/8000",
    "8": "PCMA/8000",
    "9": "G722/8000",
    "101": "telephone-event/8000",
}


def new_branch() -> str:
    return MAGIC + uuid.uuid4().hex


def sdp(address: str, port: int, codecs: Sequence[str] = ("0", "8", "101")) -> str:
    """An offer or answer with one audio stream."""
    lines = [
        "v=0",
        f"o=- 1 1 IN IP4 {address}",
        "s=-",
        f"c=IN IP4 {address}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(codecs)}",
        *(f"a=rtpmap:{codec} {_CODEC_NAMES[codec]}" for codec in codecs),
        "a=sendrecv",
        "",
    ]
    return CRLF.join(lines)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was received."""

    text: str

    @property
    def start_line(self) -> str:
        return self.text.split(CRLF, 1)[0]

    @property
    def status(self) -> int:
        """Of a response; 0 of a request."""
        first, second = self.start_line.split(" ")[:2]
        return int(second) if first == "SIP/2.0" else 0

    @property
    def method(self) -> str:
        """Of a request, or of the request that a response answers."""
        return self.header("CSeq").split()[1]

    @property
    def request_uri(self) -> str:
        return self.start_line.split(" ")[1]

    @property
    def body(self) -> str:
        return self.text.partition(CRLF * 2)[2]

    def headers(self, name: str) -> list[str]:
        """Every value of a header, those in one line separated."""
        head = self.text.partition(CRLF * 2)[0]
        lines = head.split(CRLF)[1:]
        found = [
            line.partition(":")[2].strip()
            for line in lines
            if line.lower().startswith(f"{name.lower()}:")
        ]
        if name.lower() in ("via", "route", "record-route"):
            return [part.strip() for line in found for part in line.split(",")]
        return found

    def header(self, name: str) -> str:
        return self.headers(name)[0]

    @property
    def branch(self) -> str:
        """Of the top Via."""
        return parameter(self.header("Via"), "branch")

    @property
    def media(self) -> tuple[str, int, list[str]]:
        """Address, port and payload types of the audio in the body."""
        address = re.search(r"^c=IN IP4 (\S+)", self.body, re.MULTILINE)
        audio = re.search(r"^m=audio (\d+) \S+ ([\d ]+)", self.body, re.MULTILINE)
        assert address, self.text
        assert audio, self.text
        return address[1], int(audio[1]), audio[2].split()

    @property
    def contact_uri(self) -> str:
        return uri_of(self.header("Contact"))


def uri_of(value: str) -> str:
    """What stands in angle brackets."""
    return value.partition("<")[2].partition(">")[0]


def parameter(value: str, name: str) -> str:
    """A `;name=value` of a header, or "" where there is none."""
    for part in value.split(";")[1:]:
        key, _, text = part.partition("=")
        if key.strip() == name:
            return text.strip()
    return ""


@dataclass(frozen=True, slots=True)
class Call:
    """What the requests of one dialog have in common, as the side that sends them sees it."""

    local: str
    remote: str
    call_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    routes: tuple[str, ...] = ()
    target: str = ""


def request(
    method: str,
    uri: str,
    call: Call,
    via: str,
    contact: str,
    *,
    cseq: int = 1,
    extra: Sequence[str] = (),
    body: str = "",
) -> str:
    """A well-formed request; `via` and `contact` are whole values."""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via}",
        *(f"Route: {route}" for route in call.routes),
        "Max-Forwards: 70",
        f"From: {call.local}",
        f"To: {call.remote}",
        f"Call-ID: {call.call_id}",
        f"CSeq: {cseq} {method}",
        f"Contact: {contact}",
        *extra,
    ]
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body.encode())}")
    return CRLF.join(lines) + CRLF * 2 + body


def response(
    status: int, reason: str, to: Message, contact: str = "", body: str = "", tag: str = "callee"
) -> str:
    """An answer to the request `to`, made the way RFC 3261 §8.2.6 says."""
    target = to.header("To")
    if status > 100 and not parameter(target, "tag"):
        target += f";tag={tag}"
    lines = [
        f"SIP/2.0 {status} {reason}",
        *(f"Via: {via}" for via in to.headers("Via")),
        *(f"Record-Route: {route}" for route in to.headers("Record-Route")),
        f"From: {to.header('From')}",
        f"To: {target}",
        f"Call-ID: {to.header('Call-ID')}",
        f"CSeq: {to.header('CSeq')}",
    ]
    if contact:
        lines.append(f"Contact: {contact}")
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body.encode())}")
    return CRLF.join(lines) + CRLF * 2 + body
