"""A customer whose prompts are hostile: what its web server gives, and what it has spoken. The call of another one
beside it has its own prompts in time.
"""

import asyncio
import contextlib
import gzip
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from call_manager.audio.telephone import LONGEST_SECONDS
from deploy.lab.lab import Lab
from deploy.lab.network import HTTP_PORT
from tests.support.metrics import check_unharmed, vital_signs
from tests.support.phone_sipp import Caller
from tests.support.rest import Api, Customer, Json, action, new_customer
from tests.support.web import ToneServer
from tests.unit.call_manager.test_audio_conversion import wav

ATTACKER_WEB = 241
CALLS = 3
URLS = 20
TONE = 1300
WITHIN = 20.0
"""Seconds from the answer until the last prompt of somebody else is heard, on a machine that may be busy."""

MOST_GROWN = 300e6
TEN_MEGABYTES = 9_900_000


class Handler(BaseHTTPRequestHandler):
    """Gives what the path names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind = self.path.strip("/").split("/")[0]
        with contextlib.suppress(OSError):
            getattr(self, f"_{kind}")()
        self.close_connection = True

    def _head(self, *headers: tuple[str, str]) -> None:
        self.send_response(200)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _bomb(self) -> None:
        body = BOMB
        self._head(("Content-Encoding", "gzip, gzip"), ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def _crumbs(self) -> None:
        """Chunks of one byte, as fast as they are taken."""
        self._head(("Transfer-Encoding", "chunked"))
        for _ in range(500):
            self.wfile.write(b"1\r\na\r\n" * 5000)

    def _drip(self) -> None:
        self._head(("Content-Length", "1000"))
        for _ in range(200):
            self.wfile.write(b"a")
            time.sleep(0.1)

    def _long(self) -> None:
        """Ten megabytes that last as long as it is allowed: each is different."""
        rate = TEN_MEGABYTES // LONGEST_SECONDS + 100
        body = wav(os.urandom(1000) * (TEN_MEGABYTES // 1000), rate=rate, bits=8)
        self._head(("Content-Length", str(len(body))), ("ETag", "e" * 60_000))
        self.wfile.write(body)

    def _wide(self) -> None:
        body = wide()
        self._head(("Content-Length", str(len(body))))
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@cache
def wide() -> bytes:
    """Of the rate that took longest to convert."""
    return wav(bytes(TEN_MEGABYTES), rate=192_000)


BOMB = gzip.compress(gzip.compress(bytes(100_000_000)))


@pytest.fixture(scope="module")
def hostile_web(platform: Lab) -> Iterator[str]:
    """The attacker's web server; gives its URL."""
    address = platform.farm.network.address(9, ATTACKER_WEB)
    server = ThreadingHTTPServer((address, HTTP_PORT), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://{address}:{HTTP_PORT}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def attacker(platform: Lab, admin: Api) -> AsyncIterator[Customer]:
    """Another customer."""
    made = await new_customer(platform, admin, "attacker")
    yield made
    await made.leave()


def files(web: str, kind: str) -> Json:
    """Many of them at once."""
    return action("play", stream_urls=[f"{web}/{kind}/{number}" for number in range(URLS)])


def texts() -> list[Json]:
    """Many long ones, and markup that would last for days, or open what is ours."""
    breaks = '<break time="99999s"/>' * 100
    sounds = '<audio src="/etc/passwd"/>' * 81
    return [
        *(action("talk", text=f"{number} " + "very long " * 400) for number in range(10)),
        *(action("talk", text=f"<speak>{number}{breaks}{sounds}</speak>") for number in range(10)),
    ]


@pytest.mark.parametrize("kind", ["bomb", "crumbs", "drip", "long", "wide", "speech"])
async def test_hostile_prompts_are_not_noticed_by_others(
    platform: Lab,
    customer: Customer,
    attacker: Customer,
    caller: Caller,
    web: ToneServer,
    hostile_web: str,
    kind: str,
) -> None:
    prompts = texts() if kind == "speech" else [files(hostile_web, kind)]
    hostile = await attacker.number(action("answer"), *prompts, action("hangup"))
    number = await customer.number(
        action("answer"),
        action("talk", text=f"Hello {time.time_ns() % 1000}"),
        action("play", stream_urls=[web.tone(TONE, 600 + time.time_ns() % 400)]),
        action("sleep", duration=60_000),
    )
    before = await vital_signs(platform, "call_manager")
    attacks = [await caller.answered_call(hostile) for _ in range(CALLS)]
    await asyncio.sleep(0.5)  # the attack is in its middle

    call = await caller.answered_call(number)
    await call.media.hears(TONE, within=WITHIN)

    check_unharmed(before, await vital_signs(platform, "call_manager"), MOST_GROWN)
    for each in [*attacks, call]:
        if not each.has_ended:
            await each.bye()
    await attacker.all_ended()
