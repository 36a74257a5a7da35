"""`python -m tests.bench.stream_load JSON`: Asterisk and the applications of many streams, in one process.

It must cost less than what it measures, so it does by hand what a library would do for each packet: all RTP of
a millisecond leaves in one sendmmsg(2), each packet with a source address of its own (IP_PKTINFO, ip(7)); all
that comes back is read in one recvmmsg(2) and looked at when the run is over; every application sends the same
frame, masked with nothing but zeros (RFC 6455 §5.3 allows any key); most applications read five times a second,
and some at once: by these the delay is known.

Prints a line of JSON.
"""

import ctypes
import gc
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from evercall.media.audio import Coding
from evercall.media.encapsulation import open_framing
from evercall.media.framing import Framing
from evercall.media.g711 import linear_to_ulaw
from evercall.media.tone import tone
from tests.bench.accounting import machine_seconds, parse_stat
from tests.bench.errors import MeasurementFailed
from tests.bench.stream_server import HOST, Listening, call_id, source_address

SLOTS = 20
"""One each millisecond."""
STEP = 0.001
WARM_UP = 1.0
"""Seconds that do not count: queues fill, clocks meet."""
DRAIN = 0.3
SAMPLED = 40
"""Applications that read at once."""
SELDOM = 10
"""The others read every so many frames."""

PACKET = 172
_IP_PKTINFO, _SO_BINDTODEVICE = 8, 25
_RECEIVE = 512
_BUFFER = 4 * 1024 * 1024

_MESSAGE = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u8"),
        ("vector", "u8"),
        ("vector_length", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "u8"),
        ("length", "u8"),
    ]
)
"""`struct mmsghdr` on 64-bit Linux, its shorter fields with what pads them."""
_VECTOR = np.dtype([("base", "u8"), ("length", "u8")])
_CONTROL = np.dtype(
    [
        ("length", "u8"),
        ("level", "i4"),
        ("type", "i4"),
        ("interface", "i4"),
        ("source", "S4"),
        ("destination", "u4"),
        ("padding", "u4"),
    ]
)
"""`struct cmsghdr` with an `in_pktinfo`."""
_ADDRESS = struct.Struct("=H2s4s8x")

_libc = ctypes.CDLL(None, use_errno=True)
Bytes = npt.NDArray[np.uint8]


class Plan(msgspec.Struct):
    """What is to be done."""

    server: Listening
    core: int
    streams: int
    seconds: float
    encapsulation: str
    rate: int
    echo: bool = False


class Delays(msgspec.Struct):
    """In milliseconds."""

    p50: float
    p99: float
    most: float


class Outcome(msgspec.Struct):
    """What came of it. `to_call`: how much later than its earliest packet each packet of a stream came, by its
    timestamp. `to_application`: from Asterisk's sending to the application's reading. `received_*` are shares
    of what was sent. `load_late` is the load's own lateness. `foreign_cores` is what other programs kept busy."""

    streams: int
    to_call: Delays
    to_application: Delays
    received_call: float
    received_application: float
    load_late: Delays
    load_cores: float
    foreign_cores: float
    server_seconds: float
    seconds: float

    @property
    def microseconds(self) -> float:
        """Processor time of the server for 20 ms of one stream, both ways."""
        return self.server_seconds / self.seconds * 20_000 / self.streams

    def faults(self, most_ms: float) -> list[str]:
        """Why this was not held."""
        found = []
        for name, delays in (("call", self.to_call), ("application", self.to_application)):
            if delays.p99 >= most_ms:
                found.append(f"p99 to the {name} {delays.p99:.1f} ms")
        for name, share in (
            ("call", self.received_call),
            ("application", self.received_application),
        ):
            if share < 0.999:
                found.append(f"{100 * (1 - share):.1f} % of the audio did not reach the {name}")
        return found


