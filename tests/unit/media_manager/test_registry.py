"""How streams begin, come back, move away and end in one process: with a leg of paper and a real socket."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from evercall.contracts.access import Access
from evercall.contracts.media import (
    ExternalMedia,
    ExternalMediaLeg,
    MediaDirection,
    MediaStatus,
    StreamHandedOver,
)
from evercall.service.errors import Conflict, NotFound, PlatformError, Unauthorized, Unavailable
from evercall.service.lifecycle import Tasks
from media_manager.caretaker import CHECK_ACCESS, SILENCE, Caretaker
from media_manager.domain.closing import StreamEnd
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits, StreamOptions
from media_manager.domain.request import StreamRequest
from media_manager.gateways.access import Credentials
from media_manager.inner.leg import InnerSocket
from media_manager.registry import Registry
from media_manager.session import Session

CALL, CUSTOMER = UUID(int=2), UUID(int=3)
CREDENTIALS = Credentials("token=x", "", "", "192.0.2.1")
ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Legs:
    """call_manager on paper."""

    error: PlatformError | None = None
    previous: str = ""
    handed: StreamHandedOver | PlatformError | None = None
    started: list[tuple[UUID, bool]] = field(default_factory=list)
    stopped: list[tuple[UUID, str]] = field(default_factory=list)

    async def start(self, options: StreamOptions, *, resume: bool) -> ExternalMediaLeg:
        await asyncio.sleep(0)
        self.started.append((options.id, resume))
        if self.error is not None:
            raise self.error
        return ExternalMediaLeg(
            media=media(options.id, MediaStatus.RUNNING),
            rtp_address="127.0.0.1",
            rtp_port=9 + len(self.started),
            previous_owner=self.previous,
        )

    async def stop(self, options: StreamOptions, reason: str) -> None:
        self.stopped.append((options.id, reason))

    async def hand_over(self, identifier: UUID, owner: str) -> StreamHandedOver | None:
        assert identifier
        assert owner
        if isinstance(self.handed, PlatformError):
            raise self.handed
        return self.handed


@dataclass
class Paper:
    """An application on paper."""

    messages: list[bytes] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    end: StreamEnd | None = None

    def send(self, messages: list[bytes]) -> None:
        self.messages += messages

    def send_text(self, texts: list[bytes]) -> None:
        self.told += [msgspec.json.decode(text) for text in texts]

    def close(self, end: StreamEnd) -> None:
        self.end = end


@dataclass
class AccessOnPaper:
    """api_manager on paper."""

    answer: Access | PlatformError = field(default_factory=lambda: Access(customer_id=CUSTOMER))

    async def check(self, credentials: Credentials, *, counts: bool) -> Access:
        assert (credentials, counts) == (CREDENTIALS, False)
        if isinstance(self.answer, PlatformError):
            raise self.answer
        return self.answer


def media(identifier: UUID, status: MediaStatus, reason: str = "") -> ExternalMedia:
    return ExternalMedia(
        id=identifier,
        customer_id=CUSTOMER,
        reference_id=CALL,
        status=status,
        encapsulation="sln",
        direction_listen=MediaDirection.BOTH,
        direction_speak=MediaDirection.BOTH,
        reason=reason,
        tm_create=ALWAYS,
        tm_update=ALWAYS,
    )


@dataclass
class House:
    """One process."""

    registry: Registry
    legs: Legs
    inner: InnerSocket
    tasks: Tasks
    access: AccessOnPaper
    caretaker: Caretaker
    clock: list[float]

    async def open(self, resume: UUID | None = None) -> tuple[Session, Paper]:
        both = MediaDirection.BOTH
        request = StreamRequest(CALL, "sln", 8000, both, both, resume)
        session = await self.registry.open(request, CUSTOMER, CREDENTIALS, None)
        link = Paper()
        session.attach(link, resumed=resume is not None)
        return session, link

    def look(self, session: Session, seconds: float) -> None:
        self.clock[0] += seconds
        self.caretaker.look(session, self.clock[0], ALWAYS)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = [1000.0]
    inner, tasks = InnerSocket("127.0.0.1"), Tasks(asyncio.Event())
    legs, access = Legs(), AccessOnPaper()
    registry = Registry(legs, inner, tasks, StreamLimits(), Counts(), lambda: clock[0])
    caretaker = Caretaker(registry, access, tasks, 10.0)  # type: ignore[arg-type]
    yield House(registry, legs, inner, tasks, access, caretaker, clock)
    await tasks.cancel_all()
    await inner.close()


async def test_a_stream_begins_when_its_leg_is_up(house: House) -> None:
    session, link = await house.open()
    assert list(house.registry.sessions) == [session.options.id]
    assert len(house.inner) == 1
    assert [told["type"] for told in link.told] == ["start"]


async def test_a_refused_leg_leaves_nothing(house: House) -> None:
    house.legs.error = Conflict("call_not_progressing", "-")
    with pytest.raises(Conflict):
        await house.open()
    await house.settle()
    assert house.registry.sessions == {}
    assert len(house.inner) == 0


async def test_who_gives_up_waiting_has_the_leg_removed(house: House) -> None:
    opening = asyncio.create_task(house.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await house.settle()
    assert [reason for _, reason in house.legs.stopped] == ["application_closed"]
    assert house.registry.sessions == {}


async def test_who_closes_in_order_ends_the_stream(house: House) -> None:
    session, link = await house.open()
    session.link_lost(link, 1000, 1.0)
    await house.settle()
    assert house.legs.stopped == [(session.options.id, "application_closed")]
    assert house.registry.sessions == {}
    assert len(house.inner) == 0


async def test_who_is_cut_off_may_come_back_for_ten_seconds(house: House) -> None:
    session, link = await house.open()
    session.link_lost(link, None, house.clock[0])
    house.look(session, 9.0)
    again, back = await house.open(resume=session.options.id)
    assert again is session
    assert back.told[0]["resumed"] is True
    house.look(session, 9.0)
    session.link_lost(back, 1006, house.clock[0])
    house.look(session, 11.0)
    await house.settle()
    assert house.legs.stopped == [(session.options.id, "application_lost")]


async def test_the_later_connection_has_the_stream(house: House) -> None:
    session, first = await house.open()
    _, second = await house.open(resume=session.options.id)
    assert first.end is StreamEnd.TAKEN_OVER
    assert first.told[-1]["reason"] == "taken_over"
    session.link_lost(first, 4004, 1.0)
    assert session.link is second


async def test_another_customers_stream_is_not_there(house: House) -> None:
    session, _ = await house.open()
    both = MediaDirection.BOTH
    request = StreamRequest(CALL, "sln", 8000, both, both, session.options.id)
    with pytest.raises(NotFound):
        await house.registry.open(request, UUID(int=99), CREDENTIALS, None)


async def test_a_stream_of_another_process_brings_what_was_kept(house: House) -> None:
    house.legs.previous = "m2"
    house.legs.handed = StreamHandedOver(kept=[b"\xff" * 160] * 3, sequence=7)
    session, link = await house.open(resume=UUID(int=50))
    assert house.legs.started == [(UUID(int=50), True)]
    assert (link.told[0]["sequence"], link.told[0]["missed_ms"]) == (7, 60)
    assert [len(message) for message in link.messages] == [320] * 3
    assert session.options.id == UUID(int=50)


@pytest.mark.parametrize("handed", [None, Unavailable("service_unavailable", "-")])
async def test_of_a_dead_process_nobody_knows_what_is_lost(
    house: House, handed: PlatformError | None
) -> None:
    house.legs.previous, house.legs.handed = "m2", handed
    _, link = await house.open(resume=UUID(int=50))
    assert link.told[0]["lost_ms"] is None


async def test_a_stream_is_given_away_once(house: House) -> None:
    session, link = await house.open()
    session.received(bytes(3200), 0.0)
    handed = house.registry.hand_over(session.options.id)
    assert len(handed.queued) == 1600
    assert link.end is StreamEnd.TAKEN_OVER
    assert house.legs.stopped == []
    with pytest.raises(NotFound):
        house.registry.hand_over(session.options.id)


async def test_the_end_of_the_leg_ends_the_stream(house: House) -> None:
    session, link = await house.open()
    house.registry.stopped(media(session.options.id, MediaStatus.STOPPED, "call_ended"))
    house.registry.stopped(media(UUID(int=77), MediaStatus.STOPPED, "call_ended"))
    await house.settle()
    assert link.end is StreamEnd.CALL_ENDED
    assert house.legs.stopped == []


async def test_a_credential_ends_its_stream(house: House) -> None:
    session, link = await house.open()
    session.expires_at = ALWAYS + timedelta(seconds=1)
    house.look(session, 1.0)
    assert link.end is None
    session.expires_at = ALWAYS
    house.look(session, 1.0)
    assert link.end is StreamEnd.TOKEN_EXPIRED


async def test_a_revoked_key_is_noticed_and_a_silent_api_is_not_one(house: House) -> None:
    session, link = await house.open()
    session.moved = house.clock[0] + CHECK_ACCESS
    house.access.answer = Unavailable("store_unavailable", "-")
    house.look(session, CHECK_ACCESS)
    await house.settle()
    assert link.end is None
    house.access.answer = Unauthorized("invalid_credentials", "-")
    session.moved = house.clock[0] + CHECK_ACCESS
    house.look(session, CHECK_ACCESS)
    await house.settle()
    assert link.end is StreamEnd.ACCESS_REVOKED


async def test_a_silent_leg_is_asked_after(house: House) -> None:
    session, link = await house.open()
    house.look(session, SILENCE)
    await house.settle()
    assert house.legs.started[-1] == (session.options.id, True)
    assert link.end is None
    house.legs.error = NotFound("media_stream_not_found", "-")
    house.look(session, SILENCE)
    await house.settle()
    assert link.end is StreamEnd.RESOURCE_LOST


async def test_after_a_gap_every_stream_is_asked_after(house: House) -> None:
    session, _ = await house.open()
    await house.caretaker.word_missed()
    house.look(session, 0.1)
    await house.settle()
    assert house.legs.started[-1] == (session.options.id, True)


async def test_who_leaves_sends_applications_elsewhere(house: House) -> None:
    session, link = await house.open()
    house.registry.send_away()
    assert (link.end, link.told[-1]["reason"]) == (StreamEnd.DRAINING, "draining")
    with pytest.raises(Unavailable):
        await house.open()
    waiting = asyncio.create_task(house.registry.emptied())
    await house.settle()
    assert not waiting.done()
    house.registry.hand_over(session.options.id)
    await asyncio.wait_for(waiting, 1.0)


async def test_keys_go_to_their_stream(house: House) -> None:
    session, link = await house.open()
    house.registry.digit(session.options.id, "5", 100)
    house.registry.digit(UUID(int=77), "6", 100)
    assert [told["digit"] for told in link.told if told["type"] == "dtmf"] == ["5"]
