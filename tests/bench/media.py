"""`python -m tests.bench.media`: microseconds per 20 ms frame of each piece of the media library, beside the
best alternatives that one can install.

Ours and theirs take turns within one run, and the median of the rounds counts, so that what disturbs one
disturbs the other. Alternatives that are no dependencies of the project (aiortc, PyAV, SciPy, samplerate) are
left out where they are not installed. Needs no lab.
"""

import argparse
import heapq
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deploy.lab.paths import PROJECT
from evercall.media import g711, rtp
from evercall.media._audioop import audioop
from evercall.media.audio import TELEPHONE, AudioFormat, Coding
from evercall.media.audiosocket import AudioSocketFraming
from evercall.media.dtmf import DtmfDetector
from evercall.media.g722 import G722Decoder, G722Encoder
from evercall.media.jitter import JitterBuffer
from evercall.media.l16 import linear_to_l16
from evercall.media.mix import add, mix_minus
from evercall.media.opus import OpusDecoder, OpusEncoder, available
from evercall.media.pacer import Pacer
from evercall.media.playout import Playout
from evercall.media.resample import Resampler
from evercall.media.rtp_framing import RtpFraming
from evercall.media.sln import SlnFraming
from evercall.media.telephone_event import parse_events
from evercall.media.tone import ToneGenerator, key_tones, tone
from evercall.media.wav import read_wav, write_wav
from tests.bench import machine
from tests.bench.bench import Bench
from tests.bench.report import Budget, Report, Section, shown

Work = Callable[[], object]
Make = Callable[[], Work]

SAMPLES = np.dtype("<i2")
ULAW = g711.linear_to_ulaw(tone(8000, [440, 700], 0.02))
LINEAR = tone(8000, [440, 700], 0.02)
PARTIES = 20
STREAMS = 1000


