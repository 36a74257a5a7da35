"""How each process is started: command line, environment, stop signal. Pure but for reading versions.

A server runs inside the root file system with its configuration, data and run folder bound to the
places that its Debian package uses. One of our services runs directly from the virtual environment.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.lab import rootfs
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Farm, Kind, Process, erlang_node
from deploy.lab.render import etc_of
from deploy.lab.rootfs import Bind

_BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",  # noqa: S108 - inside, a tmpfs of its own
}


@dataclass(frozen=True, slots=True)
class Launch:
    """What a supervisor needs to know to keep a process."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    stop_signal: str = "TERM"
    stop_seconds: int = 15


@dataclass(frozen=True, slots=True)
class _Server:
    argv: Sequence[str]
    binds: Sequence[Bind]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 15


def launch(process: Process, farm: Farm, paths: LabPaths) -> Launch:
    """How to start `process`."""
    if process.kind is Kind.SERVICE:
        return _service(process, paths)
    server = _server(process, farm, paths)
    # bwrap passes no signal on. A stop signal therefore goes to the whole process group, where
    # bwrap ignores it and the server, for which `env` restores the default, does not.
    signals = f"{server.stop_signal}"
    inside = ["env", f"--default-signal={signals}", *server.argv]
    argv = [
        "env",
        f"--ignore-signal={signals}",
        *rootfs.command(paths, inside, server.binds, process.name),
    ]
    environment = _BASE_ENVIRONMENT | dict(server.environment)
    return Launch(argv, environment, server.stop_signal, server.stop_seconds)


def run_inside(process: Process, farm: Farm, paths: LabPaths, argv: Sequence[str]) -> Launch:
    """How to run a tool in the surroundings of a server, such as its command line client."""
    server = _server(process, farm, paths)
    line = rootfs.command(paths, argv, server.binds, f"{process.name}-client")
    return Launch(line, _BASE_ENVIRONMENT | dict(server.environment))


def run_folder(process: Process, paths: LabPaths) -> Path:
    """Where a server makes its sockets."""
    return paths.run / process.name


def data_folder(process: Process, paths: LabPaths) -> Path:
    """What a server keeps."""
    return paths.var / process.name


def postgresql_tool(paths: LabPaths, name: str) -> str:
    """The path inside of a PostgreSQL program. Debian puts them in a folder named by version."""
    versions = sorted((paths.root / "usr/lib/postgresql").iterdir())
    return f"/usr/lib/postgresql/{versions[-1].name}/bin/{name}"


def _service(process: Process, paths: LabPaths) -> Launch:
    # With the death signal nothing outlives a supervisor that is killed.
    argv = ["setpriv", "--pdeathsig", "KILL", str(paths.venv_python), "-m", process.module]
    environment = {"PATH": _BASE_ENVIRONMENT["PATH"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    return Launch(argv, environment | dict(process.environment))


def _server(process: Process, farm: Farm, paths: LabPaths) -> _Server:
    etc, run = etc_of(process, paths), run_folder(process, paths)
    data = data_folder(process, paths)
    match process.kind:
        case Kind.POSTGRESQL:
            return _Server(
                argv=[postgresql_tool(paths, "postgres"), "-D", "/etc/postgresql"],
                binds=[Bind(etc, "/etc/postgresql"), Bind(data, "/var/lib/postgresql", True)],
                stop_signal="INT",  # "fast": SIGTERM would wait until every client has gone
                stop_seconds=30,
            )
        case Kind.EPMD:
            return _Server(
                argv=["epmd", "-port", str(farm.network.epmd_port)],
                binds=[],
                environment={"ERL_EPMD_ADDRESS": _epmd_addresses(farm)},
            )
        case Kind.RABBITMQ:
            return _Server(
                argv=["/usr/lib/rabbitmq/bin/rabbitmq-server"],
                binds=[Bind(etc, "/etc/rabbitmq"), Bind(data, "/var/lib/rabbitmq", True)],
                environment=_rabbitmq_environment(process, farm),
                stop_seconds=30,
            )
        case Kind.RTPENGINE:
            config = "--config-file=/etc/rtpengine/rtpengine.conf"
            return _Server(
                argv=["rtpengine", config, "--foreground", "--log-stderr"],
                binds=[Bind(etc, "/etc/rtpengine")],
            )
        case Kind.KAMAILIO:
            config = "/etc/kamailio/kamailio.cfg"
            return _Server(
                argv=["kamailio", "-DD", "-E", "-Y", "/run/kamailio", "-f", config],
                binds=[Bind(etc, "/etc/kamailio"), Bind(run, "/run/kamailio", True)],
            )
        case Kind.ASTERISK:
            return _Server(
                argv=["asterisk", "-f", "-C", "/etc/asterisk/asterisk.conf"],
                binds=[
                    Bind(etc, "/etc/asterisk"),
                    Bind(run, "/run/asterisk", True),
                    Bind(data / "lib", "/var/lib/asterisk", True),
                    Bind(data / "spool", "/var/spool/asterisk", True),
                    Bind(data / "cache", "/var/cache/asterisk", True),
                    Bind(data / "log", "/var/log/asterisk", True),
                ],
            )
        case Kind.NGINX:
            return _Server(
                argv=["nginx", "-c", "/etc/nginx/nginx.conf", "-e", "stderr"],
                binds=[Bind(etc, "/etc/nginx")],
            )
        case Kind.SERVICE:
            raise AssertionError("a service runs outside")


def _rabbitmq_environment(process: Process, farm: Farm) -> Mapping[str, str]:
    interface = process.address.replace(".", ",")
    return {
        "HOME": "/var/lib/rabbitmq",
        "RABBITMQ_NODENAME": erlang_node(process),
        "RABBITMQ_DIST_PORT": str(farm.network.erlang_distribution_port(process.index)),
        "RABBITMQ_LOGS": "-",
        # Lets the start script become the Erlang machine instead of staying beside it.
        "RUNNING_UNDER_SYSTEMD": "true",
        # Schedulers that spin while they wait take the processor from everybody else here.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
        f"-kernel inet_dist_use_interface {{{interface}}}",
        "RABBITMQ_CTL_ERL_ARGS": "+S 1:1",
        "ERL_EPMD_ADDRESS": _epmd_addresses(farm),
        "ERL_EPMD_PORT": str(farm.network.epmd_port),
        "ERL_CRASH_DUMP_SECONDS": "0",
    }


def _epmd_addresses(farm: Farm) -> str:
    return ",".join(node.address for node in farm.of_kind(Kind.RABBITMQ))


def make_folders(process: Process, paths: LabPaths) -> None:
    """The folders that `launch` binds."""
    folders = [run_folder(process, paths), data_folder(process, paths)]
    if process.kind is Kind.ASTERISK:
        folders += [data_folder(process, paths) / name for name in ("lib", "spool", "cache", "log")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(folder, 0o700)
