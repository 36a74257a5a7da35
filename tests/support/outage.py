"""kill -9 of a process of the lab, and keeping it down for a while.

The supervisor would start it again at once. So the process is frozen, the supervisor told to stop it,
and then it is killed: it never gets to act on the polite signal, and nobody starts it again.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind

_READY_SECONDS = 60.0


@asynccontextmanager
async def outage(lab: Lab, *names: str) -> AsyncIterator[None]:
    """These processes are dead while the block runs. Afterwards they are started, and all is ready."""
    await asyncio.gather(*(asyncio.to_thread(kill_and_keep_down, lab, name) for name in names))
    try:
        yield
    finally:
        await asyncio.to_thread(lab.supervisor.start_processes, names)
        # Those who depend on them come back too, in their own time.
        everybody = [process.name for process in lab.farm.processes]
        await asyncio.to_thread(lab.wait_ready, everybody, _READY_SECONDS)


def kill_and_keep_down(lab: Lab, name: str) -> None:
    """kill -9, without a restart."""
    service = lab.farm.named(name).kind is Kind.SERVICE
    # A server runs inside bubblewrap and dies with it; what a service has started is on its own.
    pids = lab.pids(name)[:1] if service else lab.pids(name)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGSTOP)
    stopping = threading.Thread(target=lab.supervisor.stop, args=([name],))
    stopping.start()
    while lab.supervisor.states()[name].state != "STOPPING":
        time.sleep(0.01)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # what runs in a process id space of its own ends with the first of them
    stopping.join()
