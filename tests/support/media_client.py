"""An application of a media stream, for tests: it keeps all that it gets, and says what it is told to.

It uses a WebSocket library that shares nothing with the platform's side.
"""

import asyncio
import json
import socket as sockets
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.phone_audio import (
    RATE,
    Samples,
    Tone,
    decode_ulaw,
    encode_ulaw,
    tones,
)

FRAME_SECONDS = 0.02
_RTP = struct.Struct("!BBHII")
_AUDIOSOCKET = struct.Struct("!BH")
_AUDIO_KINDS = {8000: 0x10, 16_000: 0x12}


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """The upgrade was refused."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class Application:
    """One connection. `messages` are the binary messages, each with the time of its arrival."""

    socket: ClientConnection
    encapsulation: str = "rtp"
    rate: int = RATE
    messages: list[tuple[float, bytes]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None
    close_reason: str = ""
    _sequence: int = 0
    _reader: "asyncio.Task[None] | None" = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def open(
        cls,
        url: str,
        call_id: str,
        token: str,
        *,
        reads: bool = True,
        collection: str = "calls",
        connection: sockets.socket | None = None,
        **query: str,
    ) -> "Application":
        """Connects; over `connection` where one is given.

        Raises:
            Refusal: with the body of the answer.
        """
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        base = url.replace("http://", "ws://")
        target = f"{base}/v1.0/{collection}/{call_id}/media_stream?token={token}&{parameters}"
        try:
            opened = await connect(
                target,
                compression=None,
                max_queue=None,
                proxy=None,
                ping_interval=None,
                sock=connection,
            )
        except InvalidStatus as refused:
            answer = refused.response
            body = json.loads(answer.body or b"{}")
            raise Refusal(answer.status_code, body, dict(answer.headers)) from None
        made = cls(opened, query.get("encapsulation", "rtp"), int(query.get("rate", RATE)))
        if reads:
            made.read()
        return made

    def read(self) -> None:
        """Begins to read."""
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                if isinstance(message, bytes):
                    self.messages.append((time.monotonic(), message))
                else:
                    self.told.append(json.loads(message))
                self._changed.set()
        except ConnectionClosed:
            pass
        self.close_code = self.socket.close_code
        self.close_reason = self.socket.close_reason or ""
        self._changed.set()

    # -- what it hears -------------------------------------------------------------------------

    async def until(self, condition: Any, within: float = 5.0) -> None:
        """Waits until something is true of what it got."""
        async with asyncio.timeout(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def tell(self, kind: str, within: float = 5.0, number: int = 1) -> dict[str, Any]:
        """The n-th control frame of a type."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.told if each["type"] == kind]

        await self.until(lambda: len(found()) >= number, within)
        return found()[number - 1]

    async def closed(self, within: float = 5.0) -> tuple[int | None, str]:
        """Code and reason with which the platform closed."""
        await self.until(lambda: self.close_code is not None, within)
        return self.close_code, self.close_reason

    def payloads(self) -> list[bytes]:
        """The audio of all messages, each checked as the encapsulation wants it."""
        messages = [message for _, message in self.messages]
        if self.encapsulation == "rtp":
            return [_rtp_payload(message) for message in messages]
        if self.encapsulation == "audiosocket":
            return [_audiosocket_payload(message, self.rate) for message in messages]
        return messages

    def audio(self) -> Samples:
        """What it has heard, at the stream's rate."""
        data = b"".join(self.payloads())
        if self.encapsulation == "rtp":
            return decode_ulaw(data)
        return np.frombuffer(data, dtype="<i2").astype(np.int16)

    def tones(self) -> list[Tone]:
        """The pure tones in it. Measured at the telephone's rate."""
        samples = self.audio()
        return tones(samples if self.rate == RATE else samples[:: self.rate // RATE])

    # -- what it says --------------------------------------------------------------------------

    async def tell_platform(self, **frame: Any) -> None:
        """Sends a control frame."""
        await self.socket.send(json.dumps(frame))

    async def say(self, samples: Samples, *, pace: float = 1.0) -> None:
        """Sends audio of 20 ms per message; `pace` 0 is all at once."""
        begun = time.monotonic()
        for number, message in enumerate(self.wrap(samples)):
            ahead = begun + number * FRAME_SECONDS * pace - time.monotonic()
            if pace and ahead > 0:
                await asyncio.sleep(ahead)
            await self.socket.send(message)

    def wrap(self, samples: Samples) -> list[bytes]:
        """Audio as the encapsulation's messages."""
        step = int(self.rate * FRAME_SECONDS)
        pieces = [samples[begin : begin + step] for begin in range(0, len(samples), step)]
        if self.encapsulation == "rtp":
            return [self.packet(encode_ulaw(piece)) for piece in pieces]
        linear = [np.asarray(piece, dtype="<i2").tobytes() for piece in pieces]
        if self.encapsulation == "sln":
            return linear
        kind = _AUDIO_KINDS[self.rate]
        return [_AUDIOSOCKET.pack(kind, len(piece)) + piece for piece in linear]

    def packet(
        self, payload: bytes, *, payload_type: int = 0, sequence: int | None = None
    ) -> bytes:
        """An RTP packet; numbered one after the other unless told."""
        number = self._sequence if sequence is None else sequence
        if sequence is None:
            self._sequence += 1
        return (
            _RTP.pack(0x80, payload_type, number & 0xFFFF, number * 160 & 0xFFFFFFFF, 0x1234)
            + payload
        )

    async def close(self, code: int = 1000) -> None:
        """Leaves."""
        await self.socket.close(code)
        if self._reader is not None:
            await self._reader

    def cut(self) -> None:
        """The network fails: the connection is gone without a word."""
        self.socket.transport.abort()


def _rtp_payload(message: bytes) -> bytes:
    first, second, _, _, _ = _RTP.unpack_from(message)
    assert (first, second & 0x7F) == (0x80, 0), message[:12].hex()
    assert len(message) == 172
    return message[12:]


def _audiosocket_payload(message: bytes, rate: int) -> bytes:
    kind, length = _AUDIOSOCKET.unpack_from(message)
    assert kind == _AUDIO_KINDS[rate]
    assert len(message) == 3 + length
    assert length == rate // 50 * 2
    return message[3:]


def rtp_numbers(messages: list[tuple[float, bytes]]) -> list[tuple[int, int, int]]:
    """Sequence number, timestamp and SSRC of each message."""
    return [_RTP.unpack_from(message)[2:] for _, message in messages]
