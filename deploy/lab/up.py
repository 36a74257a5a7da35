"""Starts and stops the farm in its order."""

import os
import signal
import subprocess

from deploy.lab.errors import LabError
from deploy.lab.host import check_free, processes_running
from deploy.lab.lab import Lab
from deploy.lab.plan import Farm, Kind, Process
from deploy.lab.progress import Progress
from deploy.lab.render import render_servers
from deploy.lab.setup import set_up
from deploy.lab.supervisor import log_file, write_config


def bring_up(lab: Lab, progress: Progress) -> None:
    """Set up what is missing, start what does not run, restart what has changed, wait for all."""
    set_up(lab, progress)
    render_servers(lab.farm, lab.credentials, lab.paths)
    write_config(lab.farm, lab.paths)
    with progress.step("supervisor"):
        _supervise(lab)
    if _all_run(lab):
        with progress.step("ready"):
            lab.wait_ready([process.name for process in lab.farm.processes], progress=progress)
        return
    _start(lab, progress)


def take_down(lab: Lab, progress: Progress) -> None:
    """Stop all: first who uses, then who is used."""
    if not lab.supervisor.is_running():
        progress.say("  the lab is down")
        return
    known = lab.supervisor.states()
    for title, group in reversed(_groups(lab)):
        with progress.step(f"stop {title}"):
            lab.supervisor.stop([process.name for process in group if process.name in known])
    _end_keepers(lab)
    with progress.step("stop supervisor"):
        lab.supervisor.shutdown()


def _end_keepers(lab: Lab) -> None:
    """An asterisk_proxy leaves a process behind that waits a while for the next one. None comes."""
    for proxy in lab.farm.of_module("asterisk_proxy"):
        told = dict(proxy.environment)
        names = (told["EVERCALL_ASTERISK_ID"], told["EVERCALL_ARI_LISTEN"])
        argv = (str(lab.paths.venv_python), "-m", "asterisk_proxy.keeper", *names)
        for pid in processes_running(argv):
            os.kill(pid, signal.SIGTERM)


def restart(lab: Lab, name: str, progress: Progress) -> None:
    """Stop one process in an orderly way, start it, wait until it is ready."""
    with progress.step(f"restart {name}"):
        lab.supervisor.stop([name])
        lab.supervisor.start_processes([name])
        lab.wait_ready([name], progress=progress)


def migrate(lab: Lab) -> None:
    """Bring the database's schema to the newest revision."""
    service = lab.farm.of_kind(Kind.SERVICE)[0]
    argv = [str(lab.paths.venv_python), "-m", "evercall.store.migrate"]
    environment = os.environ | dict(service.environment)
    log = log_file("migrate", lab.paths)
    with log.open("wb") as output:
        done = subprocess.run(
            argv, env=environment, cwd=lab.paths.project, stdout=output, stderr=output
        )
    if done.returncode != 0:
        raise LabError("the migrations failed", f"read {log}; mend that, and try again")


def _supervise(lab: Lab) -> None:
    if not lab.supervisor.is_running():
        _check_addresses(lab, lab.farm.processes)
        lab.supervisor.start()
        return
    lab.supervisor.reload()
    states = lab.supervisor.states()
    _check_addresses(
        lab, tuple(process for process in lab.farm.processes if states[process.name].pid == 0)
    )


def _check_addresses(lab: Lab, processes: tuple[Process, ...]) -> None:
    endpoints = [endpoint for process in processes for endpoint in process.endpoints]
    check_free(endpoints, lab.farm.network.prefix)


def _all_run(lab: Lab) -> bool:
    return all(state.is_up for state in lab.supervisor.states().values())


def _groups(lab: Lab) -> list[tuple[str, tuple[Process, ...]]]:
    """In the order of starting. What is in one group may start together."""
    farm = lab.farm
    return [
        ("database and broker", _backing(farm)),
        ("media and switches", farm.of_kind(Kind.RTPENGINE) + farm.of_kind(Kind.ASTERISK)),
        ("edge", farm.of_kind(Kind.KAMAILIO) + farm.of_kind(Kind.NGINX)),
        ("services", farm.of_kind(Kind.SERVICE)),
    ]


def _backing(farm: Farm) -> tuple[Process, ...]:
    kinds = (Kind.POSTGRESQL, Kind.EPMD, Kind.RABBITMQ)
    return tuple(process for kind in kinds for process in farm.of_kind(kind))


def _start(lab: Lab, progress: Progress) -> None:
    backing, switches, edge, services = (
        [process.name for process in group] for _, group in _groups(lab)
    )
    rtpengines = [process.name for process in lab.farm.of_kind(Kind.RTPENGINE)]
    lab.supervisor.start_processes([*backing, *switches])
    with progress.step("media and edge"):
        # Kamailio asks RTPEngine at its start, and without an answer counts it out for a while.
        lab.wait_ready(rtpengines, progress=progress)
        lab.supervisor.start_processes(edge)
        lab.wait_ready(edge, progress=progress)
    with progress.step("database and broker"):
        lab.wait_ready(backing, progress=progress)
    with progress.step("schema"):
        migrate(lab)
    lab.supervisor.start_processes(services)
    with progress.step("switches"):
        lab.wait_ready(switches, progress=progress)
    with progress.step("services"):
        lab.wait_ready(services, progress=progress)
