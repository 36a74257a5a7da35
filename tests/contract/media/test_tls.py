"""Evercall connects to `wss://`: the certificate must be good for the name, and only then is anything sent."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from deploy.lab import rootfs
from deploy.lab.lab import Lab
from deploy.lab.rootfs import Bind
from evercall.contracts.media import MediaConnect, MediaDirection
from evercall.service.guard import HostGuard
from media_manager.doors import dialing
from media_manager.doors.dialing import Dialer
from tests.unit.media_manager.house import CALL, CUSTOMER, House, open_house

NAME = "app.example"


@pytest.fixture(scope="module")
def certificate(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that signs itself, for NAME; its key is beside it."""
    folder = tmp_path_factory.mktemp("certificate")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    argv += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={NAME}",
        "-addext",
        f"subjectAltName=DNS:{NAME}",
    ]
    argv += ["-keyout", "key.pem", "-out", "certificate.pem"]
    binds = [Bind(folder, writable=True)]
    line = rootfs.command(lab.paths, argv, binds, folder=str(folder))
    subprocess.run(line, check=True, capture_output=True, timeout=30)
    return folder / "certificate.pem"


@asynccontextmanager
async def application(certificate: Path) -> AsyncIterator[tuple[int, list[str]]]:
    """Its port, and the first word that each connection was told."""
    told: list[str] = []

    async def take(connection: ServerConnection) -> None:
        told.append(msgspec.json.decode(await connection.recv())["type"])

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    async with serve(take, "127.0.0.1", 0, ssl=context) as server:
        yield next(iter(server.sockets)).getsockname()[1], told


async def resolve(host: str, port: int) -> list[str]:
    """Every name is ours."""
    assert host
    assert port
    return ["127.0.0.1"]


async def dial(house: House, host: str, port: int) -> None:
    dialer = Dialer(house.registry, HostGuard([ip_network("127.0.0.0/8")], resolve), house.tasks)
    both = MediaDirection.BOTH
    await dialer.connect(
        MediaConnect(
            id=UUID(int=500),
            call_id=CALL,
            customer_id=CUSTOMER,
            target=f"wss://{host}:{port}/",
            transport="",
            encapsulation="sln",
            direction_listen=both,
            direction_speak=both,
        )
    )


async def test_an_authority_that_the_machine_trusts_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with application(certificate) as (port, told), open_house() as house:
        await dial(house, NAME, port)
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.01)
        assert told == ["start"]


@pytest.mark.parametrize(("host", "trusted"), [("other.example", True), (NAME, False)])
async def test_nothing_is_sent_to_who_is_not_proven(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(dialing, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(dialing, "LONGEST_PAUSE", 0.01)
    async with application(certificate) as (port, told), open_house() as house:
        await dial(house, host, port)
        async with asyncio.timeout(10):
            while not house.legs.stopped:
                await asyncio.sleep(0.01)
        assert house.legs.stopped == [(UUID(int=500), "unreachable")]
        assert told == []
