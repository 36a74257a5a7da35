"""Phones made of SIPp: it speaks SIP, by the scenarios in tests/data/sipp, and is told what to do.

SIPp has a connection for third-party call control (3PCC): commands begin and steer calls, and
scenarios report by it what happened. A `Caller` listens for commands, a `Callee` connects to us and
reports the calls that come in. Each call has an RTP stream of its own (`phone_media`).
"""

import asyncio
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.lab import rootfs
from deploy.lab.lab import Lab
from deploy.lab.network import SIP_PORT
from deploy.lab.paths import PROJECT
from deploy.lab.rootfs import Bind
from tests.support.phone_media import Media, MediaBoard
from tests.support.phone_process import end, is_free

SCENARIOS = PROJECT / "tests" / "data" / "sipp"

_END = b"\x1b"
_START_SECONDS = 10.0
_MOST_TOLD = 10
_ENDINGS = ("left", "closed", "refused", "canceled", "bye refused")


@dataclass(frozen=True, slots=True)
class Report:
    """Something that happened to a call: `message` is the SIP message that made it happen."""

    event: str
    message: str
    at: float

    @property
    def status(self) -> int:
        """The status code, of an answer."""
        found = re.match(r"SIP/2\.0 (\d{3})", self.message)
        assert found, f"not an answer: {self.message[:80]}"
        return int(found[1])

    def header(self, name: str) -> str:
        """The first header of that name, or an empty text."""
        found = re.search(rf"^{name}: *(.*?)\r?$", self.message, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else ""

    @property
    def media(self) -> tuple[str, int]:
        """Where the other side wants its audio, from its SDP."""
        address = re.search(r"^c=IN IP4 ([\d.]+)", self.message, re.MULTILINE)
        port = re.search(r"^m=audio (\d+) RTP/AVP 0\b", self.message, re.MULTILINE)
        assert address, f"no address in {self.message}"
        assert port, f"no PCMU in {self.message}"
        return address[1], int(port[1])


class SippCall:
    """One call of a SIPp phone."""

    def __init__(self, phone: "SippPhone", call_id: str, media: Media) -> None:
        self.call_id = call_id
        self.media = media
        self.reports: list[Report] = []
        self._phone = phone
        self._news = asyncio.Condition()
        self._cseq = 1

    async def take(self, report: Report) -> None:
        """For the phone: something happened."""
        if report.event in ("answered", "reinvited") and "\nm=audio" in report.message:
            self.media.send_to(*report.media)
        async with self._news:
            self.reports.append(report)
            self._news.notify_all()

    def report(self, event: str) -> Report | None:
        """The first of that kind, where there is one."""
        return next((report for report in self.reports if report.event == event), None)

    @property
    def has_ended(self) -> bool:
        return any(report.event in _ENDINGS for report in self.reports)

    async def expect(self, event: str, within: float = 8.0, number: int = 1) -> Report:
        """The `number`th report of that kind, now or later.

        Raises:
            AssertionError: it did not come in that time, or the call ended without it.
        """
        try:
            async with asyncio.timeout(within), self._news:
                while True:
                    found = [report for report in self.reports if report.event == event]
                    if len(found) >= number:
                        return found[number - 1]
                    assert not self.has_ended, f"ended without {event!r}: {self}"
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {event!r} within {within} s: {self}") from None

    async def bye(self, proxy: str | None = None) -> Report:
        """Hang up; by that proxy, where one is named. Returns when that is acknowledged."""
        self._in_dialog("bye", "sendrecv", proxy)
        return await self.expect("closed")

    async def leave(self) -> Report:
        """Hang up a call that was answered by this phone."""
        self._phone.command(self, Do="bye")
        return await self.expect("closed")

    async def reinvite(self, direction: str = "sendrecv", proxy: str | None = None) -> Report:
        """Offer anew, for example `sendonly` to hold."""
        before = sum(report.event == "reinvited" for report in self.reports)
        self._in_dialog("reinvite", direction, proxy)
        return await self.expect("reinvited", number=before + 1)

    def _in_dialog(self, command: str, direction: str, proxy: str | None) -> None:
        self._cseq += 1
        self._phone.command(
            self,
            Do=command,
            Cseq=str(self._cseq),
            Direction=direction,
            Proxy=proxy or self._phone.proxy,
        )

    def cancel(self, proxy: str | None = None) -> None:
        """Give up a call that is not answered; by that proxy, where one is named."""
        self._phone.command(self, Do="cancel", Proxy=proxy or self._phone.proxy)

    def ring(self) -> None:
        """Say 180."""
        self._phone.command(self, Do="ring", Port=str(self.media.port))

    async def answer(self) -> Report:
        """Say 200, and return when that is acknowledged."""
        invited = self.report("invited")
        assert invited is not None
        self.media.send_to(*invited.media)
        self._phone.command(self, Do="answer", Port=str(self.media.port))
        return await self.expect("answered")

    def refuse(self, status: int) -> None:
        """Say no: 404, 480, 486, 500, 503 or 603."""
        self._phone.command(self, Do=f"refuse{status}", Port=str(self.media.port))

    def __str__(self) -> str:
        begun = self.media.begun
        story = ", ".join(f"{r.event} at {r.at - begun:.2f} s" for r in self.reports) or "nothing"
        return f"SIP call {self.call_id}: {story}; {self.media.heard()}"


@dataclass
class SippPhone:
    """A SIPp process, and the connection over which it is steered."""

    lab: Lab
    host: int
    folder: Path
    calls: dict[str, SippCall] = field(default_factory=dict)

    kind = ""

    def __post_init__(self) -> None:
        self.address = self.lab.farm.network.address(9, self.host)
        self.proxy = self.lab.farm.network.external_sip
        self.board = MediaBoard(self.address)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def uri(self) -> str:
        """Where this phone can be called."""
        return f"sip:{{user}}@{self.address}:{SIP_PORT}"

    @property
    def log(self) -> Path:
        """All SIP messages that it sent and received."""
        return self.folder / f"{self.kind}-{self.host}.sip.log"

    def command(self, call: SippCall, **fields: str) -> None:
        """Tell SIPp what to do with a call."""
        lines = [f"Call-ID: {call.call_id}", *(f"{name}: {fields[name]}" for name in fields)]
        assert self._writer is not None
        self._writer.write("\r\n".join([*lines, ""]).encode() + _END)

    async def _launch(self, control: str, extra: Sequence[str] = ()) -> None:
        argv = ["sipp", f"{self.proxy}:{SIP_PORT}", "-sf", str(SCENARIOS / f"{self.kind}.xml")]
        argv += ["-i", self.address, "-bind_local", "-p", str(SIP_PORT), "-ci", self.address]
        argv += ["-3pcc", control, "-nostdin", *extra]
        argv += ["-trace_msg", "-message_file", str(self.log), "-trace_err", "-error_file"]
        argv += [str(self.log.with_suffix(".errors"))]
        binds = [Bind(SCENARIOS), Bind(self.folder, writable=True)]
        line = rootfs.command(self.lab.paths, argv, binds, folder=str(self.folder))
        with (self.folder / f"{self.kind}-{self.host}.out").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *line, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                text = (await reader.readuntil(_END))[:-1].decode(errors="replace").lstrip()
                await self._report(text)
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def _report(self, text: str) -> None:
        head, _, message = text.replace("\r\n", "\n").partition("\n\n")
        fields = dict(line.split(": ", 1) for line in head.split("\n") if ": " in line)
        report = Report(fields["Event"], message.lstrip("\n"), time.monotonic())
        call_id = fields["Call-ID"]
        if call_id in self.calls:
            await self.calls[call_id].take(report)
            return
        call = SippCall(self, call_id, await self.board.open())
        self.calls[call_id] = call
        await call.take(report)
        await self._arrived(call)

    async def _arrived(self, call: SippCall) -> None:
        raise AssertionError(f"a call that nobody made: {call.call_id}")

    async def stop(self) -> None:
        """End SIPp and all streams, leaving calls as they are."""
        await end(self._process, self.address)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)
        await self.board.close()

    def __str__(self) -> str:
        calls = sorted(self.calls.values(), key=lambda call: call.has_ended)
        lines = [f"{self.kind} {self.address}: {len(calls)} calls (SIP messages in {self.log})"]
        return "\n  ".join([*lines, *map(str, calls[:_MOST_TOLD])])


