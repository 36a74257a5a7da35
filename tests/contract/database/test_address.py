"""TLS with an authority and a client certificate, several hosts, migrations: all by the one URL."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from deploy.lab import rootfs
from deploy.lab.lab import Lab
from deploy.lab.paths import LabPaths
from deploy.lab.rootfs import Bind
from evercall.store.address import HOST_TIMEOUT, Address
from evercall.store.migrate import __file__ as migrate_file
from tests.contract.database.conftest import ROLES
from tests.support.postgresql import APP, PASSWORD, PORT, Cluster, Postgresql


@dataclass
class Papers:
    """An authority, and what it signed."""

    paths: LabPaths
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._openssl("req", "-x509", *_NEW, "-keyout", "ca.key", "-out", "ca.crt", *_subject("ca"))

    def sign(self, name: str, address: str = "") -> None:
        self._openssl(
            "req", *_NEW, "-keyout", f"{name}.key", "-out", f"{name}.csr", *_subject(name)
        )
        more = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        if address:
            (self.folder / "names").write_text(f"subjectAltName=IP:{address}\n")
            more += ["-extfile", "names"]
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *more)
        (self.folder / f"{name}.key").chmod(0o600)

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def _openssl(self, *arguments: str) -> None:
        binds = [Bind(self.folder, writable=True)]
        line = rootfs.command(self.paths, ["openssl", *arguments], binds, folder=str(self.folder))
        subprocess.run(line, check=True, capture_output=True, timeout=30)


_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _subject(name: str) -> tuple[str, str]:
    return "-subj", f"/CN={name}"


@pytest.fixture
def papers(here: Lab, tmp_path: Path) -> Papers:
    return Papers(here.paths, tmp_path / "papers")


@pytest.fixture
async def secure(
    cluster: Cluster, tmp_path: Path, address: Callable[[], str], papers: Papers
) -> AsyncIterator[Postgresql]:
    """A server that speaks TLS, and lets `certified` in by certificate alone."""
    server = cluster.copy(tmp_path / "secure", address())
    papers.sign("server", server.address)
    papers.sign("certified")
    for name in ("server.crt", "server.key", "ca.crt"):
        target = server.folder / "data" / name
        target.write_bytes((papers.folder / name).read_bytes())
        target.chmod(0o600)
    files = ("ssl_cert_file=server.crt", "ssl_key_file=server.key", "ssl_ca_file=ca.crt")
    await server.start("ssl=on", *files)
    await server.execute(*ROLES, "SELECT 1")
    yield server
    await server.kill()


async def who(url: str) -> str:
    """Who we are to the server, and how we came."""
    connection = await Address(url).connect()
    try:
        row = await connection.fetchrow(
            "SELECT current_user, ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        )
        return " ".join(str(value) for value in row or ())
    finally:
        await connection.close()


async def test_a_certificate_opens_what_a_password_does_not(
    secure: Postgresql, papers: Papers
) -> None:
    here = f"{secure.address}:{PORT}/postgres"
    verified = f"sslmode=verify-full&sslrootcert={papers.file('ca.crt')}"
    own = f"sslcert={papers.file('certified.crt')}&sslkey={papers.file('certified.key')}"

    assert await who(f"postgresql://certified@{here}?{verified}&{own}") == "certified True TLSv1.3"
    assert await who(f"postgresql://{APP}:{PASSWORD}@{here}?{verified}") == f"{APP} True TLSv1.3"
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await who(f"postgresql://certified:{PASSWORD}@{here}?{verified}")


async def test_a_server_that_our_authority_did_not_sign_is_refused(
    secure: Postgresql, here: Lab, tmp_path: Path
) -> None:
    other = Papers(here.paths, tmp_path / "other")
    place = f"{APP}:{PASSWORD}@{secure.address}/postgres"
    with pytest.raises(OSError, match="certificate verify failed"):
        await who(f"postgresql://{place}?sslmode=verify-full&sslrootcert={other.file('ca.crt')}")


async def test_the_host_that_takes_writes_is_found_wherever_it_stands(
    server: Postgresql, standby: Postgresql
) -> None:
    nowhere = server.address.rpartition(".")[0] + ".98"
    hosts = [f"{nowhere}:{PORT}", standby.address, f"{server.address}:{PORT}"]
    for order in (hosts, hosts[::-1]):
        url = f"postgresql://{APP}:{PASSWORD}@{','.join(order)}/postgres"
        connection = await Address(url).connect()
        assert str(await connection.fetchval("SELECT inet_server_addr()")) == server.address
        await connection.close()

    with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await Address(standby.url()).connect()
    any_host = await Address(standby.url() + "?target_session_attrs=any").connect()
    await any_host.close()


async def test_a_host_that_hangs_does_not_hide_the_next(
    server: Postgresql, cluster: Cluster, tmp_path: Path, address: Callable[[], str]
) -> None:
    hanging = cluster.copy(tmp_path / "hanging", address())
    await hanging.start()
    both = Address(server.url().replace(server.address, f"{hanging.address},{server.address}"))
    try:
        async with hanging.frozen():
            for longest in (HOST_TIMEOUT + 2.0, 1.0):  # the second time it begins with the good one
                began = time.monotonic()
                connection = await both.connect()
                assert time.monotonic() - began < longest
                await connection.close()
    finally:
        await hanging.kill()


async def test_migrations_take_the_same_url(
    secure: Postgresql, papers: Papers, tmp_path: Path
) -> None:
    """A host that is away first, TLS, and the password from a file; twice, to no effect."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    nowhere = secure.address.rpartition(".")[0] + ".98"
    url = f"postgresql://{APP}@{nowhere},{secure.address}/postgres?sslmode=verify-full"
    environment = {
        **os.environ,
        "EVERCALL_DATABASE_URL": f"{url}&sslrootcert={papers.file('ca.crt')}",
        "EVERCALL_DATABASE_PASSWORD_FILE": str(password),
    }
    for _ in range(2):
        done = await asyncio.to_thread(_run, migrate_file, environment=environment)
        assert done.returncode == 0, done.stderr
    assert await secure.execute("SELECT count(*) FROM call_manager.actor") == "0"


def test_a_url_that_cannot_work_is_refused_before_the_start() -> None:
    """The services say so in the same words."""
    for module in ("evercall.store.migrate", "route_manager"):
        environment = {
            **os.environ,
            "EVERCALL_AMQP_URL": "amqp://a:b@127.0.0.1/v",
            "EVERCALL_DATABASE_URL": "postgresql://a:geheim@b/c?sslmode=verify-full",
        }
        done = _run("-m", module, environment=environment)
        assert done.returncode == 2
        assert "EVERCALL_DATABASE_URL" in done.stderr
        assert "sslmode=verify-full needs sslrootcert" in done.stderr
        assert "geheim" not in done.stderr


def _run(*argv: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """A program of ours, to its end."""
    return subprocess.run(
        [sys.executable, *argv], env=environment, capture_output=True, text=True, timeout=60
    )
