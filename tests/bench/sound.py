"""A second of a tone on a small web server in the world outside: what the benchmark's flow plays."""

import io
import math
import struct
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RATE = 8000
FREQUENCY = 440


@dataclass(slots=True)
class Sound:
    """Where the tone is, and how often it was fetched."""

    url: str
    fetched: int = 0


@contextmanager
def serve_tone(address: str, port: int = 8098) -> Iterator[Sound]:
    """Serves the tone until the block ends."""
    sound = Sound(f"http://{address}:{port}/second.wav")
    body = tone()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sound.fetched += 1
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer((address, port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sound
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tone(seconds: float = 1.0) -> bytes:
    """A tone as a WAV file: 8 kHz, 16 bit, mono."""
    samples = (
        round(10_000 * math.sin(2 * math.pi * FREQUENCY * index / RATE))
        for index in range(round(seconds * RATE))
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()