def delays_of(seconds: npt.NDArray[np.float64]) -> Delays:
    """Raises MeasurementFailed where there is nothing."""
    if not len(seconds):
        raise MeasurementFailed("nothing arrived")
    p50, p99 = np.percentile(seconds, [50, 99])
    return Delays(1000 * float(p50), 1000 * float(p99), 1000 * float(seconds.max()))


class AsteriskSide:
    """The far ends of all legs: one socket, as many addresses."""

    def __init__(self, streams: int, server_port: int) -> None:
        self.arrived: list[tuple[float, Bytes]] = []
        self.sent = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"lo")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        # Bound to `lo`, so "all addresses" are 127.0.0.0/8.
        self._socket.bind(("0.0.0.0", 0))
        self.port: int = self._socket.getsockname()[1]
        self._file = self._socket.fileno()
        self._make_outgoing(streams, server_port)
        self._make_incoming()

    def _make_outgoing(self, streams: int, server_port: int) -> None:
        ports = server_port.to_bytes(2, "big")
        address = _ADDRESS.pack(socket.AF_INET, ports, socket.inet_aton(HOST))
        self._address = np.frombuffer(address, np.uint8).copy()
        self._packets = np.zeros((streams, PACKET), np.uint8)
        self._packets[:, 0] = 0x80
        self._packets[:, 12:] = np.frombuffer(linear_to_ulaw(tone(8000, [440], 0.02)), np.uint8)
        numbers = np.arange(streams, dtype=">u4").view(np.uint8).reshape(streams, 4)
        self._packets[:, 8:12] = numbers
        self._control = np.zeros(streams, _CONTROL)
        self._control["length"] = 28
        self._control["type"] = _IP_PKTINFO
        self._control["source"] = [socket.inet_aton(source_address(n)) for n in range(streams)]
        # numpy takes zeros at the end of a string for its end; they are zeros in the memory all the same.
        vectors = np.zeros(streams, _VECTOR)
        vectors["base"] = self._packets.ctypes.data + PACKET * np.arange(streams, dtype="u8")
        vectors["length"] = PACKET
        messages = np.zeros(streams, _MESSAGE)
        messages["name"] = self._address.ctypes.data
        messages["name_length"] = _ADDRESS.size
        messages["vector"] = vectors.ctypes.data + 16 * np.arange(streams, dtype="u8")
        messages["vector_length"] = 1
        messages["control"] = self._control.ctypes.data + 32 * np.arange(streams, dtype="u8")
        messages["control_length"] = 32
        self._vectors, self._messages = vectors, messages

    def _make_incoming(self) -> None:
        self._received = np.zeros((_RECEIVE, 256), np.uint8)
        vectors = np.zeros(_RECEIVE, _VECTOR)
        vectors["base"] = self._received.ctypes.data + 256 * np.arange(_RECEIVE, dtype="u8")
        vectors["length"] = 256
        incoming = np.zeros(_RECEIVE, _MESSAGE)
        incoming["vector"] = vectors.ctypes.data + 16 * np.arange(_RECEIVE, dtype="u8")
        incoming["vector_length"] = 1
        self._incoming_vectors, self._incoming = vectors, incoming

    def send(self, first: int, last: int, tick: int) -> None:
        """The packets of these streams for this tick."""
        head = struct.pack("!HI", tick & 0xFFFF, tick * 160 & 0xFFFFFFFF)
        self._packets[first:last, 2:8] = np.frombuffer(head, np.uint8)
        while first < last:
            place = self._messages.ctypes.data + first * _MESSAGE.itemsize
            done = _libc.sendmmsg(self._file, ctypes.c_void_p(place), last - first, 0)
            if done <= 0:
                raise MeasurementFailed(f"sendmmsg: {os.strerror(ctypes.get_errno())}")
            first += done
            self.sent += done

    def receive(self) -> None:
        """Whatever has come."""
        place = ctypes.c_void_p(self._incoming.ctypes.data)
        while True:
            count = _libc.recvmmsg(self._file, place, _RECEIVE, socket.MSG_DONTWAIT, None)
            if count <= 0:
                return
            self.arrived.append((time.monotonic(), self._received[:count, :12].copy()))
            if count < _RECEIVE:
                return

    def lateness(self, since: float, until: float) -> tuple[int, npt.NDArray[np.float64]]:
        """How many packets came, and how late each was, beside the earliest of its stream."""
        parts = [part for part in self.arrived if since <= part[0] < until]
        if not parts:
            return 0, np.zeros(0)
        heads = np.concatenate([part[1] for part in parts])
        times = np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])
        stamps = heads[:, 4:8].copy().view(">u4").ravel().astype(np.int64)
        _, sources = np.unique(heads[:, 8:12].copy().view(">u4").ravel(), return_inverse=True)
        first = np.zeros(sources.max() + 1, np.int64)
        first[sources[::-1]] = stamps[::-1]
        # 32 bits wrap: the distance from the stream's first does not.
        elapsed = (stamps - first[sources]).astype(np.int32) / 8000
        offset = times - elapsed
        earliest = np.full(len(first), np.inf)
        np.minimum.at(earliest, sources, offset)
        return len(times), offset - earliest[sources]


