"""What the examples share: a media stream of a call, as an asynchronous context.

    async with open_stream(arguments()) as stream:
        async for audio in stream: …

Audio is linear here: 16 bits, 8000 samples per second (`encapsulation=sln`). Nothing but the library `websockets`
is needed.
"""

import argparse
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

RATE = 8000
FRAME_BYTES = 320


class Stream:
    """The audio of a call: iterate over what is heard, `say` what is to be said."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.told: list[dict[str, Any]] = []
        """Control frames that came between the audio, oldest first; take them out as you like."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for message in self._socket:
            if isinstance(message, bytes):
                yield message
            else:
                self.told.append(json.loads(message))
                yield b""

    async def say(self, audio: bytes) -> None:
        """Linear audio of any length; it is played in real time."""
        await self._socket.send(audio)

    async def tell(self, kind: str, **fields: Any) -> None:
        """A control frame."""
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def close(self) -> None:
        """No more; the call goes on."""
        await self._socket.close()


def arguments(description: str, **options: str) -> argparse.Namespace:
    """The command line: whose call, and what else an example wants to know."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", default="http://127.20.0.40:8080", help="where the API is")
    parser.add_argument("--call", required=True, help="the id of a call that is up")
    parser.add_argument("--token", required=True, help="a token or an access key")
    for name, default in options.items():
        parser.add_argument(f"--{name}", default=default)
    return parser.parse_args()


@asynccontextmanager
async def open_stream(given: argparse.Namespace, direction: str = "both") -> AsyncIterator[Stream]:
    """The stream of the call that was named; closed in the end."""
    base = given.url.replace("http", "ws", 1)
    query = f"encapsulation=sln&direction={direction}&token={given.token}"
    url = f"{base}/v1.0/calls/{given.call}/media_stream?{query}"
    async with connect(url, compression=None, proxy=None) as socket:
        yield Stream(socket)
