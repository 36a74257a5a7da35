"""The streams of this process: how they begin, come back, move away and end."""

import asyncio
import contextlib
import secrets
from collections import Counter as Numbers
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from evercall.contracts.media import (
    ExternalMedia,
    ExternalMediaLeg,
    StreamHandedOver,
)
from evercall.service.errors import (
    InvalidRequest,
    NotFound,
    PlatformError,
    Unavailable,
)
from evercall.service.identity import new_id
from evercall.service.lifecycle import Tasks
from evercall.service.logging import get_logger
from media_manager import metrics
from media_manager.domain.closing import StreamEnd, end_of
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits, StreamOptions
from media_manager.domain.request import StreamRequest
from media_manager.domain.stream import Stream
from media_manager.gateways.access import Credentials
from media_manager.inner.leg import InnerSocket
from media_manager.session import Session

SEED_BITS = 160

HANDOVERS = 4.0
"""Seconds that a process which leaves waits for its streams to be taken over; a stop may take five."""

log = get_logger(__name__)


class Legs(Protocol):
    """What is needed of `gateways.calls`."""

    async def start(self, options: StreamOptions, *, resume: bool) -> ExternalMediaLeg: ...
    async def stop(self, options: StreamOptions, reason: str) -> None: ...
    async def hand_over(self, identifier: UUID, owner: str) -> StreamHandedOver | None: ...


class Quota(Protocol):
    """What is needed of `gateways.quota`."""

    def room(self, options: StreamOptions) -> AbstractAsyncContextManager[None]: ...


