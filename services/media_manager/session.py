"""One stream in this process: its sound (`domain.stream`), its connection (`Link`), its leg."""

from datetime import datetime
from typing import Protocol

from evercall.service.logging import get_logger
from media_manager.domain.closing import StreamEnd, is_orderly
from media_manager.domain.stream import Stream
from media_manager.gateways.access import Credentials
from media_manager.inner.leg import InnerSocket, Leg

log = get_logger(__name__)


class Link(Protocol):
    """A connection with an application."""

    takes_keys: bool
    """Whether keys are told in the framing, because there are no control frames."""

    def send(self, messages: list[bytes]) -> None:
        """Audio. What the application does not read in time is dropped, the oldest first."""

    def send_text(self, texts: list[bytes]) -> None:
        """Control frames."""

    def close(self, end: StreamEnd) -> None:
        """No more of this connection."""

    def cut_when_unread(self) -> None:
        """Breaks the connection when ever more is said to an application that reads nothing."""


class Keeper(Protocol):
    """Who is told that a session is over."""

    def ended(self, session: "Session", end: StreamEnd, *, tell_call: bool) -> None: ...


class Session:
    """Whoever gives it something calls one method; what follows from it happens inside."""

    def __init__(
        self,
        stream: Stream,
        inner: InnerSocket,
        keeper: Keeper,
        now: float,
        credentials: Credentials | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        self.stream = stream
        self.options = stream.options
        self.credentials = credentials
        self.expires_at = expires_at
        self.checked = now
        """When access was last looked at."""
        self.away_since: float | None = now
        self.position = stream.position
        self.moved = now
        """When the last packet of Asterisk was noticed."""
        self.link: Link | None = None
        self.is_over = False
        self._inner = inner
        self._keeper = keeper
        self._leg: Leg | None = None

    # -- the leg -------------------------------------------------------------------------------

    def connect(self, host: str, port: int) -> None:
        """Asterisk's end of the leg is here."""
        self.disconnect()
        self._leg = Leg(self.stream, host, port, self._deliver, self._flush)
        self._inner.add(self._leg)

    def play(self) -> None:
        """What is queued for the call, if anything is."""
        leg = self._leg
        if leg is not None and not leg.is_ticking and self.stream.is_playing:
            self._inner.play(leg)

    def disconnect(self) -> None:
        """No more of the leg."""
        if self._leg is not None:
            self._inner.remove(self._leg)
            self._leg = None

    def _deliver(self, messages: list[bytes]) -> None:
        if self.link is not None:
            self.link.send(messages)

    def _flush(self) -> None:
        outbox = self.stream.outbox
        if not outbox:
            return
        texts = outbox.copy()
        outbox.clear()
        if self.link is not None:
            self.link.send_text(texts)

    # -- the connection ------------------------------------------------------------------------

    def attach(self, link: Link, *, resumed: bool) -> None:
        """A connection is there; an earlier one goes."""
        former, self.link = self.link, link
        if former is not None:
            self.stream.stop(StreamEnd.TAKEN_OVER)
            former.send_text(self.stream.outbox.copy())
            self.stream.outbox.clear()
            former.close(StreamEnd.TAKEN_OVER)
        self.away_since = None
        messages = self.stream.attach(resumed=resumed)
        self._flush()
        if messages:
            link.send(messages)

    def received(self, data: bytes, now: float) -> int:
        """A binary message of the application. Returns how many of the framing's messages it held."""
        messages = self.stream.hear(data, now)
        self.play()
        self._after()
        return messages

    def received_text(self, text: bytes, now: float) -> None:
        """A text message of the application."""
        self.stream.hear_text(text, now)
        self._after()

    def digit(self, digit: str, duration_ms: int) -> None:
        """The far end pressed a key."""
        if self.link is not None and self.link.takes_keys:
            self.link.send(self.stream.key(digit))
        self.stream.digit(digit, duration_ms)
        self._flush()

    def look(self, now: float) -> None:
        """Once a second."""
        self.stream.tell_rest(now)
        self._flush()
        if self.link is not None:
            self.link.cut_when_unread()

    def fell_behind(self, messages: int, now: float) -> None:
        """The connection dropped messages that were not read."""
        self.stream.fell_behind(messages, now)
        self._flush()

    def link_lost(self, link: Link, code: int | None, now: float) -> None:
        """The connection is gone, with this close code of the application's; None: it just broke."""
        if link is not self.link or self.is_over:
            return
        self.link = None
        if is_orderly(code):
            self._keeper.ended(self, StreamEnd.APPLICATION_CLOSED, tell_call=True)
            return
        self.stream.detach()
        self.away_since = now
        log.info("stream_away", stream_id=str(self.options.id), code=code)

    def link_refused(self) -> None:
        """The connection that the session was made for did not come to be; one that was there before stays."""
        if self.link is None and not self.is_over:
            self._keeper.ended(self, StreamEnd.APPLICATION_CLOSED, tell_call=True)

    def _after(self) -> None:
        if self.stream.outbox:
            self._flush()
        if self.stream.ending is not None and not self.is_over:
            self._keeper.ended(self, self.stream.ending, tell_call=True)

    def send_away(self) -> None:
        """The application is to come back elsewhere; until then the stream goes on here."""
        link, self.link = self.link, None
        if link is None:
            return
        self.stream.stop(StreamEnd.DRAINING)
        link.send_text(self.stream.outbox.copy())
        self.stream.detach()
        link.close(StreamEnd.DRAINING)

    # -- the end -------------------------------------------------------------------------------

    def end(self, end: StreamEnd) -> None:
        """Closes all that is here. Harmless when it is over already."""
        if self.is_over:
            return
        self.is_over = True
        self.disconnect()
        if self.link is not None:
            self.stream.stop(end)
            self._flush()
            self.link.close(end)
            self.link = None
