"""The lab from the command line: `python -m deploy.lab <command>`; `make help` lists the usual ones."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.lab import logs, rootfs, status
from deploy.lab.errors import LabError
from deploy.lab.lab import Lab, open_lab
from deploy.lab.launch import Launch, run_inside
from deploy.lab.network import POSTGRESQL_PORT
from deploy.lab.plan import DATABASE, USERNAME, VIRTUAL_HOST
from deploy.lab.progress import Progress
from deploy.lab.rootfs import Bind
from deploy.lab.setup import set_up
from deploy.lab.up import bring_up, migrate, restart, take_down

Handler = Callable[[Lab, argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status says whether it went well."""
    options = _options(list(sys.argv[1:] if arguments is None else arguments))
    handler: Handler = options.handler
    try:
        return handler(open_lab(), options)
    except LabError as fault:
        print(f"lab: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab: interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _options(arguments: list[str]) -> argparse.Namespace:
    """All that follows the name of a foreign tool is the tool's, options too."""
    if arguments and arguments[0] in _TOOLS:
        return argparse.Namespace(handler=_TOOLS[arguments[0]], argv=arguments[1:])
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, handler: Handler, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(handler=handler)
        return command

    add("setup", _setup, "build and create what is missing; start nothing")
    add("up", _up, "set up, start everything, return when all is ready")
    add("down", _down, "stop everything, in order")
    add("status", _status, "every process with address, state, version, pid, uptime")
    add("migrate", _migrate, "bring the database's schema to the newest revision")
    show = add("logs", _logs, "the end of the logs; goes on while a terminal watches")
    show.add_argument("process", nargs="?")
    show.add_argument("-n", "--lines", type=int, default=20, help="of each log (20)")
    show.add_argument("--no-follow", action="store_true", help="print, and return")
    one = add("restart", _restart, "stop one process orderly, start it, wait until it is ready")
    one.add_argument("process")
    one = add("kill", _kill, "kill -9 one process and its children; the supervisor restarts it")
    one.add_argument("process")
    tool = add("run", _run, "run a command inside the root file system, in the present folder")
    tool.add_argument("--beside", metavar="PROCESS", help="with that server's files and sockets")
    tool.add_argument("program")
    tool.add_argument("argv", nargs=argparse.REMAINDER, metavar="argument …")
    for name, handler in _TOOLS.items():
        add(name, handler, f"{name} of the lab, with all arguments that follow")
    return parser


def _setup(lab: Lab, _options: argparse.Namespace) -> int:
    progress = Progress()
    with lab.exclusively(progress):
        set_up(lab, progress)
    return 0


def _up(lab: Lab, _options: argparse.Namespace) -> int:
    progress = Progress()
    with lab.exclusively(progress):
        bring_up(lab, progress)
    progress.say(f"up: API at {lab.farm.api_url}, SIP at {lab.farm.network.external_sip}:5060")
    return 0


def _down(lab: Lab, _options: argparse.Namespace) -> int:
    progress = Progress()
    with lab.exclusively(progress):
        take_down(lab, progress)
    return 0


def _status(lab: Lab, _options: argparse.Namespace) -> int:
    found = status.rows(lab)
    print(status.table(found))
    return 0 if status.all_ready(found) else 1


def _migrate(lab: Lab, _options: argparse.Namespace) -> int:
    migrate(lab)
    return 0


def _logs(lab: Lab, options: argparse.Namespace) -> int:
    if options.process:
        _known(lab, options.process)
    logs.show(lab, options.process, options.lines, sys.stdout.isatty() and not options.no_follow)
    return 0


def _restart(lab: Lab, options: argparse.Namespace) -> int:
    progress = Progress()
    with lab.exclusively(progress):
        restart(lab, _known(lab, options.process), progress)
    return 0


def _kill(lab: Lab, options: argparse.Namespace) -> int:
    lab.kill(_known(lab, options.process))
    return 0


def _run(lab: Lab, options: argparse.Namespace) -> int:
    argv = [options.program, *options.argv]
    if options.beside:
        process = lab.farm.named(_known(lab, options.beside))
        return _execute(run_inside(process, lab.farm, lab.paths, argv))
    here = Path.cwd()
    line = rootfs.command(lab.paths, argv, [Bind(here, writable=True)], folder=str(here))
    return subprocess.run(line).returncode


def _psql(lab: Lab, options: argparse.Namespace) -> int:
    process = lab.farm.named("postgresql")
    argv = ["psql", "-h", process.address, "-p", str(POSTGRESQL_PORT), "-U", USERNAME]
    launch = run_inside(process, lab.farm, lab.paths, [*argv, *options.argv])
    secrets = {
        "PGPASSWORD": lab.credentials.postgresql_password,
        "PGDATABASE": DATABASE,
        "TERM": os.environ.get("TERM", "dumb"),
    }
    return _execute(Launch(launch.argv, dict(launch.environment) | secrets))


def _rabbitmqctl(lab: Lab, options: argparse.Namespace) -> int:
    process = lab.farm.named("rabbitmq")
    argv = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-p", VIRTUAL_HOST, *options.argv]
    return _execute(run_inside(process, lab.farm, lab.paths, argv))


def _execute(launch: Launch) -> int:
    return subprocess.run(launch.argv, env=dict(launch.environment)).returncode


def _known(lab: Lab, name: str) -> str:
    names = [process.name for process in lab.farm.processes]
    if name not in names:
        raise LabError(f"there is no process {name!r}", f"known are: {', '.join(names)}")
    return name


def _dead(lab: Lab, options: argparse.Namespace) -> int:
    environment = dict(lab.farm.of_module("call_manager")[0].environment)
    argv = [str(lab.paths.venv_python), "-m", "evercall.actor.dead", *options.argv]
    return subprocess.run(argv, env={**os.environ, **environment}).returncode


_TOOLS: dict[str, Handler] = {"psql": _psql, "rabbitmqctl": _rabbitmqctl, "dead": _dead}


if __name__ == "__main__":
    raise SystemExit(main())
