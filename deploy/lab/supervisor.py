"""The supervisor of the lab: its configuration, and a client that steers it.

supervisord restarts what dies. The order of starting is not its business: it starts nothing by
itself, `deploy.lab.up` does.
"""

import hashlib
import os
import resource
import shlex
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import (  # type: ignore[import-untyped]
    Faults,
    SupervisorTransport,
)

from deploy.lab.credentials import write_private
from deploy.lab.errors import LabError
from deploy.lab.launch import launch
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Farm, Kind, Process
from deploy.lab.render import etc_of, own_template, render_text

# sun_path of a Unix socket holds 108 bytes, the last of them zero.
_LONGEST_SOCKET_PATH = 107
_START_SECONDS = 10.0
_OPEN_FILES = 65_536


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the supervisor says of a process."""

    name: str
    state: str
    pid: int
    started: float
    fault: str

    @property
    def is_up(self) -> bool:
        return self.state in ("RUNNING", "STARTING")


def write_config(farm: Farm, paths: LabPaths) -> None:
    """Write supervisord's configuration: it holds secrets in environments, so it is private."""
    if len(os.fsencode(paths.supervisor_socket)) > _LONGEST_SOCKET_PATH:
        raise LabError(
            f"the path {paths.supervisor_socket} is too long for a Unix socket",
            "move the project to a folder with a shorter path",
        )
    variables = {
        "SOCKET": paths.supervisor_socket,
        "LOG_FILE": paths.log / "supervisord.log",
        "PID_FILE": paths.run / "supervisord.pid",
        "IDENTIFIER": f"evercall-{farm.network.prefix}",
        "USER": "root" if os.geteuid() == 0 else "",
        "PROGRAMS": [_program(process, farm, paths) for process in farm.processes],
    }
    text = render_text(own_template("supervisord.conf"), variables)
    write_private(paths.supervisor_config, text)


def log_file(name: str, paths: LabPaths) -> Path:
    """What a process says."""
    return paths.log / f"{name}.log"


def _program(process: Process, farm: Farm, paths: LabPaths) -> dict[str, Any]:
    started = launch(process, farm, paths)
    # A changed fingerprint makes supervisord see a changed program, and `up` restarts it.
    environment = dict(started.environment) | {"LAB_FINGERPRINT": fingerprint(process, paths)}
    return {
        "name": process.name,
        "command": _escape(shlex.join(started.argv)),
        "environment": _escape(",".join(f'{key}="{value}"' for key, value in environment.items())),
        "stop_signal": started.stop_signal,
        "stop_seconds": started.stop_seconds,
        "log_file": _escape(str(log_file(process.name, paths))),
        "priority": 100 + farm.processes.index(process),
    }


def _escape(text: str) -> str:
    """supervisord expands %(name)s."""
    return text.replace("%", "%%")


def fingerprint(process: Process, paths: LabPaths) -> str:
    """Of all that a process reads at its start."""
    if process.kind is Kind.SERVICE:
        folders = [paths.project / "libs", paths.project / "services" / process.module]
        files = [file for folder in folders for file in folder.rglob("*.py")]
        files.append(paths.project / "requirements.lock")
    else:
        files = [file for file in etc_of(process, paths).rglob("*") if file.is_file()]
        files.append(paths.root_stamp)
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def _raise_open_files() -> None:
    """For the servers, which inherit it: a usual soft limit of 1024 is too few sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


class Supervisor:
    """Steers the running supervisord of a lab."""

    def __init__(self, paths: LabPaths) -> None:
        self._paths = paths

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._paths.supervisor_socket}")
        with xmlrpc.client.ServerProxy("http://lab", transport=transport) as server:
            return getattr(server, method)(*arguments)

    def is_running(self) -> bool:
        try:
            self._call("supervisor.getState")
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Start supervisord, and return when it answers."""
        self._paths.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        argv = [str(self._paths.venv_python), "-m", "supervisor.supervisord"]
        argv += ["-c", str(self._paths.supervisor_config)]
        _raise_open_files()
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        done = subprocess.run(
            argv, cwd=self._paths.project, env=environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise LabError(
                f"supervisord did not start: {(done.stdout + done.stderr).strip()}",
                f"read {self._paths.log / 'supervisord.log'}",
            )
        until = time.monotonic() + _START_SECONDS
        while not self.is_running():
            if time.monotonic() > until:
                raise LabError(
                    "supervisord does not answer",
                    f"read {self._paths.log / 'supervisord.log'}",
                )
            time.sleep(0.05)

    def states(self) -> dict[str, ProcessState]:
        """Of every process that the supervisor knows."""
        return {
            info["name"]: ProcessState(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"],
                started=float(info["start"]),
                fault=info["spawnerr"],
            )
            for info in self._call("supervisor.getAllProcessInfo")
        }

    def reload(self) -> list[str]:
        """Take over a changed configuration; returns the names of processes that it stopped."""
        ((added, changed, removed),) = self._call("supervisor.reloadConfig")
        stale = [*changed, *removed]
        self.stop(stale)
        for name in stale:
            self._call("supervisor.removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("supervisor.addProcessGroup", name)
        return stale

    def start_processes(self, names: Iterable[str]) -> None:
        """Start those that do not run; does not wait for them."""
        states = self.states()
        for name in names:
            if not states[name].is_up:
                self._tolerate(Faults.ALREADY_STARTED, "supervisor.startProcess", name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Stop all at once, and return when the last has ended."""
        waiting = list(names)
        for name in waiting:
            self._tolerate(Faults.NOT_RUNNING, "supervisor.stopProcess", name, False)
        while waiting:
            states = self.states()
            waiting = [name for name in waiting if states[name].state not in _ENDED]
            if waiting:
                time.sleep(0.05)

    def shutdown(self) -> None:
        """End supervisord itself."""
        self._call("supervisor.shutdown")
        while self.is_running():
            time.sleep(0.05)

    def _tolerate(self, fault_code: int, method: str, *arguments: Any) -> None:
        try:
            self._call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != fault_code:
                raise


_ENDED = frozenset({"STOPPED", "EXITED", "FATAL"})