class Registry:
    """All sessions by the id of their stream."""

    def __init__(
        self,
        legs: Legs,
        quota: Quota,
        inner: InnerSocket,
        tasks: Tasks,
        limits: StreamLimits,
        counts: Counts,
        clock: Callable[[], float],
    ) -> None:
        self.sessions: dict[UUID, Session] = {}
        self.is_draining = False
        self._emptied: asyncio.Event | None = None
        self._legs = legs
        self._quota = quota
        self._inner = inner
        self._tasks = tasks
        self._limits = limits
        self._counts = counts
        self._clock = clock

    def numbers(self) -> dict[str, int]:
        """How many streams there are of each encapsulation."""
        return dict(Numbers(each.options.encapsulation for each in self.sessions.values()))

    def queued_seconds(self) -> float:
        """How much audio of all applications waits to be played."""
        return sum(each.stream.queued_ms for each in self.sessions.values()) / 1000

    # -- beginnings ----------------------------------------------------------------------------

    async def open(
        self,
        request: StreamRequest,
        customer_id: UUID,
        credentials: Credentials,
        expires_at: datetime | None,
    ) -> Session:
        """The session of an application that has asked for a stream, new or resumed, with its leg up.

        Raises:
            PlatformError: there is no such call, it is not up, the limit is reached, …
        """
        if self.is_draining:
            raise Unavailable("draining", "This process takes no new streams; try again")
        options = StreamOptions(
            id=request.resume or new_id(near=request.call_id),
            call_id=request.call_id,
            customer_id=customer_id,
            encapsulation=request.encapsulation,
            rate=request.rate,
            listen=request.listen,
            speak=request.speak,
        )
        if request.resume is not None:
            here = self._own(options)
            if here is not None:
                _check_same(here.options, options)
                here.credentials, here.expires_at = credentials, expires_at
                metrics.OPENED.labels(options.encapsulation, "resumed_here").inc()
                return here
        session = await self.start(options, resume=request.resume is not None)
        # One that came from elsewhere stays here: the application is told what is wrong, and may come again.
        _check_same(session.options, options)
        session.credentials, session.expires_at = credentials, expires_at
        return session

    async def start(self, options: StreamOptions, *, resume: bool = False) -> Session:
        """A session whose leg is up.

        Raises:
            RateLimited: the customer has as many streams as it may.
            PlatformError: as `ExternalMediaStart` tells.
        """
        if resume:
            return await self._start(options, resume)
        async with self._quota.room(options):
            return await self._start(options, resume)

    async def _start(self, options: StreamOptions, resume: bool) -> Session:
        try:
            leg = await self._legs.start(options, resume=resume)
        except (asyncio.CancelledError, PlatformError) as error:
            # Nobody wants the leg any more, and it may still come to be.
            if not isinstance(error, NotFound):
                self._stop_leg(options, StreamEnd.APPLICATION_CLOSED.value)
            raise
        try:
            return await self._begin(options, leg, resume)
        except asyncio.CancelledError:
            session = self.sessions.get(options.id)
            if session is not None:
                self.ended(session, StreamEnd.APPLICATION_CLOSED, tell_call=True)
            raise

    async def _begin(self, options: StreamOptions, leg: ExternalMediaLeg, resume: bool) -> Session:
        options = options.as_made(leg.media)
        stream = Stream(options, self._limits, secrets.randbits(SEED_BITS), self._counts)
        session = Session(stream, self._inner, self, self._clock())
        self.sessions[options.id] = session
        session.connect(leg.rtp_address, leg.rtp_port)
        if resume:
            await self._take_over(stream, leg.previous_owner)
            session.play()
        how = "moved" if resume else "new"
        metrics.OPENED.labels(options.encapsulation, how).inc()
        log.info(
            "stream_started",
            stream_id=str(options.id),
            call_id=str(options.call_id),
            customer_id=str(options.customer_id),
            encapsulation=options.encapsulation,
            how=how,
        )
        return session

    async def _take_over(self, stream: Stream, former: str) -> None:
        try:
            handed = await self._legs.hand_over(stream.options.id, former)
        except PlatformError as error:
            log.info("stream_not_handed_over", former=former, reason=error.code)
            handed = None
        if handed is None:
            stream.lost_unknown()
        else:
            stream.restore(handed)

    def _own(self, options: StreamOptions) -> Session | None:
        session = self.sessions.get(options.id)
        if session is None:
            return None
        mine = session.options
        if (mine.customer_id, mine.call_id) != (options.customer_id, options.call_id):
            raise NotFound("media_stream_not_found", "There is no such stream any more")
        return session

    # -- what others say -----------------------------------------------------------------------

    def stopped(self, media: ExternalMedia) -> None:
        """call_manager has removed a leg."""
        session = self.sessions.get(media.id)
        if session is not None:
            self.ended(session, end_of(media.reason), tell_call=False)

    def hand_over(self, identifier: UUID) -> StreamHandedOver:
        """The stream goes to another process.

        Raises:
            NotFound: it is not here.
        """
        session = self.sessions.get(identifier)
        if session is None:
            raise NotFound("media_stream_not_found", "There is no such stream here")
        session.disconnect()
        handed = session.stream.hand_over()
        self.ended(session, StreamEnd.TAKEN_OVER, tell_call=False)
        return handed

    def digit(self, identifier: UUID, digit: str, duration_ms: int) -> None:
        """A key was pressed in a stream's call."""
        session = self.sessions.get(identifier)
        if session is not None:
            session.digit(digit, duration_ms)

    async def verify(self, session: Session) -> None:
        """Asks whether the leg is still there, and where. Ends the session where it is not."""
        try:
            leg = await self._legs.start(session.options, resume=True)
        except Unavailable:
            return
        except PlatformError as error:
            log.info("stream_unknown", stream_id=str(session.options.id), reason=error.code)
            self.ended(session, StreamEnd.RESOURCE_LOST, tell_call=False)
            return
        if not session.is_over:
            session.connect(leg.rtp_address, leg.rtp_port)

    # -- ends ----------------------------------------------------------------------------------

    def ended(self, session: Session, end: StreamEnd, *, tell_call: bool) -> None:
        """A stream is over here. `tell_call`: its leg is to be removed."""
        if session.is_over:
            return
        options = session.options
        if self.sessions.get(options.id) is session:
            del self.sessions[options.id]
        if not self.sessions and self._emptied is not None:
            self._emptied.set()
        session.end(end)
        metrics.ENDED.labels(end.value).inc()
        log.info("stream_ended", stream_id=str(options.id), reason=end.value)
        if tell_call:
            self._stop_leg(options, end.value)

    def _stop_leg(self, options: StreamOptions, reason: str) -> None:
        self._tasks.start("stop-leg", self._stop_leg_for_sure(options, reason))

    async def _stop_leg_for_sure(self, options: StreamOptions, reason: str) -> None:
        """Until call_manager has heard it, or half a minute is over: then the call has ended, or our peers
        find nobody here."""
        for _ in range(15):
            try:
                await self._legs.stop(options, reason)
            except NotFound:
                return
            except PlatformError:
                await asyncio.sleep(2.0)
            else:
                return

    def send_away(self) -> None:
        """Takes no more streams, and asks every application to come back elsewhere."""
        self.is_draining = True
        for session in list(self.sessions.values()):
            if session.options.from_flow:
                self.ended(session, StreamEnd.DRAINING, tell_call=False)
            else:
                session.send_away()

    async def emptied(self) -> None:
        """Returns when all streams were taken over, or nobody can be waited for any longer."""
        if not self.sessions:
            return
        self._emptied = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANDOVERS):
                await self._emptied.wait()


def _check_same(made: StreamOptions, asked: StreamOptions) -> None:
    """An application comes back for what it had: another format would turn what waits for it into noise, and
    another direction would need another leg.

    Raises:
        InvalidRequest: it asks for something else.
    """
    for name in ("encapsulation", "rate", "direction"):
        value = getattr(made, name)
        if getattr(asked, name) != value:
            raise InvalidRequest(
                "invalid_request_parameter",
                f"The stream was opened with {name}={value}: resume it with the same",
                details={"field": name, "allowed": [str(value)]},
            )
