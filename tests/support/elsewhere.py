"""Services of the lab that are started by a test with other settings, such as another broker."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.lab.lab import Lab
from deploy.lab.launch import launch

_READY_SECONDS = 90.0
_STOP_SECONDS = 15.0


@contextmanager
def elsewhere(lab: Lab, settings: Mapping[str, Mapping[str, str]], log: Path) -> Iterator[None]:
    """The services that `settings` names run with other environment variables while the block runs. Afterwards
    the lab has its own back."""
    names = list(settings)
    lab.supervisor.stop(names)
    started = [_start(lab, name, more, log) for name, more in settings.items()]
    try:
        lab.wait_ready(names, _READY_SECONDS)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            _end(process)
        lab.supervisor.start_processes(names)
        lab.wait_ready([process.name for process in lab.farm.processes], _READY_SECONDS)


def _start(lab: Lab, name: str, more: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    made = launch(lab.farm.named(name), lab.farm, lab.paths)
    with (log / f"{name}.log").open("ab") as output:
        return subprocess.Popen(
            made.argv,
            env={**made.environment, **more},
            cwd=lab.paths.project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
