"""PostgreSQL servers of a test's own, beside the lab's: to be frozen, promoted, made read-only.

They run in the lab's root file system, so that needs to be built, but nothing of the lab to be up.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from deploy.lab import rootfs
from deploy.lab.launch import postgresql_tool
from deploy.lab.paths import LabPaths
from deploy.lab.rootfs import Bind

INSIDE = "/var/lib/postgresql"
PORT = 5432
APP, PASSWORD = "app", "first-password"

_HBA = """\
host replication postgres 127.0.0.0/8 trust
host all postgres 127.0.0.0/8 trust
hostssl all certified 127.0.0.0/8 cert
hostnossl all certified 127.0.0.0/8 reject
host all all 127.0.0.0/8 scram-sha-256
"""
_SETTINGS = """\
unix_socket_directories = ''
fsync = off
io_method = sync
shared_buffers = 16MB
wal_level = replica
"""


class Cluster:
    """A data folder that servers are copied from: `initdb` takes seconds, a copy does not."""

    def __init__(self, paths: LabPaths, folder: Path) -> None:
        self.paths, self.folder = paths, folder
        folder.mkdir(parents=True)
        self._run("initdb", "-D", f"{INSIDE}/data", "-U", "postgres", "--auth=trust", "--no-sync")
        (folder / "data" / "pg_hba.conf").write_text(_HBA)
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)

    def _run(self, tool: str, *arguments: str) -> None:
        run_tool(self.paths, self.folder, tool, *arguments)

    def copy(self, folder: Path, address: str) -> "Postgresql":
        """A server with the same data, not started yet."""
        shutil.copytree(self.folder, folder)
        return Postgresql(self.paths, folder, address)


def run_tool(paths: LabPaths, folder: Path, tool: str, *arguments: str) -> None:
    """One of PostgreSQL's programs, with `folder` as its home."""
    argv = [postgresql_tool(paths, tool), *arguments]
    line = rootfs.command(paths, argv, [Bind(folder, INSIDE, writable=True)])
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=_ENVIRONMENT)
    assert done.returncode == 0, done.stderr


_ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


class Postgresql:
    """One server."""

    def __init__(self, paths: LabPaths, folder: Path, address: str) -> None:
        self.address = address
        self.folder = folder
        self._paths = paths
        self._process: asyncio.subprocess.Process | None = None

    def url(self, role: str = APP, password: str = PASSWORD, database: str = "postgres") -> str:
        return f"postgresql://{role}:{password}@{self.address}:{PORT}/{database}"

    async def start(self, *settings: str) -> None:
        """Starts it, and returns when it takes connections."""
        argv = [postgresql_tool(self._paths, "postgres"), "-D", f"{INSIDE}/data"]
        for setting in (f"listen_addresses={self.address}", f"port={PORT}", *settings):
            argv += ["-c", setting]
        line = rootfs.command(self._paths, argv, [Bind(self.folder, INSIDE, writable=True)])
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *line, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_ENVIRONMENT
            )
        async with asyncio.timeout(20):
            while not await self._answers():
                assert self._process.returncode is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            await self.execute("SELECT 1")
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        return True

    async def kill(self) -> None:
        """kill -9 of it and all its children."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.kill()  # bubblewrap takes all that runs in it with it
        await self._process.wait()

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """SIGSTOP while the block runs: connections stay open, nobody answers."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _pids(self) -> Sequence[int]:
        assert self._process is not None
        return descendants(self._process.pid)

    async def standby(self, folder: Path, address: str) -> "Postgresql":
        """A server that follows this one."""
        await asyncio.to_thread(folder.mkdir, parents=True)
        source = f"host={self.address} port={PORT} user=postgres"
        options = ["-D", f"{INSIDE}/data", "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        argv = ("pg_basebackup", "-d", source, *options)
        await asyncio.to_thread(run_tool, self._paths, folder, *argv)
        return Postgresql(self._paths, folder, address)

    async def execute(self, *statements: str) -> str:
        """As superuser; the first column of the last row."""
        connection = await asyncpg.connect(
            host=self.address, port=PORT, user="postgres", database="postgres", ssl=False
        )
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return str(await connection.fetchval(statements[-1]))
        finally:
            await connection.close()


def descendants(pid: int) -> list[int]:
    """A process and all that it has started, as the host numbers them."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found
