"""Services of the lab that are started by a test with other settings, such as another broker."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.lab.lab import Lab
from deploy.lab.launch import launch

_READY_SECONDS = 60.0


@asynccontextmanager
async def elsewhere(
    lab: Lab, names: Sequence[str], settings: Mapping[str, str], log: Path
) -> AsyncIterator[dict[str, int]]:
    """These services run with the environment variables `settings` while the block runs; yields their process
    ids. Afterwards the lab has its own back."""
    await asyncio.to_thread(lab.supervisor.stop, names)
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in names:
            started[name] = _start(lab, name, settings, log)
        await asyncio.to_thread(lab.wait_ready, names, _READY_SECONDS)
        yield {name: process.pid for name, process in started.items()}
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            await asyncio.to_thread(_end, process)
        await asyncio.to_thread(lab.supervisor.start_processes, names)
        everybody = [process.name for process in lab.farm.processes]
        await asyncio.to_thread(lab.wait_ready, everybody, _READY_SECONDS)


def _start(
    lab: Lab, name: str, settings: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    made = launch(lab.farm.named(name), lab.farm, lab.paths)
    with (log / f"{name}.log").open("ab") as output:
        # The death signal that it asks for comes when this thread ends: the event loop's does not.
        return subprocess.Popen(
            made.argv,
            env={**made.environment, **settings},
            cwd=lab.paths.project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(15.0)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, 9)
        process.wait()
