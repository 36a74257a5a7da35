"""A softphone: baresip without a screen. It does all by itself, SIP, RTP, audio and keys.

It is steered over its own control connection (module ctrl_tcp, JSON in netstrings) and writes what it
hears to a WAV file.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.lab import rootfs
from deploy.lab.lab import Lab
from deploy.lab.network import SIP_PORT
from deploy.lab.rootfs import Bind
from tests.support.phone_audio import Samples, Tone, read_wav, tones
from tests.support.phone_process import end

_CONTROL_PORT = 4444
_START_SECONDS = 10.0

# Codecs come before accounts, which name them. ausine knows 48 kHz only.
_CONFIG = """\
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module ausine.so
module account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {address}:{control}
net_interface {address}
sip_listen {address}:{sip}
sip_transports udp
audio_player aufile,{folder}/heard.wav
audio_source ausine,{hum}
audio_alert aufile,{folder}/alert.wav
ausrc_srate 48000
ausrc_channels 1
auplay_srate 8000
auplay_channels 1
rtp_ports 20000-21000
"""

_ACCOUNT = (
    "<sip:{user}@{address}>;regint=0;audio_codecs=PCMU/8000/1;answermode=manual;"
    'dtmfmode=rtpevent;outbound="sip:{proxy}:{sip}"\n'
)


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """Something that the softphone says has happened."""

    kind: str
    detail: str
    at: float


class Softphone:
    """One baresip at an address of its own. It hums at `hum` Hz where others speak."""

    def __init__(
        self, lab: Lab, host: int, folder: Path, *, user: str = "493012345678", hum: int = 200
    ) -> None:
        self.address = lab.farm.network.address(9, host)
        self.events: list[PhoneEvent] = []
        self._lab = lab
        self._folder = folder / f"baresip-{host}"
        self._user = user
        self._hum = hum
        self._news = asyncio.Condition()
        self._listening = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def uri(self) -> str:
        """Where it can be called."""
        return f"sip:{self._user}@{self.address}:{SIP_PORT}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self._folder / "baresip.log"

    @property
    def heard_file(self) -> Path:
        """What it hears, as WAV."""
        return self._folder / "heard.wav"

    async def start(self) -> "Softphone":
        """Return when it takes commands."""
        self._configure()
        argv = ["baresip", "-f", str(self._folder), "-s"]
        binds = [Bind(self._folder, writable=True)]
        line = rootfs.command(self._lab.paths, argv, binds, folder=str(self._folder))
        with self.log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *line, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(self.address, _CONTROL_PORT)
                break
            except OSError:
                assert time.monotonic() < until, f"baresip did not start: {self.log}"
                await asyncio.sleep(0.05)
        self._reading = asyncio.create_task(self._read(reader))
        # It tells events to connections that it has accepted: an answer proves that it has.
        self._command("reginfo")
        async with asyncio.timeout(_START_SECONDS):
            await self._listening.wait()
        return self

    def _configure(self) -> None:
        values = {
            "address": self.address,
            "control": _CONTROL_PORT,
            "folder": self._folder,
            "hum": self._hum,
            "proxy": self._lab.farm.network.external_sip,
            "sip": SIP_PORT,
            "user": self._user,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        self.heard_file.unlink(missing_ok=True)
        (self._folder / "config").write_text(_CONFIG.format_map(values))
        (self._folder / "accounts").write_text(_ACCOUNT.format_map(values))

    async def stop(self) -> None:
        """End baresip, and its call with it."""
        await end(self._process, self.address)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    # -- commands --------------------------------------------------------------------------

    def dial(self, number: str) -> None:
        """Call a number through the SIP load balancer."""
        self._command("dial", f"sip:{number}@{self._lab.farm.network.external_sip}")

    def answer(self) -> None:
        """Take the call that comes in."""
        self._command("accept")

    def hang_up(self) -> None:
        """End the call, or refuse it."""
        self._command("hangup")

    def press(self, key: str) -> None:
        """Press one key."""
        self._command("sndcode", key)

    def _command(self, name: str, parameters: str = "") -> None:
        assert self._writer is not None
        body = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._writer.write(b"%d:%b," % (len(body), body))

    # -- what happens ----------------------------------------------------------------------

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                message: dict[str, Any] = json.loads((await reader.readexactly(length + 1))[:-1])
                if message.get("event"):
                    await self._take(message)
                else:
                    self._listening.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def _take(self, message: dict[str, Any]) -> None:
        kind = str(message["type"]).removeprefix("CALL_").lower()
        async with self._news:
            event = PhoneEvent(kind, str(message.get("param", "")), time.monotonic())
            self.events.append(event)
            self._news.notify_all()

    async def expect(self, kind: str, within: float = 8.0) -> PhoneEvent:
        """The first event of that kind, now or later: ringing, incoming, established, closed.

        Raises:
            AssertionError: it did not come in that time.
        """
        try:
            async with asyncio.timeout(within), self._news:
                while True:
                    for event in self.events:
                        if event.kind == kind:
                            return event
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {kind!r} within {within} s: {self}") from None

    @property
    def is_closed(self) -> bool:
        """Whether a call has ended."""
        return any(event.kind == "closed" for event in self.events)

    # -- ear -------------------------------------------------------------------------------

    def samples(self) -> Samples:
        """All that was heard in the present or last call, as far as it is written to the file."""
        data = self.heard_file.read_bytes() if self.heard_file.is_file() else b""
        return read_wav(data) if len(data) > 44 else read_wav(_EMPTY_WAV)

    async def hears(self, frequency: float, within: float = 8.0, times: int = 1) -> Tone:
        """Return when such a tone is heard, for the `times`th time.

        Raises:
            AssertionError: it is not, in that time; says what was heard instead.
        """
        until = time.monotonic() + within
        while True:
            found = tones(self.samples())
            fitting = [tone for tone in found if abs(tone.frequency - frequency) < 10]
            if len(fitting) >= times:
                return fitting[times - 1]
            heard = ", ".join(map(str, found)) or "no tone"
            assert time.monotonic() < until, f"no tone of {frequency} Hz: {heard}"
            await asyncio.sleep(0.1)

    def __str__(self) -> str:
        begun = self.events[0].at if self.events else 0.0
        story = ", ".join(f"{e.kind} at {e.at - begun:.2f} s" for e in self.events)
        heard = ", ".join(map(str, tones(self.samples()))) or "no tone"
        return f"baresip {self.address} (log {self.log}): {story}; heard {heard}"


_EMPTY_WAV = (
    b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0"
)