class Application:
    """One WebSocket."""

    def __init__(self, port: int, path: str, expects_start: bool) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.messages = 0
        self._rest = b""
        self._ask(path)
        if expects_start:
            while not self._read_one():
                self._rest += self._more()
        self.socket.setblocking(False)

    def _ask(self, path: str) -> None:
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, self._rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise MeasurementFailed(f"no stream: {answer[:300].decode(errors='replace')}")

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise MeasurementFailed("the server closed a stream")
        return data

    def _read_one(self) -> int:
        """The operation code of one whole frame, 0 where there is none yet."""
        rest = self._rest
        if len(rest) < 4:
            return 0
        length, begin = rest[1] & 0x7F, 2
        if length == 126:
            length, begin = int.from_bytes(rest[2:4], "big"), 4
        if len(rest) < begin + length:
            return 0
        self._rest = rest[begin + length :]
        return rest[0] & 0x0F

    def read(self) -> int:
        """How many binary messages have come since."""
        try:
            self._rest += self._more()
        except BlockingIOError:
            return 0
        count = 0
        while code := self._read_one():
            if code == 8:
                raise MeasurementFailed("the server closed a stream")
            count += code == 2
        self.messages += count
        return count


def frames_of(framing: Framing) -> Callable[[], bytes]:
    """Makes one frame after the other, as all applications send it."""
    audio_format = framing.format
    audio = tone(audio_format.rate, [440], 0.02)
    if audio_format.coding is Coding.ULAW:
        audio = linear_to_ulaw(audio)

    def make() -> bytes:
        message = framing.audio(audio)
        return b"\x82\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message

    return make


