"""A RabbitMQ of a test's own: one node or a cluster, with the lab's configuration, beside the lab.

Nodes are killed, frozen and cut off from each other here, which the lab's only broker must not be.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.lab.credentials import write_private
from deploy.lab.health import probe
from deploy.lab.lab import Lab
from deploy.lab.launch import data_folder, launch, make_folders, run_inside
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Farm, Kind, Process, erlang_node, plan_farm
from deploy.lab.render import etc_of, render_servers
from deploy.lab.settings import Settings

_START_SECONDS = 60.0
_OTHER_NETWORK = 100
"""Added to the lab's prefix."""


@dataclass
class Brokers:
    """Some nodes. `url` is what services are given."""

    paths: LabPaths
    farm: Farm
    log: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[Process, ...]:
        return self.farm.of_kind(Kind.RABBITMQ)

    @property
    def url(self) -> str:
        return dict(self.farm.of_kind(Kind.SERVICE)[0].environment)["EVERCALL_AMQP_URL"]

    def start(self, process: Process) -> None:
        """Starts a node; does not wait for it."""
        started = launch(process, self.farm, self.paths)
        with (self.log / f"{process.name}.log").open("ab") as log:
            self.running[process.name] = subprocess.Popen(
                started.argv,
                env=dict(started.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, node: Process) -> None:
        """kill -9 of the node with all that it has started."""
        running = self.running.pop(node.name)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()

    def freeze(self, node: Process) -> None:
        """The node says nothing more, to nobody, and its sockets stay open: as behind a cut cable."""
        os.killpg(self.running[node.name].pid, signal.SIGSTOP)

    def thaw(self, node: Process) -> None:
        """Ends `freeze`."""
        os.killpg(self.running[node.name].pid, signal.SIGCONT)

    def cut_off(self, node: Process) -> None:
        """The other nodes can't be reached from this one, nor it from them; its clients stay connected. Erlang
        nodes refuse each other when they do not know the same cookie."""
        each = "erlang:set_cookie(Other, cut), erlang:disconnect_node(Other)"
        self.control(node, "eval", f"[begin {each} end || Other <- {self._others(node)}].")

    def join_up(self, node: Process) -> None:
        """Ends `cut_off`."""
        each = "erlang:set_cookie(Other, erlang:get_cookie()), net_adm:ping(Other)"
        self.control(node, "eval", f"[begin {each} end || Other <- {self._others(node)}].")

    def _others(self, node: Process) -> str:
        names = (erlang_node(other) for other in self.nodes if other is not node)
        return "[" + ", ".join(f"'{name}'" for name in names) + "]"

    def control(self, node: Process, *argv: str) -> str:
        """rabbitmqctl on a node."""
        command = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", "-n", erlang_node(node), *argv]
        line = run_inside(node, self.farm, self.paths, command)
        done = subprocess.run(
            line.argv, env=dict(line.environment), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

    def wait_ready(self, nodes: Sequence[Process] = ()) -> None:
        """Returns when the nodes take clients."""
        until = time.monotonic() + _START_SECONDS
        for node in nodes or self.nodes:
            while fault := probe(node, self.farm, self.paths):
                assert time.monotonic() < until, f"{node.name}: {fault}; read {self.log}"
                time.sleep(0.1)

    async def until_whole(self) -> None:
        """Returns when every node runs and is known by the others."""
        await asyncio.to_thread(self.wait_ready)
        asked = "length(rabbit_nodes:list_running())."
        until = time.monotonic() + _START_SECONDS
        while (
            told := await asyncio.to_thread(self.control, self.nodes[0], "eval", asked)
        ).strip() != "3":
            assert time.monotonic() < until, f"{told} of 3 nodes run; read {self.log}"
            await asyncio.sleep(0.2)

    def stop(self) -> None:
        """Kills everything."""
        for running in self.running.values():
            os.killpg(running.pid, signal.SIGKILL)
        for running in self.running.values():
            running.wait()
        self.running.clear()


@contextmanager
def brokers(
    lab: Lab, folder: Path, count: int, more: str = "", files: Mapping[str, str] | None = None
) -> Iterator[Brokers]:
    """Starts `count` nodes in an empty folder and waits for them. `more` is added to each rabbitmq.conf
    (`@address@` is the node's), `files` lie beside it in /etc/rabbitmq."""
    made = _lay_out(lab, folder, count)
    render_servers(made.farm, lab.credentials, made.paths)
    for node in made.nodes:
        etc = etc_of(node, made.paths)
        write_private(
            etc / "rabbitmq.conf",
            (etc / "rabbitmq.conf").read_text() + more.replace("@address@", node.address),
        )
        for name, text in (files or {}).items():
            write_private(etc / name, text)
    try:
        for process in (*made.farm.of_kind(Kind.EPMD), *made.nodes):
            make_folders(process, made.paths)
            cookie = data_folder(process, made.paths) / ".erlang.cookie"
            write_private(cookie, lab.credentials.erlang_cookie)
            made.start(process)
        made.wait_ready()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.paths.var, ignore_errors=True)


def _lay_out(lab: Lab, folder: Path, count: int) -> Brokers:
    first, number = lab.farm.network.prefix.split(".")
    other = (int(number) + _OTHER_NETWORK - 1) % 255 + 1
    paths = LabPaths(folder, lab.paths.project)
    for each in (paths.etc, paths.run, paths.var, paths.log):
        each.mkdir(parents=True)
    paths.root.symlink_to(lab.paths.root)
    farm = plan_farm(Settings(network=f"{first}.{other}", rabbitmq=count), lab.credentials, paths)
    return Brokers(paths, farm, paths.log)
