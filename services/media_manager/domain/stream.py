"""The audio of one stream, both ways, and what is said beside it.

    application ─ hear ─▶ framing ▶ ulaw ▶ playout ─ take ─▶ RTP to Asterisk, one packet each 20 ms
    application ◀─ spoken ─ framing ◀ its format ◀ ulaw ◀─ RTP of Asterisk, as it comes

Control frames for the application gather in `outbox`: whoever calls a method sends what stands there after it.
Whatever an application sends, nothing here raises, and what is kept has a bound.
"""

from collections import deque
from collections.abc import Callable

from evercall.contracts.media import StreamHandedOver
from evercall.media import rtp
from evercall.media.audio import FRAME_MILLISECONDS, TELEPHONE
from evercall.media.encapsulation import open_framing
from evercall.media.errors import FrameError
from evercall.media.framing import Audio, Digit, Encapsulation, Fault, HangUp, Identity
from evercall.media.playout import Playout, Pressure
from evercall.media.rtp import RtpSender, sequence_distance
from evercall.media.transcode import Transcode, transcoder
from media_manager.domain import control
from media_manager.domain.closing import StreamEnd
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits, StreamOptions

_FRAME = TELEPHONE.frame_bytes
_SILENCE = TELEPHONE.silence
_PLAIN = b"\x80"
_MOST_FILLED = 10
"""A gap of more than so many packets is no loss but a pause: nothing is filled in."""
_EVERY = 1.0
"""Seconds between two reports of the same kind."""