class Load:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._asterisk = AsteriskSide(plan.streams, plan.server.udp)
        query = f"encapsulation={plan.encapsulation}&rate={plan.rate}"
        self._applications = [
            Application(
                plan.server.tcp,
                f"/v1.0/calls/{call_id(number, self._asterisk.port)}/media_stream?{query}",
                not plan.echo,
            )
            for number in range(plan.streams)
        ]
        self._make = frames_of(open_framing(plan.encapsulation, plan.rate, seed=1 << 70))
        bounds = [plan.streams * slot // SLOTS for slot in range(SLOTS + 1)]
        self._slots = list(pairwise(bounds))
        apart = max(1, plan.streams // SAMPLED)
        self._sampled = {
            self._applications[number].socket.fileno(): (number, self._applications[number])
            for number in range(0, plan.streams, apart)
        }
        self._poll = select.epoll()
        for file in self._sampled:
            self._poll.register(file, select.EPOLLIN)
        self._slot_of = np.zeros(plan.streams, np.int64)
        for slot, (first, last) in enumerate(self._slots):
            self._slot_of[first:last] = slot
        self._sent_at: list[float] = []
        self._delays: list[tuple[float, float]] = []

    def run(self) -> Outcome:
        """Sends for so long."""
        plan = self.plan
        steps = int((WARM_UP + plan.seconds) / STEP / SLOTS) * SLOTS
        warm = int(WARM_UP / STEP)
        gc.collect()
        gc.disable()
        begin = time.monotonic() + 0.05
        own = used = machine = 0.0
        frame = b""
        for step in range(steps):
            if step == warm:
                own, machine = time.process_time(), machine_seconds()
                used = _seconds_of(plan.server.pid)
            delay = begin + step * STEP - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            self._sent_at.append(time.monotonic())
            tick, slot = divmod(step, SLOTS)
            if slot == 0:
                frame = self._make()
            self._send(tick, slot, frame)
            self._receive(tick, slot)
        spent = _Spent(
            wall=time.monotonic() - begin - WARM_UP,
            server=_seconds_of(plan.server.pid) - used,
            load=time.process_time() - own,
            machine=machine_seconds() - machine,
        )
        self._drain(steps)
        return self._outcome(begin, steps, spent)

    def _send(self, tick: int, slot: int, frame: bytes) -> None:
        first, last = self._slots[slot]
        if first < last:
            self._asterisk.send(first, last, tick)
        for application in self._applications[first:last]:
            if application.socket.send(frame) != len(frame):
                raise MeasurementFailed("the server reads too slowly")

    def _receive(self, tick: int, slot: int) -> None:
        self._asterisk.receive()
        self._read_sampled()
        if tick % SELDOM == slot % SELDOM:
            first, last = self._slots[slot]
            for application in self._applications[first:last]:
                if application.socket.fileno() not in self._sampled:
                    application.read()

    def _read_sampled(self) -> None:
        for file, _ in self._poll.poll(0):
            number, application = self._sampled[file]
            done, slot = application.messages, int(self._slot_of[number])
            count = application.read()
            now = time.monotonic()
            for message in range(done, done + count):
                sent = self._sent_at[message * SLOTS + slot]
                self._delays.append((sent, now - sent))

    def _drain(self, steps: int) -> None:
        until = time.monotonic() + DRAIN
        while time.monotonic() < until:
            self._asterisk.receive()
            self._read_sampled()
            time.sleep(STEP)
        for application in self._applications:
            while application.messages * SLOTS < steps and application.read():
                pass

    def _outcome(self, begin: float, steps: int, spent: "_Spent") -> Outcome:
        plan, since = self.plan, begin + WARM_UP
        arrived, lateness = self._asterisk.lateness(since, since + spent.wall)
        delays = np.array([delay for sent, delay in self._delays if sent >= since])
        due = begin + STEP * np.arange(steps)
        read = sum(application.messages for application in self._applications)
        foreign = (spent.machine - spent.server - spent.load) / spent.wall
        return Outcome(
            streams=plan.streams,
            to_call=delays_of(lateness),
            to_application=delays_of(delays),
            received_call=arrived / (plan.streams * spent.wall / 0.02),
            received_application=read / self._asterisk.sent,
            load_late=delays_of(np.array(self._sent_at) - due),
            load_cores=spent.load / spent.wall,
            foreign_cores=max(0.0, foreign),
            server_seconds=spent.server,
            seconds=spent.wall,
        )


class _Spent(msgspec.Struct):
    """Seconds since the warm-up: by the clock, and of processors."""

    wall: float
    server: float
    load: float
    machine: float


def _seconds_of(pid: int) -> float:
    return parse_stat(Path(f"/proc/{pid}/stat").read_text())[1]


def main() -> int:
    """Does what the argument says."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    os.sched_setaffinity(0, {plan.core})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        outcome = Load(plan).run()
    except (MeasurementFailed, OSError) as fault:
        print(fault, file=sys.stderr)
        return 1
    print(msgspec.json.encode(outcome).decode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
