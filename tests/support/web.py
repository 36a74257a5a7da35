"""A small web server of the world outside: gives WAV files that are tones, for `play`.

`/tone/<hertz>/<milliseconds>.wav` is such a file; with `/hundreds/<n>/…` it is 500 + n · 100 Hz.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.lab.network import HTTP_PORT
from tests.support.phone_audio import sine, write_wav


class ToneServer:
    """Serves until it is stopped; `requests` are the paths that were asked for."""

    def __init__(self, address: str) -> None:
        self.requests: list[str] = []
        self.url = f"http://{address}:{HTTP_PORT}"
        self._server = ThreadingHTTPServer((address, HTTP_PORT), _handler(self.requests))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def tone(self, frequency: int | str, milliseconds: int) -> str:
        """The address of a tone; its frequency may be a variable of a flow."""
        return f"{self.url}/tone/{frequency}/{milliseconds}.wav"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(requests: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append(self.path)
            parts = self.path.strip("/").removesuffix(".wav").split("/")
            frequency = _frequency(parts)
            if frequency is None:
                self.send_error(404)
                return
            body = write_wav(sine(frequency, float(parts[2]) / 1000))
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Who asked for what is kept in `requests`."""

    return Handler


def _frequency(parts: list[str]) -> float | None:
    match parts:
        case ["tone", hertz, _]:
            return float(hertz)
        case ["hundreds", number, _]:
            return 500.0 + 100.0 * int(number)
    return None
