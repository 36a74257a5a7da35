"""What processes of the lab tell of themselves."""

import re
from dataclasses import dataclass

import httpx

from deploy.lab.lab import Lab
from deploy.lab.network import HEALTH_PORT


@dataclass(frozen=True, slots=True)
class Vital:
    """When a process was started, and its resident memory in bytes."""

    started: float
    memory: float


async def vital_signs(lab: Lab, module: str) -> dict[str, Vital]:
    """Of all replicas of a service, by name."""
    found = {}
    async with httpx.AsyncClient(timeout=10.0) as client:
        for process in lab.farm.of_module(module):
            [address] = [each.address for each in process.endpoints if each.port == HEALTH_PORT]
            told = (await client.get(f"http://{address}:{HEALTH_PORT}/metrics")).text
            found[process.name] = Vital(
                _value(told, "process_start_time_seconds"),
                _value(told, "process_resident_memory_bytes"),
            )
    return found


def _value(told: str, name: str) -> float:
    match = re.search(rf"^{name} (\S+)$", told, re.MULTILINE)
    assert match is not None, name
    return float(match[1])


def check_unharmed(before: dict[str, Vital], after: dict[str, Vital], most: float) -> None:
    """No process died, or grew by more than so many bytes.

    Raises:
        AssertionError: one did.
    """
    for name, vital in after.items():
        assert vital.started == before[name].started, f"{name} was started anew"
        grown = vital.memory - before[name].memory
        assert grown < most, f"{name} grew by {grown / 1e6:.0f} MB"
