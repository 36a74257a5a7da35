"""Looks after all sessions once a second: who is away too long, whose token is over, whose leg is silent.

One look for all instead of timers for each: a thousand sessions take a millisecond.
"""

import asyncio
from datetime import UTC, datetime

from evercall.service.errors import Forbidden, NotFound, PlatformError, Unauthorized
from evercall.service.lifecycle import Tasks
from media_manager.domain.closing import StreamEnd
from media_manager.gateways.access import AccessGateway
from media_manager.registry import Registry
from media_manager.session import Session

INTERVAL = 1.0

CHECK_ACCESS = 60.0
"""Seconds between two looks at credentials that were let in: a key may be revoked."""

SILENCE = 5.0
"""A leg that says nothing for so long is asked after."""


class Caretaker:
    """For one registry."""

    def __init__(
        self, registry: Registry, access: AccessGateway, tasks: Tasks, resume_seconds: float
    ) -> None:
        self._registry = registry
        self._access = access
        self._tasks = tasks
        self._resume_seconds = resume_seconds

    async def run(self) -> None:
        """Looks until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(INTERVAL)
            now, clock = loop.time(), datetime.now(UTC)
            for session in list(self._registry.sessions.values()):
                self.look(session, now, clock)

    def look(self, session: Session, now: float, clock: datetime) -> None:
        """At one session."""
        if session.expires_at is not None and session.expires_at <= clock:
            self._registry.ended(session, StreamEnd.TOKEN_EXPIRED, tell_call=True)
            return
        if self._is_away_too_long(session, now):
            self._registry.ended(session, StreamEnd.APPLICATION_LOST, tell_call=True)
            return
        if session.credentials is not None and now - session.checked >= CHECK_ACCESS:
            session.checked = now
            self._tasks.start("check-access", self._check(session))
        session.look(now)
        self._listen(session, now)

    def _is_away_too_long(self, session: Session, now: float) -> bool:
        """One that we connected ourselves is the business of who connects it."""
        if session.away_since is None or session.options.from_flow:
            return False
        return now - session.away_since >= self._resume_seconds

    def _listen(self, session: Session, now: float) -> None:
        if session.moved == float("-inf"):
            session.moved = now
            self._tasks.start("verify", self._registry.verify(session))
        elif not session.options.listen or session.position != session.stream.position:
            session.position, session.moved = session.stream.position, now
        elif now - session.moved >= SILENCE:
            session.moved = now
            self._tasks.start("verify", self._registry.verify(session))

    async def word_missed(self) -> None:
        """There was a gap in what call_manager says: legs may have ended meanwhile."""
        for session in self._registry.sessions.values():
            session.moved = float("-inf")

    async def _check(self, session: Session) -> None:
        if session.credentials is None:
            return
        try:
            access = await self._access.check(session.credentials, counts=False)
        except (Unauthorized, Forbidden, NotFound):
            self._registry.ended(session, StreamEnd.ACCESS_REVOKED, tell_call=True)
        except PlatformError:
            # Nobody could tell: that is no reason to cut a stream off.
            return
        else:
            session.expires_at = access.expires_at
