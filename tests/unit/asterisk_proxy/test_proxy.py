"""The proxy between a connection and a publisher: what it lets in, passes on and refuses."""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from asterisk_proxy import proxy as proxy_module
from asterisk_proxy.domain.batch import Heard
from asterisk_proxy.proxy import Proxy
from asterisk_proxy.stream import Stream
from evercall.ari import commands
from evercall.ari.events import ChannelInList
from evercall.contracts.asterisk import OwnedEvent, RefusedCommand

DATA = Path(__file__).parents[2] / "data" / "ari"
INCOMING = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e2e8f7")


@dataclass
class FakePublisher:
    """Keeps what it is given."""

    added: list[Heard] = field(default_factory=list)
    refused: list[RefusedCommand] = field(default_factory=list)
    heard: int = 0
    boots: int = 0

    def add(self, heard: Heard) -> None:
        self.added.append(heard)

    def heard_until(self, offset: int) -> None:
        self.heard = offset

    def refuse(self, refused: list[RefusedCommand]) -> None:
        self.refused += refused

    def boot_known(self) -> None:
        self.boots += 1


@dataclass
class Stage:
    stream: Stream
    publisher: FakePublisher
    proxy: Proxy

    def hear(self, *names: str) -> None:
        for name in names:
            self.proxy.heard((DATA / f"{name}.json").read_bytes().strip(), 10)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(proxy_module, "CONNECT_PATIENCE", 0.01)
    stream = Stream.create()
    publisher = FakePublisher()
    proxy = Proxy(stream, publisher, "evercall", lambda _: None)  # type: ignore[arg-type]
    yield Stage(stream, publisher, proxy)
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


async def test_without_asterisk_commands_are_refused_after_a_while(stage: Stage) -> None:
    play = commands.play(INCOMING, "play.1", "c", f"{INCOMING}.p", ["sound:a"])
    await stage.proxy.command([commands.answer(INCOMING, "answer", "c"), play])
    assert [(one.key, one.status, one.reason) for one in stage.publisher.refused] == [
        ("answer", 0, "asterisk_not_connected"),
        ("play.1", 0, "asterisk_not_connected"),
    ]


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
