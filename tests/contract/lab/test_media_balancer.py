"""The real nginx with the lab's configuration, at addresses of the test's own; the test kills its backends.

What runs in the lab is left alone.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.lab.lab import Lab
from deploy.lab.launch import launch, make_folders
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Farm, plan_farm
from deploy.lab.render import render_servers
from deploy.lab.settings import Settings

CALL = "0199a8f2-6c4e-7b11-9d57-0f3a5c2e8b10"
STREAM = f"/v1.0/calls/{CALL}/media_stream"
KEY = "ec_a-key-that-no-log-may-hold"
CLIENT = "127.96.9.7"


@dataclass
class Backend:
    """Says its name, then echoes. A head of its own is all that it knows of HTTP."""

    name: str
    address: str
    heads: list[str] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.address, 8080)

    def kill(self) -> None:
        """As a killed process does: everything is reset."""
        if self._server is not None:
            self._server.close()
        for writer in list(self.writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            upgraded = "\r\nupgrade: websocket\r\n" in head.lower()
            line = "101 Switching Protocols" if upgraded else "200 OK"
            more = "Upgrade: websocket\r\nConnection: Upgrade\r\n" if upgraded else ""
            length = "" if upgraded else "Content-Length: 0\r\n"
            answer = f"HTTP/1.1 {line}\r\nX-Backend: {self.name}\r\n{more}{length}\r\n"
            writer.write(answer.encode())
            while data := await reader.read(65536):
                writer.write(data)
        self.writers.discard(writer)
        writer.close()


@dataclass
class Answer:
    """The head and what follows it."""

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass
class Balancer:
    """nginx, and who is behind it."""

    farm: Farm
    log: Path
    media: dict[str, Backend]
    api: Backend

    async def ask(self, path: str, *, upgrade: bool = True) -> Answer:
        reader, writer = await asyncio.open_connection(
            self.farm.network.api, 8080, local_addr=(CLIENT, 0)
        )
        more = "Connection: Upgrade\r\nUpgrade: websocket\r\n" if upgrade else ""
        writer.write(f"GET {path} HTTP/1.1\r\nHost: api.test\r\n{more}\r\n".encode())
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
        }
        return Answer(int(head[0].split()[1]), headers, reader, writer)

    async def who_answers(self, path: str) -> str:
        answer = await self.ask(path)
        answer.writer.close()
        return answer.headers.get("x-backend", f"nobody ({answer.status})")


@pytest.fixture
async def balancer(lab: Lab, tmp_path: Path) -> AsyncIterator[Balancer]:
    paths = LabPaths(base=tmp_path / "lab", project=lab.paths.project)
    paths.base.mkdir()
    paths.root.symlink_to(lab.paths.root)
    farm = plan_farm(Settings(network="127.96"), lab.credentials, paths)
    render_servers(farm, lab.credentials, paths)
    nginx = farm.named("nginx")
    make_folders(nginx, paths)
    backends = {
        each.name: Backend(each.name, each.address) for each in farm.of_module("media_manager")
    }
    api = Backend("api_manager-1", farm.named("api_manager-1").address)
    for backend in (*backends.values(), api):
        await backend.start()
    started = launch(nginx, farm, paths)
    log = tmp_path / "nginx.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *started.argv,
            env=dict(started.environment),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    made = Balancer(farm, log, backends, api)
    try:
        await _listens(made)
        yield made
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        for backend in (*backends.values(), api):
            backend.kill()


async def _listens(balancer: Balancer) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                assert await balancer.who_answers("/") == "api_manager-1"
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_media_streams_go_to_the_media_managers_and_all_else_to_the_api(
    balancer: Balancer,
) -> None:
    conference = STREAM.replace("calls", "conferences")
    for path in (STREAM, conference, f"{STREAM}?encapsulation=sln&token=a.b.c"):
        assert (await balancer.who_answers(path)).startswith("media_manager-")
    for path in ("/v1.0/calls", f"/v1.0/calls/{CALL}", f"{STREAM}/more", "/docs"):
        assert await balancer.who_answers(path) == "api_manager-1"
    heads = [head for backend in balancer.media.values() for head in backend.heads]
    assert any("?encapsulation=sln&token=a.b.c HTTP/1.1" in head for head in heads)
    for head in heads:
        assert f"X-Forwarded-For: {CLIENT}\r\n" in head
        assert "Connection: upgrade\r\n" in head


async def test_what_is_no_upgrade_reaches_them_too(balancer: Balancer) -> None:
    answer = await balancer.ask(STREAM, upgrade=False)
    assert (answer.status, answer.headers["x-backend"][:13]) == (200, "media_manager")
    answer.writer.close()


async def test_audio_passes_at_once_and_whole(balancer: Balancer) -> None:
    answer = await balancer.ask(STREAM)
    assert answer.status == 101
    clock = asyncio.get_running_loop().time
    slowest = 0.0
    for number in range(50):
        message = number.to_bytes(1, "big") * 172
        began = clock()
        answer.writer.write(message)
        async with asyncio.timeout(5):
            assert await answer.reader.readexactly(172) == message
        slowest = max(slowest, clock() - began)
    # A buffer that waits, or Nagle's algorithm, would hold messages for 40 ms and more each time.
    assert slowest < 0.5
    large = os.urandom(1_000_000)
    answer.writer.write(large)
    async with asyncio.timeout(10):
        assert await answer.reader.readexactly(len(large)) == large
    answer.writer.close()


async def test_streams_are_spread_by_their_number(balancer: Balancer) -> None:
    answers = [await balancer.ask(STREAM) for _ in range(10)]
    names = [answer.headers["x-backend"] for answer in answers]
    assert sorted(names) == ["media_manager-1"] * 5 + ["media_manager-2"] * 5
    # One that was restarted has none: it gets the new ones.
    balancer.media["media_manager-1"].kill()
    for answer, name in zip(answers, names, strict=True):
        if name == "media_manager-1":
            assert await answer.reader.read() == b""
    await balancer.media["media_manager-1"].start()
    new = [await balancer.ask(STREAM) for _ in range(5)]
    assert {answer.headers["x-backend"] for answer in new} == {"media_manager-1"}
    for answer in (*answers, *new):
        answer.writer.close()


@pytest.mark.parametrize("killed", ["media_manager-1", "media_manager-2"])
async def test_one_that_is_killed_takes_nobody_with_it(balancer: Balancer, killed: str) -> None:
    (other,) = set(balancer.media) - {killed}
    streams = [await balancer.ask(STREAM) for _ in range(4)]
    balancer.media[killed].kill()
    for stream in streams:
        if stream.headers["x-backend"] == killed:
            async with asyncio.timeout(5):
                assert await stream.reader.read() == b""
        else:
            stream.writer.write(b"still here")
            async with asyncio.timeout(5):
                assert await stream.reader.readexactly(10) == b"still here"
    assert {await balancer.who_answers(STREAM) for _ in range(20)} == {other}

    # The first is back just when the other goes.
    await balancer.media[killed].start()
    balancer.media[other].kill()
    assert {await balancer.who_answers(STREAM) for _ in range(20)} == {killed}
    for stream in streams:
        stream.writer.close()


async def test_with_none_left_the_answer_is_readable_and_no_key_is_logged(
    balancer: Balancer,
) -> None:
    for backend in balancer.media.values():
        backend.kill()
    answer = await balancer.ask(f"{STREAM}?accesskey={KEY}")
    body = await answer.reader.readexactly(int(answer.headers["content-length"]))
    answer.writer.close()
    error = json.loads(body)["error"]
    assert (answer.status, error["status"], error["reason"]) == (503, "UNAVAILABLE", "SERVICE_AWAY")
    assert await balancer.who_answers("/v1.0/calls") == "api_manager-1"
    assert KEY not in balancer.log.read_text()
