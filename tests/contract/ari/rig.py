"""An Asterisk and a broker of the tests' own, configured as in every deployment, and proxies for them.

They run from the lab's root file system on a network that nobody else uses, so that tests may kill
them.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.lab import render
from deploy.lab.credentials import load_or_create, write_private
from deploy.lab.health import probe
from deploy.lab.launch import data_folder, launch, make_folders
from deploy.lab.network import SIP_PORT
from deploy.lab.paths import PROJECT, LabPaths, lab_paths
from deploy.lab.plan import Farm, Kind, Process, plan_farm
from deploy.lab.settings import Settings

SHARDS = 4
SOUND = "sound:/var/lib/asterisk/sound"
SOUND_SECONDS = 0.4
_NETWORKS = range(43, 63)
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Rig:
    """One Asterisk, one broker, and what must be known of them."""

    farm: Farm
    paths: LabPaths
    broker: "Server"
    asterisk: "Server"

    @property
    def sip(self) -> tuple[str, int]:
        """Where Asterisk takes calls."""
        return self.asterisk.process.address, SIP_PORT

    @property
    def proxy(self) -> Process:
        """How the proxy is started in the lab."""
        return self.farm.of_module("asterisk_proxy")[0]

    @property
    def amqp_url(self) -> str:
        return dict(self.proxy.environment)["EVERCALL_AMQP_URL"]


@dataclass
class Server:
    """A real server: started, killed, started again."""

    process: Process
    farm: Farm
    paths: LabPaths
    running: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.paths.log / f"{self.process.name}.log"

    def start(self) -> None:
        """Starts it. From the main thread: bwrap dies with the thread that started it."""
        started = launch(self.process, self.farm, self.paths)
        with self.log.open("wb") as log:
            self.running = subprocess.Popen(
                started.argv,
                env=dict(started.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Returns when it can be used."""
        until = time.monotonic() + _START_SECONDS
        while probe(self.process, self.farm, self.paths):
            said = self.log.read_text()
            assert self.running is not None, "start it first"
            assert self.running.poll() is None, f"{self.process.name} ended: {said}"
            assert time.monotonic() < until, f"{self.process.name} does not start: {said}"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9. bwrap takes its whole process namespace with it."""
        running, self.running = self.running, None
        if running is not None:
            running.kill()
            running.wait()


def prepare(base: Path) -> Rig:
    """Renders the configuration of the servers below `base`, on a free network."""
    root = lab_paths().root
    assert (root / "usr/sbin/asterisk").exists(), f"{root} is missing: `make setup` builds it"
    paths = LabPaths(base=base, project=PROJECT)
    paths.root.symlink_to(root)
    credentials = load_or_create(paths.secrets)
    settings = Settings(network=_free_network(), asterisk_call=1, shards=SHARDS)
    farm = plan_farm(settings, credentials, paths)
    paths.log.mkdir()
    paths.etc.mkdir()
    (paths.etc / "hosts").write_text(render.hosts(farm))
    broker, asterisk = farm.of_kind(Kind.RABBITMQ)[0], farm.of_kind(Kind.ASTERISK)[0]
    for process in (broker, asterisk):
        make_folders(process, paths)
        templates = render.templates_of(process.kind, PROJECT)
        variables = render.variables(process, farm, credentials)
        render.render_folder(templates, variables, render.etc_of(process, paths))
    write_private(data_folder(broker, paths) / ".erlang.cookie", credentials.erlang_cookie)
    silence = b"\xff" * int(8000 * SOUND_SECONDS)
    (data_folder(asterisk, paths) / "lib" / "sound.ulaw").write_bytes(silence)
    return Rig(farm, paths, Server(broker, farm, paths), Server(asterisk, farm, paths))


def _free_network() -> str:
    for number in _NETWORKS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probing:
            try:
                probing.bind((f"127.{number}.3.1", SIP_PORT))
            except OSError:
                continue
            return f"127.{number}"
    raise AssertionError("no free network for an Asterisk")


@dataclass
class ProxyProcess:
    """`python -m asterisk_proxy` for the rig's Asterisk: killed, stopped, started again."""

    rig: Rig
    process: asyncio.subprocess.Process | None = None
    started: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def health(self) -> str:
        return self.rig.proxy.health_url

    async def start(self, *, ready: bool = True) -> None:
        """Starts it and waits until it is ready."""
        environment = (
            dict(self.rig.proxy.environment)
            | {"PATH": os.defpath, "LANG": "C.UTF-8"}
            | self.environment
        )
        self.started += 1
        with (self.rig.paths.log / f"proxy-{self.started}.log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "asterisk_proxy", env=environment, stdout=log, stderr=log
            )
        if ready:
            await self.wait_ready()

    async def wait_ready(self) -> None:
        """Returns when Asterisk and broker are connected. One that fails to is stopped, to be in nobody's way."""
        try:
            async with asyncio.timeout(20), httpx.AsyncClient() as client:
                while not await self._is_ready(client):
                    await asyncio.sleep(0.05)
        except BaseException:
            await self.stop()
            raise

    async def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.health}/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """An orderly stop; returns the exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(20):
                return await process.wait()
        except TimeoutError:
            process.kill()
            raise

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, "the proxy ended"
        try:
            checks = (await client.get(f"{self.health}/ready")).json()["checks"]
        except httpx.TransportError:
            return False
        return all(checks.get(name) for name in ("asterisk", "broker"))


def keeper_pids(rig: Rig) -> list[int]:
    """The keepers of the rig's proxy that are alive."""
    listen = dict(rig.proxy.environment)["EVERCALL_ARI_LISTEN"]
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"asterisk_proxy.keeper" in words and listen.encode() in words:
            found.append(int(folder.name))
    return found


async def keeper_gone(rig: Rig, seconds: float = 3.0) -> None:
    """Returns when no keeper is left."""
    until = time.monotonic() + seconds
    while keeper_pids(rig):
        assert time.monotonic() < until, "a keeper is left"
        await asyncio.sleep(0.02)