class Caller(SippPhone):
    """Places calls through the SIP load balancer, or by a certain proxy."""

    kind = "caller"

    async def start(self, proxy: str | None = None) -> "Caller":
        """Return when it takes commands."""
        self.proxy = proxy or self.proxy
        port = _free_port()
        await self._launch(f"{self.address}:{port}")
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(self.address, port)
                break
            except OSError:
                assert time.monotonic() < until, f"SIPp did not start: {self.log}"
                await asyncio.sleep(0.02)
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def call(self, number: str, source: str = "+493012345678") -> SippCall:
        """Send an INVITE, and return at once."""
        call = SippCall(self, uuid.uuid4().hex, await self.board.open())
        self.calls[call.call_id] = call
        self.command(call, Number=number, Source=source, Port=str(call.media.port))
        return call

    async def answered_call(self, number: str, within: float = 8.0) -> SippCall:
        """Send an INVITE, and return when it is answered."""
        call = await self.call(number)
        await call.expect("answered", within)
        return call


class Callee(SippPhone):
    """Takes calls: each waits to be rung, answered or refused."""

    kind = "callee"

    async def start(self) -> "Callee":
        """Return when it listens for SIP."""
        self._waiting: list[SippCall] = []
        self._news = asyncio.Condition()
        connected = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writer = writer
            connected.set()
            await self._read(reader)

        self._server = await asyncio.start_server(accept, self.address, 0)
        port = self._server.sockets[0].getsockname()[1]
        await self._launch(f"{self.address}:{port}")
        async with asyncio.timeout(_START_SECONDS):
            await connected.wait()
            while is_free(self.address):
                await asyncio.sleep(0.02)
        return self

    async def _arrived(self, call: SippCall) -> None:
        async with self._news:
            self._waiting.append(call)
            self._news.notify_all()

    async def incoming(self, user: str = "", within: float = 8.0) -> SippCall:
        """The next call that comes in; to that user, where one is named.

        Raises:
            AssertionError: none came.
        """
        try:
            async with asyncio.timeout(within), self._news:
                await self._news.wait_for(lambda: any(self._calls_to(user)))
                call = next(self._calls_to(user))
                self._waiting.remove(call)
        except TimeoutError:
            raise AssertionError(f"nobody called {user} within {within} s: {self}") from None
        return call

    def _calls_to(self, user: str) -> Iterator[SippCall]:
        called = f"INVITE sip:{user}@" if user else "INVITE "
        return (call for call in self._waiting if call.reports[0].message.startswith(called))

    async def stop(self) -> None:
        await super().stop()
        self._server.close()


def _free_port() -> int:
    """SIPp listens for commands on all addresses, so the port must be free on all."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