class Stream:
    """One stream. `now` is in seconds of any clock that does not jump."""

    def __init__(
        self, options: StreamOptions, limits: StreamLimits, seed: int, counts: Counts
    ) -> None:
        """`seed`: 160 random bits, for the first numbers of RTP on both sides."""
        self.options = options
        self.outbox: list[bytes] = []
        self.ending: StreamEnd | None = None
        self._limits = limits
        self._counts = counts
        self._framing = open_framing(options.encapsulation, options.rate, seed=seed)
        self._to_call: Transcode = transcoder(self._framing.format, TELEPHONE)
        self._to_application: Transcode = transcoder(TELEPHONE, self._framing.format)
        self._fills = self._framing.encapsulation is not Encapsulation.RTP
        self._playout = Playout(TELEPHONE, int(limits.queue_seconds * TELEPHONE.rate))
        seed >>= 80
        self._sender = RtpSender(
            seed & 0xFFFFFFFF,
            rtp.PCMU,
            sequence=seed >> 64 & 0xFFFF,
            timestamp=seed >> 32 & 0xFFFFFFFF,
        )
        self._hears, self._speaks = bool(options.listen), bool(options.speak)
        self._kept: deque[bytes] = deque(
            maxlen=int(limits.kept_seconds * 1000) // FRAME_MILLISECONDS
        )
        self._kept_out = 0
        self._waits = False
        self._is_away = True
        self._wants_audio = True
        self._expected = -1
        self._ssrc = b""
        self._sequence = 0
        self._played_before = 0
        self._faults = 0
        self._lost_ms: int | None = 0
        self._reached: list[tuple[str, int]] = []
        """marks that were reached while nobody was there, at most as many as the playout holds"""
        self._reports: dict[str, _Report] = {}

    # -- the connection ------------------------------------------------------------------------

    @property
    def is_away(self) -> bool:
        """Whether there is no connection with the application."""
        return self._is_away

    def attach(self, *, resumed: bool) -> list[bytes]:
        """A connection is there: `start` goes into the outbox; returns the audio that follows it at once."""
        self._is_away = False
        self._wants_audio = self._hears
        kept = list(self._kept)
        self._kept.clear()
        audio_format = self._framing.format
        self._say(
            control.Start(
                sequence=self._next(),
                stream_id=str(self.options.id),
                call_id=str(self.options.call_id),
                customer_id=str(self.options.customer_id),
                encapsulation=self.options.encapsulation,
                direction=self.options.direction,
                coding=audio_format.coding.value,
                rate=audio_format.rate,
                frame_bytes=audio_format.frame_bytes,
                resumed=resumed,
                missed_ms=len(kept) * FRAME_MILLISECONDS,
                lost_ms=self._lost_so_far(),
                resume_seconds=self._limits.kept_seconds,
            )
        )
        self._kept_out = self._lost_ms = 0
        reached, self._reached = self._reached, []
        for name, played in reached:
            self._say(control.Marked(sequence=self._next(), name=name, played_ms=played))
        return [message for payload in kept for message in self._messages(payload)]

    def detach(self) -> None:
        """The connection is gone: from now on audio is kept for the next one."""
        self._is_away = True
        self.outbox.clear()

    def stop(self, end: StreamEnd) -> None:
        """The last word before the connection is closed."""
        self._say(control.Stop(sequence=self._next(), reason=end.value))

    def fell_behind(self, messages: int, now: float) -> None:
        """So many messages were dropped because the application did not read them."""
        self._counts.behind += messages
        milliseconds = messages * FRAME_MILLISECONDS
        self._report("behind", milliseconds, now, self._behind)

    def opening(self) -> bytes:
        """What is sent first on a connection that we made."""
        return self._framing.opening(self.options.id)

    def farewell(self) -> bytes:
        """What is sent last on it."""
        return self._framing.hang_up()

    # -- from the application ------------------------------------------------------------------

    def hear(self, data: bytes, now: float) -> int:
        """A binary message. Returns how many of the framing's messages it held."""
        found = self._framing.receive(data)
        if not found:
            self._waits = True
        for received in found:
            if self.ending is not None:
                break
            if type(received) is Audio:
                self._queue(received.data, now)
            elif isinstance(received, Fault):
                self._fault(received.code.value, received.message, now)
            elif isinstance(received, HangUp):
                self.ending = StreamEnd.APPLICATION_CLOSED
            elif isinstance(received, Identity):
                if received.identity != self.options.id:
                    self._fault("wrong_identity", "this connection is of another stream", now)
            elif isinstance(received, Digit):
                self._fault("dtmf_unsupported", "keys can't be sent into the call", now)
        return len(found)

    def hear_text(self, text: bytes, now: float) -> None:
        """A text message."""
        try:
            asked = control.decode(text)
        except control.NotUnderstood as error:
            self._fault(error.code, error.message, now)
            return
        self._faults = 0
        self._asked(asked, now)

    def _asked(self, asked: control.Asked, now: float) -> None:
        match asked:
            case control.MarkAsked(name=name):
                self._mark(name, now)
            case control.ClearAsked():
                self._clear()
            case control.PauseAsked():
                self._wants_audio = False
            case control.ResumeAsked():
                self._wants_audio = self._hears
            case control.StopAsked():
                self.ending = StreamEnd.APPLICATION_CLOSED

    def _queue(self, data: bytes, now: float) -> None:
        self._faults = 0
        if not self._speaks:
            self._fault("direction", "this stream only listens", now)
            return
        self._counts.heard += 1
        playout = self._playout
        dropped = playout.put(self._to_call(data))
        if dropped:
            self._counts.overflowed += dropped
            self._report("overflow", TELEPHONE.milliseconds(dropped), now, self._overflow)
        if playout.pressure() is Pressure.PAUSE:
            self._say(control.Pause(sequence=self._next(), queued_ms=self.queued_ms))

    def _mark(self, name: str, now: float) -> None:
        if not self._playout.mark(name):
            self._fault("too_many_marks", "too many marks wait to be reached", now)
            return
        if not self._playout.queued:
            self._marked(self._playout.take().marks)

    def _clear(self) -> None:
        self._framing.release()
        cleared = self._playout.clear()
        self._say(
            control.Cleared(
                sequence=self._next(),
                played_ms=self._played_ms(),
                dropped_ms=TELEPHONE.milliseconds(cleared.dropped),
                marks=list(cleared.marks),
            )
        )
        self._relieve()

    # -- to the call ---------------------------------------------------------------------------

    @property
    def queued_ms(self) -> int:
        """What waits to be played."""
        return TELEPHONE.milliseconds(self._playout.queued)

    @property
    def is_playing(self) -> bool:
        """Whether something waits to be played, or for an earlier packet that time will give up."""
        return self._waits or bool(self._playout.queued)

    def take(self) -> bytes | None:
        """The packet for the next 20 ms; None where there is nothing to say."""
        frame = self._playout.take()
        if frame.marks:
            self._marked(frame.marks)
        data = frame.data
        if data is None:
            self._sender.skip(_FRAME)
            self._release()
            return None
        if not self._playout.queued:
            self._release()
        if self._playout.is_paused:
            self._relieve()
        self._counts.played += 1
        return self._sender.audio(data, _FRAME)

    def skip(self, frames: int) -> None:
        """So many frames of time passed in which nothing was taken."""
        self._sender.skip(frames * _FRAME)

    def _release(self) -> None:
        # The player runs dry: what waits for an earlier packet need not wait any longer.
        self._waits = False
        for received in self._framing.release():
            if isinstance(received, Audio):
                self._playout.put(self._to_call(received.data))

    def _relieve(self) -> None:
        if self._playout.pressure() is Pressure.RESUME:
            self._say(control.Resume(sequence=self._next(), queued_ms=self.queued_ms))

    def _marked(self, names: tuple[str, ...]) -> None:
        played = self._played_ms()
        if self._is_away:
            self._reached += [(name, played) for name in names]
            return
        for name in names:
            self._say(control.Marked(sequence=self._next(), name=name, played_ms=played))

    # -- from the call -------------------------------------------------------------------------

    def spoken(self, packet: bytes) -> list[bytes]:
        """A packet of Asterisk: the messages for the application."""
        counts = self._counts
        # The usual packet: version 2, nothing but a header, ulaw with or without a marker.
        if packet[:1] != _PLAIN or packet[1:2] not in _ULAW or len(packet) < rtp.HEADER_SIZE:
            return self._unusual(packet)
        sequence = packet[2] << 8 | packet[3]
        if sequence != self._expected or packet[8:12] != self._ssrc:
            return self._out_of_order(sequence, packet)
        self._expected = sequence + 1 & 0xFFFF
        counts.spoken += 1
        if self._is_away or not self._wants_audio:
            self._keep(packet[rtp.HEADER_SIZE :])
            return []
        return self._messages(packet[rtp.HEADER_SIZE :])

    @property
    def position(self) -> int:
        """Changes with every packet of Asterisk."""
        return self._expected

    def lost_unknown(self) -> None:
        """The stream's former owner is gone, and with it what it kept."""
        self._lost_ms = None

    def digit(self, digit: str, duration_ms: int) -> None:
        """The far end pressed a key."""
        if not self._is_away:
            self._say(control.Dtmf(sequence=self._next(), digit=digit, duration_ms=duration_ms))

    def key(self, digit: str) -> list[bytes]:
        """The same in the framing itself."""
        return self._framing.digit(digit)

    def _messages(self, payload: bytes) -> list[bytes]:
        if not payload:
            return []
        return [self._framing.audio(self._to_application(payload))]

    def _keep(self, payload: bytes) -> None:
        if not self._hears:
            return
        if not self._is_away:
            self._counts.behind += 1
            self._framing.pause(1)
            return
        if len(self._kept) == self._kept.maxlen:
            self._kept_out += 1
        self._kept.append(payload)

    def _unusual(self, packet: bytes) -> list[bytes]:
        try:
            parsed = rtp.parse(packet)
        except FrameError:
            self._counts.strange += 1
            return []
        if parsed.payload_type != rtp.PCMU:
            self._counts.strange += 1
            return []
        ssrc = parsed.ssrc.to_bytes(4, "big")
        plain = rtp.RtpPacket(
            rtp.PCMU, parsed.sequence, parsed.timestamp, parsed.ssrc, parsed.payload
        )
        if ssrc == self._ssrc and parsed.sequence == self._expected:
            return self.spoken(rtp.build(plain))
        return self._out_of_order(parsed.sequence, rtp.build(plain))

    def _out_of_order(self, sequence: int, packet: bytes) -> list[bytes]:
        """Another source, a gap, or a packet that comes too late."""
        messages: list[bytes] = []
        if packet[8:12] == self._ssrc and self._expected >= 0:
            distance = sequence_distance(sequence, self._expected)
            if -1000 < distance < 0:
                self._counts.late += 1
                return []
            if 0 < distance <= _MOST_FILLED:
                self._counts.lost += distance
                messages = self._fill(distance)
        self._ssrc = packet[8:12]
        self._expected = sequence
        return messages + self.spoken(packet)

    def _fill(self, count: int) -> list[bytes]:
        """Lost time: told by the timestamp where there is one, else silence, so that positions stay true."""
        if self._is_away or not self._wants_audio:
            for _ in range(count):
                self._keep(_SILENCE)
            return []
        if not self._fills:
            self._framing.pause(count)
            return []
        return [message for _ in range(count) for message in self._messages(_SILENCE)]

    # -- another owner -------------------------------------------------------------------------

    def hand_over(self) -> StreamHandedOver:
        """All that the next owner needs."""
        queued, marks = self._playout.waiting()
        return StreamHandedOver(
            kept=list(self._kept),
            dropped_ms=self._lost_so_far() or 0,
            queued=queued,
            marks=marks,
            sequence=self._sequence,
            played_ms=self._played_ms(),
            reached=self._reached,
        )

    def restore(self, handed: StreamHandedOver) -> None:
        """Goes on where the former owner ended."""
        kept = [*handed.kept, *self._kept]
        self._kept_out += max(0, len(kept) - (self._kept.maxlen or 0))
        self._kept = deque(kept, maxlen=self._kept.maxlen)
        self._lost_ms = handed.dropped_ms
        begin = 0
        for position, name in handed.marks:
            self._playout.put(handed.queued[begin:position])
            self._playout.mark(name)
            begin = position
        self._playout.put(handed.queued[begin:])
        self._played_before = handed.played_ms
        self._reached = list(handed.reached)
        self._sequence = handed.sequence

    # -- what is said --------------------------------------------------------------------------

    def _say(self, said: control.Said) -> None:
        if not self._is_away:
            self.outbox.append(control.encode(said))

    def _next(self) -> int:
        sequence = self._sequence
        self._sequence += 1
        return sequence

    def _lost_so_far(self) -> int | None:
        if self._lost_ms is None:
            return None
        return self._lost_ms + self._kept_out * FRAME_MILLISECONDS

    def _played_ms(self) -> int:
        """Of the application's audio, since the stream began, whoever played it."""
        return self._played_before + TELEPHONE.milliseconds(self._playout.played)

    def _fault(self, code: str, message: str, now: float) -> None:
        self._counts.faults[code] = self._counts.faults.get(code, 0) + 1
        self._faults += 1
        if self._faults > self._limits.faults:
            self.ending = StreamEnd.GARBAGE
        self._report(
            f"error.{code}",
            1,
            now,
            lambda count: control.Error(
                sequence=self._next(), code=code, message=message, count=count
            ),
        )

    def _report(
        self, kind: str, amount: int, now: float, say: Callable[[int], control.Said]
    ) -> None:
        """Says it now, or a second after the last of its kind."""
        report = self._reports.get(kind)
        if report is None:
            report = self._reports[kind] = _Report(say)
        report.amount += amount
        self._tell(report, now)

    def tell_rest(self, now: float) -> None:
        """Says what was too soon to be said when it happened."""
        for report in self._reports.values():
            if report.amount and not self._is_away:
                self._tell(report, now)

    def _tell(self, report: "_Report", now: float) -> None:
        if now - report.said >= _EVERY:
            self._say(report.say(report.amount))
            report.said, report.amount = now, 0

    def _behind(self, milliseconds: int) -> control.Behind:
        return control.Behind(sequence=self._next(), dropped_ms=milliseconds)

    def _overflow(self, milliseconds: int) -> control.Overflow:
        return control.Overflow(sequence=self._next(), dropped_ms=milliseconds)


class _Report:
    """Of one kind of event: what was not told yet, when the last was, and in which words."""

    __slots__ = ("amount", "said", "say")

    def __init__(self, say: Callable[[int], control.Said]) -> None:
        self.amount = 0
        self.said = float("-inf")
        self.say = say


_ULAW = (b"\x00", b"\x80")