@dataclass(frozen=True, slots=True)
class Alternative:
    """Something else that does it. `make` raises ImportError where it is not installed."""

    name: str
    make: Make


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that is measured; `frames` are worked off by one call."""

    key: str
    text: str
    make: Make
    alternatives: tuple[Alternative, ...] = ()
    budget: float | None = None
    frames: int = 1


@dataclass(slots=True)
class Measured:
    """Microseconds per frame, and those of the alternatives that are installed."""

    piece: Piece
    time: float
    others: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def run(bench: Bench) -> None:
    """As a part of `make bench`: ours, and how many times longer the best alternative takes."""
    section = Section("Media library, per 20 ms frame")
    for measured in measure(bench.quick):
        piece = measured.piece
        budget = Budget(piece.budget) if piece.budget else None
        section.add(f"media_{piece.key}", piece.text, measured.time, "us", budget)
        if measured.others:
            name, best = min(measured.others.items(), key=lambda item: item[1])
            section.add(f"media_{piece.key}_ratio", f"  {name} / ours", best / measured.time, "x")
    bench.show(section)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, writes the file. The exit status is 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.media", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some seconds, coarser figures")
    parser.add_argument("--file", type=Path, default=PROJECT / ".lab" / "bench-media.json")
    options = parser.parse_args(arguments)
    report = Report(machine.facts(), {"quick": options.quick})
    section = Section("Media library, per 20 ms frame")
    missing: set[str] = set()
    print(f"{'piece':<44}{'ours':>9}  beside, in times of ours")
    for measured in measure(options.quick):
        piece = measured.piece
        budget = Budget(piece.budget) if piece.budget else None
        section.add(piece.key, piece.text, measured.time, "us", budget)
        beside = []
        for name, other in sorted(measured.others.items(), key=lambda item: item[1]):
            section.add(f"{piece.key}: {name}", name, other, "us")
            beside.append(f"{name} {shown(other / measured.time)}x")
        missing.update(measured.missing)
        verdict = f"  [budget {budget}: {section_verdict(budget, measured.time)}]" if budget else ""
        print(f"{piece.text:<44}{shown(measured.time):>6} us  {', '.join(beside)}{verdict}")
    if missing:
        note = f"not installed, so not measured: {', '.join(sorted(missing))}"
        section.notes.append(note)
        print(note)
    report.sections.append(section)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    report.write(options.file)
    print(f"figures in {options.file}")
    return 0


def section_verdict(budget: Budget, value: float) -> str:
    """In one word."""
    return "ok" if budget.met_by(value) else "missed"


def measure(quick: bool) -> Iterator[Measured]:
    """Each piece in turn."""
    rounds, seconds = (5, 0.005) if quick else (15, 0.02)
    for piece in PIECES:
        works: dict[str, Work] = {"": piece.make()}
        missing = []
        for alternative in piece.alternatives:
            try:
                works[alternative.name] = alternative.make()
            except ImportError as error:
                missing.append(str(error.name).partition(".")[0])
        times: dict[str, list[float]] = {name: [] for name in works}
        counts = {name: _count(work, seconds) for name, work in works.items()}
        for _ in range(rounds):
            for name, work in works.items():
                times[name].append(_time(work, counts[name]))
        medians = {
            name: statistics.median(rounds_) / piece.frames * 1e6 for name, rounds_ in times.items()
        }
        ours = medians.pop("")
        yield Measured(piece, ours, medians, missing)


def _count(work: Work, seconds: float) -> int:
    work()
    once = max(_time(work, 3), 1e-8)
    return max(1, round(seconds / once))


def _time(work: Work, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - began) / count


# -- RTP ---------------------------------------------------------------------------------------


def _packet() -> bytes:
    return _sender().audio(ULAW, 160)


def _sender() -> rtp.RtpSender:
    return rtp.RtpSender(7, rtp.PCMU, sequence=0, timestamp=0)


def rtp_parse() -> Work:
    data = _packet()
    return lambda: rtp.parse(data)


def rtp_build() -> Work:
    sender = _sender()
    return lambda: sender.audio(ULAW, 160)


def aiortc_parse() -> Work:
    from aiortc.rtp import RtpPacket  # type: ignore[import-not-found]

    data = _packet()
    return lambda: RtpPacket.parse(data)


def aiortc_build() -> Work:
    from aiortc.rtp import RtpPacket

    packet = RtpPacket.parse(_packet())
    return lambda: packet.serialize()


def event_parse() -> Work:
    payload = bytes.fromhex("058a0320")
    return lambda: parse_events(payload)


# -- G.711 -------------------------------------------------------------------------------------


def numpy_ulaw_decode() -> Work:
    table = np.frombuffer(g711.ulaw_to_linear(bytes(range(256))), SAMPLES)
    return lambda: table.take(np.frombuffer(ULAW, np.uint8)).tobytes()


def pyav_codec(name: str, frame: bytes) -> Make:
    """Decodes with PyAV, as one does it: a packet in, a frame out, its samples as bytes."""

    def make() -> Work:
        import av  # type: ignore[import-not-found]

        codec = av.CodecContext.create(name, "r")
        codec.sample_rate = 8000
        codec.layout = "mono"
        packet = av.Packet(frame)
        return lambda: [bytes(decoded.planes[0]) for decoded in codec.decode(packet)]

    return make


def two_steps(decode: Callable[[bytes, int], bytes], encode: Callable[[bytes, int], bytes]) -> Make:
    return lambda: lambda: encode(decode(ULAW, 2), 2)


# -- rates -------------------------------------------------------------------------------------


def _linear(rate: int) -> bytes:
    return tone(rate, [440, 700], 0.02)


def resampling(source: int, target: int) -> Make:
    def make() -> Work:
        resampler, data = Resampler(source, target), _linear(source)
        return lambda: resampler.resample(data)

    return make


def soxr_stream(source: int, target: int, vr: bool = False) -> Make:
    def make() -> Work:
        import soxr  # type: ignore[import-untyped]

        stream = soxr.ResampleStream(source, target, 1, dtype="int16", quality="HQ", vr=vr)
        data = _linear(source)
        return lambda: stream.resample_chunk(np.frombuffer(data, np.int16)).tobytes()

    return make


def ratecv(source: int, target: int) -> Make:
    def make() -> Work:
        data = _linear(source)
        state = audioop.ratecv(data, 2, 1, source, target, None)[1]
        return lambda: audioop.ratecv(data, 2, 1, source, target, state)

    return make


def scipy_poly(source: int, target: int) -> Make:
    def make() -> Work:
        from scipy.signal import firwin, upfirdn  # type: ignore[import-untyped]

        divisor = math.gcd(source, target)
        up, down = target // divisor, source // divisor
        taps = firwin(59 * max(up, down) // 2, 1 / max(up, down)).astype(np.float32) * up
        data = _linear(source)

        def work() -> bytes:
            filtered = upfirdn(taps, np.frombuffer(data, SAMPLES).astype(np.float32), up, down)
            return bytes(filtered.clip(-32768, 32767).astype(SAMPLES).tobytes())

        return work

    return make


def samplerate_stream(source: int, target: int) -> Make:
    def make() -> Work:
        import samplerate  # type: ignore[import-not-found]

        converter = samplerate.Resampler("sinc_fastest", channels=1)
        data = _linear(source)

        def work() -> bytes:
            samples = np.frombuffer(data, SAMPLES).astype(np.float32) / 32768
            converted = converter.process(samples, target / source)
            return bytes((converted * 32767).astype(SAMPLES).tobytes())

        return work

    return make


def rate_piece(source: int, target: int, budget: float | None = None) -> Piece:
    pair = (source, target)
    return Piece(
        f"resample_{source}_{target}",
        f"resample {source} to {target} Hz",
        resampling(*pair),
        (
            Alternative("soxr HQ (100 ms at once)", soxr_stream(*pair)),
            Alternative("soxr HQ vr", soxr_stream(*pair, True)),
            Alternative("audioop.ratecv (linear)", ratecv(*pair)),
            Alternative("scipy upfirdn", scipy_poly(*pair)),
            Alternative("libsamplerate", samplerate_stream(*pair)),
        ),
        budget,
    )


# -- in time -----------------------------------------------------------------------------------


def jitter() -> Work:
    buffer = JitterBuffer()
    state = [0]

    def work() -> object:
        number = state[0]
        state[0] = number + 1
        now = number * 0.02
        buffer.add(number & 0xFFFF, number * 160 & 0xFFFFFFFF, ULAW, now)
        return buffer.get(now + 0.021)

    return work


def aiortc_jitter() -> Work:
    from aiortc.jitterbuffer import JitterBuffer as Other  # type: ignore[import-not-found]
    from aiortc.rtp import RtpPacket

    buffer = Other(capacity=16, prefetch=4)
    state = [0]
    packet = RtpPacket.parse(_packet())

    def work() -> object:
        number = state[0]
        state[0] = number + 1
        packet.sequence_number = number & 0xFFFF
        packet.timestamp = number * 160 & 0xFFFFFFFF
        packet._data = ULAW
        return buffer.add(packet)

    return work


def playing(size: int) -> Make:
    """Pieces of so many frames go in, frames come out."""

    def make() -> Work:
        queue = Playout(TELEPHONE, 1 << 20, 0)
        piece = ULAW * size

        def work() -> None:
            queue.put(piece)
            for _ in range(size):
                queue.take()

        return work

    return make


def playing_bytearray(size: int) -> Make:
    def make() -> Work:
        queue = bytearray()
        piece = ULAW * size

        def work() -> None:
            queue.extend(piece)
            for _ in range(size):
                bytes(queue[:160])
                del queue[:160]

        return work

    return make


def pacing() -> Work:
    """One interval for all streams, in its slots."""
    pacer: Pacer[int] = Pacer(0.0)
    for stream in range(STREAMS):
        pacer.add(stream)
    pacer.due(0.0)
    state = [0]

    def work() -> None:
        for _ in range(4):
            state[0] += 1
            for due in pacer.due(state[0] * 0.005):
                for _stream in due.streams:
                    pass

    return work


def pacing_heap() -> Work:
    """A deadline for each stream."""
    heap = [(0.0, stream) for stream in range(STREAMS)]
    state = [0]

    def work() -> None:
        state[0] += 1
        now = state[0] * 0.02
        while heap[0][0] < now:
            at, stream = heap[0]
            heapq.heapreplace(heap, (at + 0.02, stream))

    return work


# -- framings, whole paths ---------------------------------------------------------------------


def framing_receive_rtp() -> Work:
    sender, framing = _sender(), RtpFraming(_sender())
    packets = iter([sender.audio(ULAW, 160) for _ in range(65_536)] * 200)
    return lambda: framing.receive(next(packets))


def framing_receive_sln() -> Work:
    framing = SlnFraming(8000)
    return lambda: framing.receive(LINEAR)


def framing_receive_audiosocket() -> Work:
    framing = AudioSocketFraming(8000)
    message = framing.audio(LINEAR)
    return lambda: framing.receive(message)


def framing_audio_audiosocket() -> Work:
    framing = AudioSocketFraming(8000)
    return lambda: framing.audio(LINEAR)


def path_to_sln() -> Work:
    """A packet of Asterisk to a message for the application."""
    data, framing = _packet(), SlnFraming(8000)
    return lambda: framing.audio(g711.ulaw_to_linear(rtp.parse(data).payload))


def path_from_sln() -> Work:
    """A message of the application to a packet for Asterisk."""
    framing, queue, sender = SlnFraming(8000), Playout(TELEPHONE, 1 << 20, 0), _sender()

    def work() -> bytes:
        for item in framing.receive(LINEAR):
            queue.put(g711.linear_to_ulaw(item.data))  # type: ignore[union-attr]
        return sender.audio(queue.take().data or b"", 160)

    return work


def path_from_rtp() -> Work:
    sender, framing = _sender(), RtpFraming(_sender())
    packets = iter([sender.audio(ULAW, 160) for _ in range(65_536)] * 200)
    queue = Playout(TELEPHONE, 1 << 20, 0)

    def work() -> bytes:
        for item in framing.receive(next(packets)):
            queue.put(item.data)  # type: ignore[union-attr]
        return sender.audio(queue.take().data or b"", 160)

    return work


# -- codecs ------------------------------------------------------------------------------------


def g722_encode() -> Work:
    encoder, data = G722Encoder(), _linear(16_000)
    return lambda: encoder.encode(data)


def g722_decode() -> Work:
    decoder, data = G722Decoder(), G722Encoder().encode(_linear(16_000))
    return lambda: decoder.decode(data)


def opus_encode() -> Work:
    if not available():
        raise ImportError("no libopus", name="libopus")
    encoder, data = OpusEncoder(48_000), _linear(48_000)
    return lambda: encoder.encode(data)


def opus_decode() -> Work:
    decoder, data = OpusDecoder(48_000), OpusEncoder(48_000).encode(_linear(48_000))
    return lambda: decoder.decode(data)


def pyav_encode(name: str, rate: int) -> Make:
    def make() -> Work:
        import av

        codec = av.CodecContext.create(name, "w")
        codec.sample_rate, codec.layout, codec.format = rate, "mono", "s16"
        if name == "libopus":
            codec.bit_rate = 24_000
        samples = np.frombuffer(_linear(rate), SAMPLES).reshape(1, -1)
        state = [0]

        def work() -> list[bytes]:
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, state[0]
            state[0] += samples.shape[1]
            return [bytes(packet) for packet in codec.encode(frame)]

        return work

    return make


def pyav_opus_decode() -> Work:
    packet = OpusEncoder(48_000).encode(_linear(48_000))
    return pyav_codec("libopus", packet)()


# -- signals -----------------------------------------------------------------------------------


def mixing() -> Work:
    frames = [LINEAR] * PARTIES
    return lambda: mix_minus(frames)


def mixing_audioop() -> Work:
    """All together once, then each one's own taken away again: without room for sums, so it clips."""
    frames = [audioop.mul(LINEAR, 2, 1 / PARTIES)] * PARTIES

    def work() -> list[bytes]:
        total = frames[0]
        for frame in frames[1:]:
            total = audioop.add(total, frame, 2)
        return [audioop.add(total, audioop.mul(frame, 2, -1), 2) for frame in frames]

    return work


