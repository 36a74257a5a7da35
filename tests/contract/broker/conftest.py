"""A broker of these tests' own: one node with TLS, whose alarms disturb nobody else."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.lab.lab import Lab
from evercall.bus.address import Tls
from evercall.bus.bus import Bus
from tests.support.brokers import Brokers, brokers

SERVER_NAME = "broker.evercall.test"
TLS_PORT = 5671

_CONFIGURATION = f"""
listeners.ssl.1 = @address@:{TLS_PORT}
ssl_options.cacertfile = /etc/rabbitmq/ca.pem
ssl_options.certfile = /etc/rabbitmq/server.pem
ssl_options.keyfile = /etc/rabbitmq/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""

Connect = Callable[..., Awaitable[Bus]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, what it vouches for, and an authority of somebody else."""
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ca", "stranger"):
        _openssl(folder, f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
                 f"-subj /CN={authority} -keyout {authority}.key -out {authority}.pem")  # fmt: skip
    for name, subject in (("server", SERVER_NAME), ("client", "call_manager")):
        _openssl(folder, f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
                 f"-subj /CN={subject} -addext subjectAltName=DNS:{subject} "
                 f"-addext basicConstraints=critical,CA:FALSE "
                 f"-CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem")  # fmt: skip
    return folder


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def broker(
    lab: Lab, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Brokers]:
    """One node, in plain and with TLS."""
    files = {
        name: (certificates / name).read_text() for name in ("ca.pem", "server.pem", "server.key")
    }
    folder = tmp_path_factory.mktemp("broker")
    with brokers(lab, folder, 1, _CONFIGURATION, files) as made:
        yield made


@asynccontextmanager
async def running(bus: Bus) -> AsyncIterator[Bus]:
    """The bus, connected."""
    task = asyncio.create_task(bus.run())
    try:
        assert await bus.wait_connected(20.0)
        yield bus
    finally:
        await bus.close()
        await task


@pytest.fixture
async def connect(broker: Brokers) -> AsyncIterator[Connect]:
    """Makes buses; to the broker itself unless it is told a URL."""
    async with AsyncExitStack() as stack:

        async def make(url: str = "", tls: Tls | None = None) -> Bus:
            return await stack.enter_async_context(running(Bus(url or broker.url, "test", 8, tls)))

        yield make


@pytest.fixture
async def bus(connect: Connect) -> Bus:
    """A bus on the broker."""
    return await connect()
