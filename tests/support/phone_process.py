"""Processes of phones: how they are ended, and how it is known that they have."""

import asyncio
import socket

from deploy.lab.network import SIP_PORT


async def end(process: asyncio.subprocess.Process | None, address: str) -> None:
    """Kill a phone that runs in the lab's root file system, and return when its address is free.

    Bubblewrap is gone a moment before the program in it: a phone that were started at once would share
    the address with a dying one, and we might talk to that.
    """
    if process is None:
        return
    if process.returncode is None:
        process.kill()
        await process.wait()
    async with asyncio.timeout(5.0):
        while not is_free(address):
            await asyncio.sleep(0.01)


def is_free(address: str) -> bool:
    """Whether nobody listens for SIP there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, SIP_PORT))
        except OSError:
            return False
        return True
