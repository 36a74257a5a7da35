"""One process of media_manager whose leg is of paper, with a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from evercall.contracts.access import Access
from evercall.contracts.media import (
    ExternalMedia,
    ExternalMediaLeg,
    MediaDirection,
    MediaStatus,
    StreamHandedOver,
)
from evercall.service.errors import PlatformError
from evercall.service.identity import new_id
from evercall.service.lifecycle import Tasks
from media_manager.caretaker import Caretaker
from media_manager.domain.closing import StreamEnd
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits, StreamOptions
from media_manager.domain.request import StreamRequest
from media_manager.gateways.access import Credentials
from media_manager.inner.leg import InnerSocket
from media_manager.registry import Registry
from media_manager.session import Session

CALL, CUSTOMER = UUID(int=2), UUID(int=3)
CREDENTIALS = Credentials("token=x", "", "192.0.2.1", new_id())
ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Legs:
    """call_manager on paper."""

    error: PlatformError | None = None
    previous: str = ""
    handed: StreamHandedOver | PlatformError | None = None
    made: dict[UUID, ExternalMedia] = field(default_factory=dict)
    """Streams that are there already."""
    started: list[tuple[UUID, bool]] = field(default_factory=list)
    stopped: list[tuple[UUID, str]] = field(default_factory=list)

    async def start(self, options: StreamOptions, *, resume: bool) -> ExternalMediaLeg:
        await asyncio.sleep(0)
        self.started.append((options.id, resume))
        if self.error is not None:
            raise self.error
        return ExternalMediaLeg(
            media=self.made.get(options.id) or made(options),
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


class Roomy:
    """There is room for all streams."""

    @asynccontextmanager
    async def room(self, options: StreamOptions) -> AsyncIterator[None]:
        assert options
        yield


@dataclass
class Paper:
    """An application on paper."""

    takes_keys = False
    messages: list[bytes] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    end: StreamEnd | None = None

    def send(self, messages: list[bytes]) -> None:
        self.messages += messages

    def send_text(self, texts: list[bytes]) -> None:
        self.told += [msgspec.json.decode(text) for text in texts]

    def close(self, end: StreamEnd) -> None:
        self.end = end

    def cut_when_unread(self) -> None: ...


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


def made(options: StreamOptions) -> ExternalMedia:
    return msgspec.structs.replace(
        media(options.id, MediaStatus.RUNNING),
        encapsulation=options.encapsulation,
        rate=options.rate,
        direction_listen=options.listen,
        direction_speak=options.speak,
    )


def asked_for(resume: UUID | None) -> StreamRequest:
    return StreamRequest(CALL, "sln", 8000, MediaDirection.BOTH, MediaDirection.BOTH, resume)


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
        session = await self.registry.open(asked_for(resume), CUSTOMER, CREDENTIALS, None)
        link = Paper()
        session.attach(link, resumed=resume is not None)
        return session, link

    def look(self, session: Session, seconds: float) -> None:
        self.clock[0] += seconds
        self.caretaker.look(session, self.clock[0], ALWAYS)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    """It stands until the end of the block."""
    clock = [1000.0]
    inner, tasks = InnerSocket("127.0.0.1"), Tasks(asyncio.Event())
    legs, access = Legs(), AccessOnPaper()
    registry = Registry(legs, Roomy(), inner, tasks, StreamLimits(), Counts(), lambda: clock[0])
    caretaker = Caretaker(registry, access, tasks, 10.0)  # type: ignore[arg-type]
    yield House(registry, legs, inner, tasks, access, caretaker, clock)
    for session in list(registry.sessions.values()):
        registry.ended(session, StreamEnd.CALL_ENDED, tell_call=False)
    await asyncio.sleep(0)
    await tasks.cancel_all()
    await inner.close()
