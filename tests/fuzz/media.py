"""`python -m tests.fuzz.media`: coverage-guided fuzzing of all that reads bytes in `evercall.media`.

The first byte of an input says what reads the rest. Options are libFuzzer's.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["evercall.media"]):
    from evercall.media import rtp, wav
    from evercall.media.audiosocket import StreamReader, build_message, parse_message
    from evercall.media.dtmf import DtmfDetector
    from evercall.media.encapsulation import RATES, open_framing
    from evercall.media.errors import FrameError
    from evercall.media.framing import Audio
    from evercall.media.jitter import CAPACITY, JitterBuffer
    from evercall.media.opus import OpusDecoder, available
    from evercall.media.telephone_event import EventReceiver, build_event, parse_events

DATA = Path(__file__).parents[1] / "data" / "media"
FRAMINGS = [(name, rate) for name, rates in RATES.items() for rate in rates]


def read_rtp(data: bytes) -> None:
    """What is read is built again, and read as the same."""
    packet = rtp.parse(data)
    built = rtp.build(packet)
    assert rtp.parse(built) == packet
    assert len(built) == len(data)


def read_events(data: bytes) -> None:
    """Bytes 0 to 3 are the timestamp of the first four events, and so on."""
    receiver = EventReceiver()
    sounding = 0
    for begin in range(0, len(data), 20):
        events = parse_events(data[begin + 4 : begin + 20])
        assert parse_events(b"".join(map(build_event, events))) == events
        timestamp = int.from_bytes(data[begin : begin + 4], "big")
        for heard in receiver.receive(timestamp, events):
            sounding += -1 if heard.ended else 1
            assert sounding in (0, 1)
    assert len(receiver.stop()) == sounding


def read_audiosocket(data: bytes) -> None:
    """The same messages however the stream is cut."""
    whole = StreamReader().feed(data)
    reader = StreamReader()
    step = 1 + (data[0] if data else 0)
    cut = [
        message
        for begin in range(0, len(data), step)
        for message in reader.feed(data[begin : begin + step])
    ]
    assert cut == whole
    for kind, payload in whole:
        try:
            message = parse_message(kind, payload)
        except FrameError:
            continue
        built = build_message(message)
        assert parse_message(built[0], built[3:]) == message


def read_framing(data: bytes) -> None:
    """Messages, each after its length in a byte, to one of the framings."""
    name, rate = FRAMINGS[data[0] % len(FRAMINGS)] if data else FRAMINGS[0]
    framing = open_framing(name, rate, seed=1)
    position = 1
    while position < len(data):
        end = position + 1 + data[position]
        received = framing.receive(data[position + 1 : end])
        if data[position] % 5 == 0:
            received += framing.release()
        for item in received:
            if isinstance(item, Audio):
                assert item.data
                assert len(item.data) % framing.format.sample_bytes == 0
        position = end


def read_jitter(data: bytes) -> None:
    """Eight bytes each: number, timestamp, what it is, and how much later it comes. Then a good stream."""
    buffer = JitterBuffer()
    now = 0.0
    for begin in range(0, len(data) - 7, 8):
        sequence = int.from_bytes(data[begin : begin + 2], "big")
        timestamp = int.from_bytes(data[begin + 2 : begin + 6], "big")
        now += data[begin + 7] / 1000
        if data[begin + 6] & 1:
            buffer.add(sequence, timestamp, b"rubbish", now)
        else:
            buffer.pass_over(sequence)
        if data[begin + 6] & 2:
            buffer.get(now)
        assert 0 <= len(buffer) <= CAPACITY
    heard = []
    for number in range(150):
        now += 0.02
        buffer.add(30_000 + number, 9_000_000 + number * 160, b"good", now)
        heard.append(buffer.get(now))
    assert heard[-30:] == [b"good"] * 30


def read_wav(data: bytes) -> None:
    """What is read can be turned into linear audio."""
    read = wav.read_wav(data)
    assert len(read.linear()) == len(read.data) // read.width // read.channels * 2


def read_opus(data: bytes) -> None:
    """Packets, each after its length in a byte."""
    decoder = OpusDecoder(8000)
    position = 0
    while position < len(data):
        end = position + 1 + data[position]
        assert len(decoder.decode(data[position + 1 : end])) % 2 == 0
        position = end


def read_dtmf(data: bytes) -> None:
    """Keys begin and end in turn."""
    found = DtmfDetector().detect(data[: len(data) & ~1] * 4)
    assert [event.ended for event in found] == [bool(n % 2) for n in range(len(found))]


READERS: list[tuple[Callable[[bytes], None], tuple[str, ...]]] = [
    (read_rtp, ("rtp/good", "rtp/bad")),
    (read_events, ("events/good", "events/bad")),
    (read_audiosocket, ("audiosocket/good", "audiosocket/bad", "audiosocket/streams")),
    (read_framing, ("rtp/good", "audiosocket/good")),
    (read_jitter, ()),
    (read_wav, ("wav/good", "wav/bad")),
    (read_dtmf, ("sln",)),
    *([(read_opus, ())] if available() else []),
]


def one_input(data: bytes) -> None:
    """What atheris calls. Anything but a FrameError is a finding."""
    if not data:
        return
    reader, _ = READERS[data[0] % len(READERS)]
    try:
        reader(data[1:])
    except FrameError:
        return


def main() -> None:
    """Begins with the fixtures."""
    with tempfile.TemporaryDirectory() as seeds:
        for number, (_, folders) in enumerate(READERS):
            for file in (file for folder in folders for file in (DATA / folder).iterdir()):
                seed = Path(seeds) / f"{number}-{file.parent.parent.name}-{file.name}"
                seed.write_bytes(bytes((number,)) + file.read_bytes()[:4000])
        atheris.Setup([*sys.argv, seeds], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
