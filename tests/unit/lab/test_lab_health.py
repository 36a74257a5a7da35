"""Readiness is asked in each process's own protocol."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from deploy.lab.health import probe, service_version
from deploy.lab.network import HEALTH_PORT
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Endpoint, Farm, Kind, Process

ADDRESS = "127.97.0.2"


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[Endpoint, list[bytes]]]:
    """A UDP server that answers everything with the same."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((ADDRESS, 0))
        own.settimeout(0.1)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    question, sender = own.recvfrom(2048)
                    heard.append(question)
                    own.sendto(answer, sender)

        server = threading.Thread(target=serve)
        server.start()
        yield Endpoint("udp", ADDRESS, own.getsockname()[1]), heard
        done.set()
        server.join()


@contextlib.contextmanager
def service(status: int, body: object) -> Iterator[Process]:
    """A service whose health port says `body`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer((ADDRESS, HEALTH_PORT), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield Process("s-1", Kind.SERVICE, 1, (Endpoint("tcp", ADDRESS, HEALTH_PORT),), "s")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", [Kind.KAMAILIO, Kind.ASTERISK])
def test_a_sip_server_is_ready_when_it_answers_options(
    kind: Kind, farm: Farm, paths: LabPaths
) -> None:
    with answering(b"SIP/2.0 404 Not Found\r\n\r\n") as (endpoint, heard):
        assert probe(Process("sip-1", kind, 1, (endpoint,)), farm, paths) == ""
    assert heard[0].startswith(f"OPTIONS sip:{ADDRESS}:{endpoint.port} SIP/2.0\r\n".encode())


def test_rtpengine_is_ready_when_it_answers_ping(farm: Farm, paths: LabPaths) -> None:
    with answering(b"probe d6:result4:ponge") as (endpoint, heard):
        assert probe(Process("r-1", Kind.RTPENGINE, 1, (endpoint,)), farm, paths) == ""
    assert heard == [b"probe d7:command4:pinge"]


def test_a_closed_port_is_not_ready(farm: Farm, paths: LabPaths) -> None:
    closed = Endpoint("udp", ADDRESS, 9)
    for kind in (Kind.KAMAILIO, Kind.RTPENGINE):
        assert "refused" in probe(Process("p-1", kind, 1, (closed,)), farm, paths)


def test_a_service_says_what_it_waits_for(farm: Farm, paths: LabPaths) -> None:
    body = {"ready": False, "checks": {"bus": True, "store": False, "ari": False}}
    with service(503, body) as process:
        assert probe(process, farm, paths) == "waits for store, ari"


def test_a_service_that_is_ready_says_its_version(farm: Farm, paths: LabPaths) -> None:
    with service(200, {"version": "1.2.3"}) as process:
        assert probe(process, farm, paths) == ""
        assert service_version(process) == "1.2.3"
