"""Records a call: a WAV file, and a picture of what was said (time to the right, frequency upwards)."""

import asyncio
import struct
import wave
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from stream import RATE, arguments, open_stream

WINDOW, STEP = 256, 80


async def main() -> None:
    given = arguments("Records a call", seconds="10", output="call")
    audio = bytearray()
    wanted = int(float(given.seconds) * RATE) * 2
    async with open_stream(given, direction="in") as stream:
        async for heard in stream:
            audio += heard
            if len(audio) >= wanted:
                break
    write(given.output, bytes(audio))


def write(name: str, audio: bytes) -> None:
    """Linear audio as a WAV file and as a picture."""
    Path(f"{name}.png").write_bytes(png(spectrogram(audio)))
    with wave.open(f"{name}.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(audio)


def spectrogram(audio: bytes) -> NDArray[np.uint8]:
    """Grey values, 80 dB from black to white; a row per 31 Hz, a column per 10 ms."""
    samples = np.frombuffer(audio, dtype="<i2").astype(np.float64) / 32768
    pieces = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::STEP]
    power = np.abs(np.fft.rfft(pieces * np.hanning(WINDOW), axis=1)) / WINDOW
    decibels = 20 * np.log10(power + 1e-6)
    grey = np.clip((decibels + 90) / 80 * 255, 0, 255).astype(np.uint8)
    return np.flipud(grey.T)


def png(grey: NDArray[np.uint8]) -> bytes:
    """A grey picture (PNG, ISO/IEC 15948): header, pixels with a filter byte before each row, end."""
    height, width = grey.shape
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    head = struct.pack("!IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


if __name__ == "__main__":
    asyncio.run(main())