def adding_numpy() -> Work:
    def work() -> bytes:
        total = np.frombuffer(LINEAR, SAMPLES).astype(np.int32) + np.frombuffer(LINEAR, SAMPLES)
        return bytes(total.clip(-32768, 32767).astype(SAMPLES).tobytes())

    return work


def detecting(data: bytes) -> Make:
    def make() -> Work:
        detector = DtmfDetector()
        return lambda: detector.detect(data)

    return make


def goertzel(data: bytes) -> Make:
    """Eight filters in plain Python, without a look at anything but the powers."""

    def make() -> Work:
        samples = np.frombuffer(data, SAMPLES).tolist()
        factors = [
            2 * math.cos(2 * math.pi * hertz / 8000)
            for hertz in (697, 770, 852, 941, 1209, 1336, 1477, 1633)
        ]

        def work() -> list[float]:
            powers = []
            for factor in factors:
                one = two = 0.0
                for sample in samples:
                    one, two = sample + factor * one - two, one
                powers.append(one * one + two * two - factor * one * two)
            return powers

        return work

    return make


def generating() -> Work:
    generator = ToneGenerator(8000, [440])
    return lambda: generator.take(160)


def reading_wav() -> Work:
    content = write_wav(AudioFormat(Coding.LINEAR, 8000), LINEAR * 50)
    return lambda: read_wav(content)


