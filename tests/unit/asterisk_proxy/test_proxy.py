"""The proxy between a connection and a publisher: what it lets in, passes on and refuses."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from asterisk_proxy import proxy as proxy_module
from asterisk_proxy.domain.batch import Heard
from asterisk_proxy.proxy import Proxy
from asterisk_proxy.stream import Stream
from evercall.ari import commands
from evercall.ari.events import ChannelInList
from evercall.contracts.asterisk import AsteriskCommands, OwnedEvent, RefusedCommand

DATA = Path(__file__).parents[2] / "data" / "ari"
INCOMING = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e2e8f7")


@dataclass
class FakePublisher:
    """Keeps what it is given."""

    added: list[Heard] = field(default_factory=list)
    refused: list[tuple[str, RefusedCommand]] = field(default_factory=list)
    heard: int = 0
    boots: int = 0

    def add(self, heard: Heard) -> None:
        self.added.append(heard)

    def heard_until(self, offset: int) -> None:
        self.heard = offset

    def refuse(self, boot_id: str, refused: list[RefusedCommand]) -> None:
        self.refused += [(boot_id, refusal) for refusal in refused]

    def boot_known(self) -> None:
        self.boots += 1


@dataclass
class Stage:
    stream: Stream
    publisher: FakePublisher
    proxy: Proxy
    asterisk: socket.socket | None = None

    def hear(self, *names: str) -> None:
        for name in names:
            self.proxy.heard((DATA / f"{name}.json").read_bytes().strip(), 10)

    @property
    def refused(self) -> list[tuple[str, RefusedCommand]]:
        return self.publisher.refused

    def connect(self) -> None:
        """Asterisk is there, in its life `boot`."""
        self.stream.boot_id = "boot"
        self.asterisk, ours = socket.socketpair()
        self.asterisk.setblocking(False)
        self.proxy.resume(ours)

    async def is_given_anything(self, seconds: float) -> bool:
        """After what was under way."""
        try:
            for _ in range(3):
                async with asyncio.timeout(seconds):
                    await self.given()
        except TimeoutError:
            return False
        return True

    async def given(self) -> str:
        """What Asterisk is told next, and all that has arrived with it."""
        assert self.asterisk is not None
        loop = asyncio.get_running_loop()
        return (await loop.sock_recv(self.asterisk, 65_536)).decode(errors="replace")


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(proxy_module, "CONNECT_PATIENCE", 0.01)
    stream = Stream.create()
    publisher = FakePublisher()
    proxy = Proxy(stream, publisher, "evercall", lambda _: None)  # type: ignore[arg-type]
    stage = Stage(stream, publisher, proxy)
    yield stage
    proxy.asterisk.abort()
    if stage.asterisk is not None:
        stage.asterisk.close()
    os.close(stream.descriptor)


async def test_wanted_events_are_passed_on_as_they_came(stage: Stage) -> None:
    stage.hear("stasis_start_incoming", "channel_dtmf_received")
    found = [heard.content for heard in stage.publisher.added]
    assert all(isinstance(one, OwnedEvent) and one.actor == INCOMING for one in found)
    assert isinstance(found[1], OwnedEvent)
    assert bytes(found[1].event) == (DATA / "channel_dtmf_received.json").read_bytes().strip()
    assert len(stage.proxy.census) == 1


async def test_other_events_strangers_and_garbage_are_not(stage: Stage) -> None:
    stage.hear("channel_dialplan", "channel_created", "application_registered", "stasis_end")
    nobody = {"type": "ChannelDestroyed", "channel": {"id": "call-1-1.0"}}
    stage.proxy.heard(json.dumps(nobody).encode(), 10)
    stage.proxy.heard(b'{"type":"\xff"}', 10)
    stage.proxy.heard(b"{", 10)
    assert stage.publisher.added == []


async def test_answers_to_commands_are_news_only_where_they_refuse(stage: Stage) -> None:
    stage.hear("rest_response_no_content", "rest_response_created", "rest_response_refused")
    (heard,) = stage.publisher.added
    assert heard.content == RefusedCommand(
        actor=INCOMING, key="hangup", status=404, reason="Channel not found"
    )


async def test_asterisk_s_life_is_known_by_its_start_and_its_name(stage: Stage) -> None:
    stage.hear("rest_response_filter", "rest_response_info")
    time, _, name = stage.stream.boot_id.partition(" ")
    assert time.startswith("2026-11-20T")
    assert name.startswith("02:00:7f:")
    assert stage.publisher.boots == 1
    assert not stage.proxy.usable, "there is no connection"


async def test_a_list_of_channels_is_a_snapshot(stage: Stage) -> None:
    stage.hear("stasis_start_outgoing", "rest_response_channels")
    channels = stage.publisher.added[-1].content
    assert isinstance(channels, list)
    assert [type(channel) for channel in channels] == [ChannelInList]
    assert len(stage.proxy.census) == 1


@pytest.mark.parametrize("question", ["=info", "=channels", "=filter"])
async def test_a_question_that_is_refused_or_not_understood_ends_nothing_else(
    stage: Stage, question: str
) -> None:
    answer = {"type": "RESTResponse", "request_id": question, "status_code": 403}
    stage.proxy.heard(json.dumps(answer).encode(), 10)
    answer |= {"status_code": 200, "message_body": "{"}
    stage.proxy.heard(json.dumps(answer).encode(), 10)
    assert stage.publisher.added == []
    assert stage.stream.boot_id == ""


def told(*keys: str, boot_id: str = "boot", seconds: float = 30.0) -> AsteriskCommands:
    """Commands that expire so many seconds from now."""
    return AsteriskCommands(
        boot_id=boot_id,
        expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
        commands=[commands.answer(INCOMING, key, "c") for key in keys],
    )


async def test_without_asterisk_commands_are_refused_after_a_while(stage: Stage) -> None:
    await stage.proxy.command([told("a", "b"), told("c", boot_id="other")])
    assert [(boot_id, one.key, one.status, one.reason) for boot_id, one in stage.refused] == [
        ("boot", "a", 0, "asterisk_not_connected"),
        ("boot", "b", 0, "asterisk_not_connected"),
        ("other", "c", 0, "asterisk_not_connected"),
    ]


async def test_commands_for_another_life_and_late_ones_are_refused(stage: Stage) -> None:
    stage.connect()
    await stage.proxy.command(
        [
            told("a"),
            told("b", boot_id="former"),
            told("c", seconds=-0.001),
            told("d", boot_id="former", seconds=-0.001),
            told("e"),
        ]
    )
    assert [(boot_id, one.key, one.status, one.reason) for boot_id, one in stage.refused] == [
        ("former", "b", 0, "wrong_boot"),
        ("boot", "c", 0, "expired"),
        ("former", "d", 0, "wrong_boot"),
    ]
    given = await stage.given()
    assert f"{INCOMING}a" in given
    assert f"{INCOMING}e" in given
    assert not any(f"{INCOMING}{key}" in given for key in "bcd")


async def test_commands_for_a_former_life_are_known_while_asterisk_is_away(stage: Stage) -> None:
    stage.stream.boot_id = "last"
    await stage.proxy.command([told("a", boot_id="former"), told("b", boot_id="last")])
    reasons = [one.reason for _, one in stage.refused]
    assert reasons == ["wrong_boot", "asterisk_not_connected"]


async def test_an_asterisk_that_says_nothing_does_not_count_as_connected(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("asterisk_proxy.proxy.time.monotonic", lambda: now)
    stage.connect()
    assert stage.proxy.usable
    assert not stage.proxy.answers
    stage.hear("rest_response_no_content")
    assert stage.proxy.answers
    now += proxy_module.PING_PATIENCE
    assert not stage.proxy.answers
    assert stage.proxy.usable


async def test_asterisk_is_asked_all_the_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "PING_INTERVAL", 0.001)
    stage.connect()
    asking = asyncio.create_task(stage.proxy.ping())
    try:
        async with asyncio.timeout(5):
            for _ in range(2):
                while "asterisk/ping" not in await stage.given():
                    pass
    finally:
        asking.cancel()


async def test_all_channels_are_asked_for_now_and_then_but_not_while_nobody_takes_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "SNAPSHOT_INTERVAL", (0.001, 0.002))
    stage.connect()
    await stage.given()
    stage.hear("rest_response_no_content")
    asking = asyncio.create_task(stage.proxy.take_snapshots())
    try:
        async with asyncio.timeout(5):
            for _ in range(2):
                while '"uri":"channels"' not in await stage.given():
                    pass
        stage.stream.cut(proxy_module.SNAPSHOT_BACKLOG)
        assert not await stage.is_given_anything(0.1)
    finally:
        asking.cancel()


async def test_a_new_connection_waits_until_the_old_one_is_settled(stage: Stage) -> None:
    assert stage.proxy.may_enter()
    stage.stream.boot_id = "boot"
    stage.stream.cut(100)
    assert not stage.proxy.may_enter()
    stage.stream.settle(100)
    assert stage.proxy.may_enter()


async def test_what_came_before_asterisk_s_life_was_known_waits_for_the_next_connection(
    stage: Stage,
) -> None:
    stage.stream.cut(100)
    assert stage.stream.boot_id == ""
    assert stage.proxy.may_enter()


async def test_the_end_of_what_has_arrived_is_passed_on(stage: Stage) -> None:
    stage.proxy.all_heard(77)
    assert stage.publisher.heard == 77