def reading_wave() -> Work:
    import io
    import wave

    content = write_wav(AudioFormat(Coding.LINEAR, 8000), LINEAR * 50)

    def work() -> bytes:
        with wave.open(io.BytesIO(content)) as reader:
            samples: bytes = reader.readframes(reader.getnframes())
            return samples

    return work


_SPEECH = np.random.default_rng(1).normal(0, 3000, 160).astype(SAMPLES).tobytes()
_KEY = key_tones(8000, "5", 0.02, 0)

PIECES: tuple[Piece, ...] = (
    Piece("rtp_parse", "RTP parse", rtp_parse, (Alternative("aiortc", aiortc_parse),), 0.6),
    Piece("rtp_build", "RTP number and build", rtp_build, (Alternative("aiortc", aiortc_build),), 0.6),
    Piece("jitter", "jitter buffer add and get", jitter, (Alternative("aiortc add", aiortc_jitter),), 1.5),
    Piece(
        "ulaw_to_linear", "µ-law to linear", lambda: lambda: g711.ulaw_to_linear(ULAW),
        (Alternative("numpy table", numpy_ulaw_decode), Alternative("PyAV", pyav_codec("pcm_mulaw", ULAW))),
    ),
    Piece(
        "linear_to_ulaw", "linear to µ-law, exact", lambda: lambda: g711.linear_to_ulaw(LINEAR),
        (
            Alternative("audioop (508 samples differ)", lambda: lambda: audioop.lin2ulaw(LINEAR, 2)),
            Alternative("PyAV", pyav_encode("pcm_mulaw", 8000)),
        ),
    ),
    Piece("alaw_to_linear", "A-law to linear", lambda: lambda: g711.alaw_to_linear(ULAW)),
    Piece("linear_to_alaw", "linear to A-law", lambda: lambda: g711.linear_to_alaw(LINEAR)),
    Piece(
        "ulaw_to_alaw", "µ-law to A-law", lambda: lambda: g711.ulaw_to_alaw(ULAW),
        (Alternative("audioop, by linear", two_steps(audioop.ulaw2lin, audioop.lin2alaw)),),
    ),
    rate_piece(8000, 16_000),
    rate_piece(16_000, 8000),
    rate_piece(8000, 48_000),
    rate_piece(48_000, 8000),
    rate_piece(24_000, 16_000),
    Piece(
        "playout_frame", "playout, frames in", playing(1),
        (Alternative("bytearray", playing_bytearray(1)),),
    ),
    Piece(
        "playout_prompt", "playout, 20 s at once", playing(1000),
        (Alternative("bytearray", playing_bytearray(1000)),), frames=1000,
    ),
    Piece(
        "pacer", "pacer, of 1000 streams", pacing, (Alternative("heap", pacing_heap),), frames=STREAMS
    ),
    Piece("receive_rtp", "framing receives rtp", framing_receive_rtp),
    Piece("receive_sln", "framing receives sln", framing_receive_sln),
    Piece("receive_audiosocket", "framing receives audiosocket", framing_receive_audiosocket),
    Piece("send_audiosocket", "framing sends audiosocket", framing_audio_audiosocket),
    Piece("path_to_sln", "path: packet in, sln out", path_to_sln),
    Piece("path_from_sln", "path: sln in, packet out", path_from_sln),
    Piece("path_from_rtp", "path: rtp in, packet out", path_from_rtp),
    Piece("l16", "linear to L16", lambda: lambda: linear_to_l16(LINEAR)),
    Piece("telephone_event", "telephone event parse", event_parse),
    Piece("g722_encode", "G.722 encode", g722_encode, (Alternative("PyAV", pyav_encode("g722", 16_000)),)),
    Piece(
        "g722_decode", "G.722 decode", g722_decode,
        (Alternative("PyAV", pyav_codec("g722", G722Encoder().encode(_linear(16_000)))),),
    ),
    *(
        (
            Piece(
                "opus_encode", "Opus encode, 48 kHz, 24 kbit/s", opus_encode,
                (Alternative("PyAV", pyav_encode("libopus", 48_000)),),
            ),
            Piece(
                "opus_decode", "Opus decode, 48 kHz", opus_decode,
                (Alternative("PyAV", pyav_opus_decode),),
            ),
        )
        if available()
        else ()
    ),
    Piece(
        "mix_minus", f"mix-minus of {PARTIES}, each", mixing,
        (Alternative("audioop (clips)", mixing_audioop),), frames=PARTIES,
    ),
    Piece(
        "add", "add two", lambda: lambda: add(LINEAR, LINEAR), (Alternative("numpy", adding_numpy),)
    ),
    Piece("dtmf_silence", "DTMF detection in silence", detecting(bytes(320))),
    Piece(
        "dtmf_speech", "DTMF detection in noise", detecting(_SPEECH),
        (Alternative("Goertzel, plain Python", goertzel(_SPEECH)),),
    ),
    Piece("dtmf_key", "DTMF detection in a key", detecting(_KEY)),
    Piece("tone", "tone generation", generating),
    Piece(
        "wav", "WAV read, of a second", reading_wav,
        (Alternative("standard library", reading_wave),), frames=50,
    ),
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
